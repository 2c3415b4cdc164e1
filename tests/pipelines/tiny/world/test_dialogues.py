from __future__ import annotations

import random

import pytest

from pipelines.tiny.world.dialogues import KINDS, MAKING, dialogue
from pipelines.tiny.world.phrases import caption
from pipelines.tiny.world.replies import ANNOUNCED
from pipelines.tiny.world.scenes import UNSEEN_PAIRS, scenes_for
from pipelines.tiny.world.turns import MAKEABLE, SHOWABLE, Depiction, DialogueState
from pipelines.tiny.world.word_turns import describe
from tests.pipelines.tiny.world.conversations import (
    all_parts,
    depicted,
    is_canonical,
    said_pairs,
    texts,
    turns_of,
)


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_replies_are_canonical_and_media_are_what_the_words_before_them_say(split):
    rng, made, began = random.Random(0), set(), set()
    for _ in range(2000):
        for turn in dialogue(rng, seen=False, split=split):
            assert texts(turn.reply)
            assert all(map(is_canonical, texts(turn.reply))), turn.reply
            began |= {text.split()[0] for text in texts(turn.reply)}
            for at, part in enumerate(turn.reply):
                if isinstance(part, Depiction):
                    words = turn.reply[at - 1].removeprefix(" " if at > 1 else "")
                    assert words == f"{ANNOUNCED[part.modality]} {caption(part.scene)}."
                    assert part.scene in scenes_for(part.modality)
                    made.add(part.modality)
    assert made == set(MAKEABLE)
    assert began == {"Here", "Listen", "Watch", "Now", "This", "It", "I", "That", "The", "There", "You"}


def test_is_canonical_finds_what_is_not():
    for text in (
        "Here is a big red star.", "It is big.", "This is a red star", "Yes.", "It is at the upper left.",
        "Here is a large red star moving up.", "Listen to a large red star at the top.", "No, it is not blue.",
        "Watch a red star.",
        "You ask if it is big, and it is small: not the same, so no.",
        "You ask if it is blue, and it is a star: not the same, so no.",
        "You ask if it is blue, and it is red: not the same, so yes.",

        "It is red and it is big.", "It is small, so it is loud.",
        "The first is red, the second is a star: the same colour.",
        "The first is red, the second is blue: not the same shape.",
        "The first is a red star, the second is a big star.",
    ):  # fmt: skip
        assert not is_canonical(text)


def test_dialogues_of_seen_pairs_hold_no_other_in_any_part_of_any_modality():
    rng = random.Random(1)
    shown, said = {modality: set() for modality in SHOWABLE}, set()
    for _ in range(2000):
        for part in all_parts(dialogue(rng)):
            if isinstance(part, Depiction):
                shown[part.modality].add((part.scene.colour, part.scene.shape))
            else:
                assert not said_pairs(part) & UNSEEN_PAIRS, part
                said |= said_pairs(part)
    assert not any(pairs & UNSEEN_PAIRS for pairs in shown.values())
    assert {len(pairs) for pairs in shown.values()} == {20}  # all 24 but the unseen ones
    assert len({pair for pair in said if None not in pair}) == 20


def test_dialogues_of_all_pairs_hold_unseen_ones_in_every_modality():
    rng = random.Random(2)
    media = [part for _ in range(400) for part in depicted(all_parts(dialogue(rng, seen=False)))]
    assert {part.modality for part in media if not part.scene.seen} == set(SHOWABLE)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (SHOWABLE, MAKEABLE),
        (("image",), ("image",)),
        (("audio", "points"), ("video", "image")),
        (("points",), ("audio",)),
        (("video",), ()),
        ((), ("image", "audio")),
        ((), ()),
    ],
)
def test_inputs_and_outputs_are_all_that_comes_up(inputs, outputs):
    rng, shown, made = random.Random(3), set(), set()
    for _ in range(400):
        for turn in dialogue(rng, inputs=inputs, outputs=outputs):
            shown |= {part.modality for part in depicted(turn.user)}
            made |= {part.modality for part in depicted(turn.reply)}
            assert all(map(is_canonical, texts(turn.reply))), turn.reply
            assert turn.user
    assert (shown, made) == (set(inputs), set(outputs))


def test_every_kind_of_turn_comes_up_and_adds_one():
    rng = random.Random(4)
    assert set(MAKING) < set(KINDS)
    for kind in KINDS:
        for outputs in (MAKEABLE, ("image",), () if kind not in MAKING else MAKEABLE):
            talk = DialogueState(rng, outputs=outputs)
            for turns in range(1, 5):
                kind(talk)
                assert len(talk.turns) == turns


def test_dialogues_have_the_number_of_turns_that_is_asked_for():
    rng = random.Random(5)
    assert {len(dialogue(rng)) for _ in range(100)} == {1, 2, 3, 4}
    assert {len(dialogue(rng, turns=(2, 3))) for _ in range(100)} == {2, 3}


def test_dialogues_depend_on_the_seed_alone():
    first, again, other = (dialogue(random.Random(seed), turns=(4, 4)) for seed in (6, 6, 7))
    assert first == again != other


def test_user_messages_show_media_in_either_order_or_without_words():
    asked = [turn.user for turns in turns_of(describe) for turn in turns if depicted(turn.user)]
    assert {tuple(type(part) for part in user) for user in asked} == {(Depiction, str), (str, Depiction), (Depiction,)}
    assert {medium.modality for user in asked for medium in depicted(user)} == set(SHOWABLE)
