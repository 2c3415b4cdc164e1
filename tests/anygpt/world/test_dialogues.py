from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

import pytest

from anygpt.world.dialogues import (
    DEFAULT_SCENE,
    GREETING,
    KINDS,
    OUTSIDE,
    Depiction,
    Part,
    Talk,
    Turn,
    answer,
    ask,
    compare,
    describe,
    dialogue,
    draw,
    draw_it,
    draw_two,
    edit,
    greet,
    outside,
    say,
)
from anygpt.world.oracle import read_text
from anygpt.world.phrases import caption
from anygpt.world.scenes import ALL_SCENES, ATTRIBUTES, SEEN_SCENES, UNSEEN_PAIRS, UNSEEN_SCENES, Scene

CAPTIONS = {caption(scene): scene for scene in ALL_SCENES}
ANSWERS = {answer(attribute, scene) for scene in ALL_SCENES for attribute in ATTRIBUTES}
DESCRIBED = re.compile(r" ?(Here is|Now there is|This is) (.*)\.")
VERDICT = re.compile(
    r"Yes, both are (\w+)\.|Yes, each is a (\w+)\.|No, the first is (a )?(\w+) and the second is (a )?(\w+)\."
)


def turns_of(kind: Callable[[Talk], None], count: int = 300, scenes: Sequence[Scene] = SEEN_SCENES) -> list[list[Turn]]:
    """Dialogues of up to three turns of one kind."""
    rng = random.Random(kind.__name__)
    return [dialogue(rng, scenes, turns=(1, 3), kinds={kind: 1.0}) for _ in range(count)]


def texts(parts: Sequence[Part]) -> list[str]:
    return [part for part in parts if isinstance(part, str)]


def depicted(parts: Sequence[Part]) -> list[Scene]:
    return [part.scene for part in parts if isinstance(part, Depiction)]


def said_scenes(text: str) -> set[tuple[str | None, str | None]]:
    """(colour, shape) of every thing in a text; two things in a sentence have "and" between them."""
    readings = [read_text(part) for part in re.split(r"\band\b|\.", text)]
    return {(reading.colour, reading.shape) for reading in readings}


def is_canonical(text: str) -> bool:
    """True for the replies that the assistant has: a caption, an answer, a verdict, or what it says of itself."""
    described = DESCRIBED.fullmatch(text)
    if described:
        return described[2] in CAPTIONS
    return text in ANSWERS or text in (GREETING, OUTSIDE) or VERDICT.fullmatch(text) is not None


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_replies_are_canonical(split):
    rng = random.Random(0)
    for _ in range(2000):
        for turn in dialogue(rng, ALL_SCENES, split):
            assert texts(turn.reply)
            assert all(map(is_canonical, texts(turn.reply))), turn.reply


def test_is_canonical_finds_what_is_not():
    for text in ("Here is a big red star.", "It is big.", "This is a red star", "Yes.", "It is at the upper left."):
        assert not is_canonical(text)


def test_dialogues_over_seen_scenes_hold_seen_pairs_in_every_part():
    rng = random.Random(1)
    pairs = set()
    for _ in range(3000):
        for part in (part for turn in dialogue(rng) for part in (*turn.user, *turn.reply)):
            found = said_scenes(part) if isinstance(part, str) else {(part.scene.colour, part.scene.shape)}
            assert not found & UNSEEN_PAIRS, part
            pairs |= found
    assert len({pair for pair in pairs if None not in pair}) == 20


def test_dialogues_over_all_scenes_hold_unseen_pairs_too():
    rng = random.Random(2)
    shown = [scene for _ in range(300) for turn in dialogue(rng, ALL_SCENES) for scene in depicted(turn.reply)]
    assert any(scene in UNSEEN_SCENES for scene in shown)


def test_a_picture_in_a_reply_is_what_the_words_before_it_say():
    rng = random.Random(3)
    for _ in range(1000):
        for turn in dialogue(rng):
            for words, picture in zip(turn.reply, turn.reply[1:], strict=False):
                if isinstance(picture, Depiction):
                    assert DESCRIBED.fullmatch(words)[2] == caption(picture.scene)


def test_every_kind_of_turn_comes_up():
    rng = random.Random(4)
    kinds = set()
    for kind in KINDS:
        talk = Talk(rng)
        kind(talk)
        assert len(talk.turns) == 1
        assert talk.turns[0].user
        kinds.add(kind.__name__)
    assert kinds == {
        kind.__name__ for kind in (draw, draw_two, say, describe, ask, edit, draw_it, compare, greet, outside)
    }


def test_dialogues_have_the_number_of_turns_that_is_asked_for():
    rng = random.Random(5)
    assert {len(dialogue(rng)) for _ in range(200)} == {1, 2, 3, 4}
    assert {len(dialogue(rng, turns=(2, 3))) for _ in range(200)} == {2, 3}


def test_dialogues_depend_on_the_seed_alone():
    first, again, other = (dialogue(random.Random(seed), turns=(4, 4)) for seed in (6, 6, 7))
    assert first == again != other


def test_user_messages_show_pictures_in_either_order():
    asked = [turn.user for turns in turns_of(describe) for turn in turns if depicted(turn.user)]
    assert {tuple(type(part) for part in user) for user in asked} == {(Depiction, str), (str, Depiction), (Depiction,)}


# Kinds of turn


def test_draw_says_what_it_draws_and_fills_in_the_default():
    for turns in turns_of(draw):
        for turn in turns:
            (said,), (scene,) = turn.user, depicted(turn.reply)
            reading = read_text(said)
            assert reading.shape == scene.shape
            assert reading.colour in (scene.colour, None)
            if reading.colour is None:
                assert scene.colour == DEFAULT_SCENE.colour


def test_draw_two_draws_both_in_order():
    for turns in turns_of(draw_two):
        for turn in turns:
            first, second = depicted(turn.reply)
            assert turn.reply == (
                f"Here is {caption(first)}.", Depiction(first), f" Here is {caption(second)}.", Depiction(second),
            )  # fmt: skip


def test_say_answers_in_words_alone():
    for turns in turns_of(say):
        for turn in turns:
            (reply,) = turn.reply
            scene = CAPTIONS[DESCRIBED.fullmatch(reply)[2]]
            assert read_text(turn.user[0]).matches(scene, ("shape", "colour"))


def test_describe_and_ask_are_about_the_newest_thing():
    for kind in (describe, ask):
        for turns in turns_of(kind):
            scene = None
            for turn in turns:
                scene = (depicted(turn.user) or [scene])[-1]
                (reply,) = turn.reply
                right = {f"This is {caption(scene)}."} if kind is describe else {answer(a, scene) for a in ATTRIBUTES}
                assert reply in right


def test_edits_change_exactly_one_attribute_and_keep_pictures_pictures():
    changed = set()
    for turns in turns_of(edit, count=600):
        scene = None
        for turn in turns:
            before = (depicted(turn.user) or [scene])[-1]
            (scene,) = depicted(turn.reply)
            differences = [a for a in ATTRIBUTES if getattr(before, a) != getattr(scene, a)]
            assert len(differences) == 1
            changed |= set(differences)
    assert changed == set(ATTRIBUTES)


def test_edits_of_words_stay_words():
    rng = random.Random(8)
    for _ in range(200):
        talk = Talk(rng)
        say(talk)
        edit(talk)
        if not depicted(talk.turns[1].user):
            assert not depicted(talk.turns[1].reply)
            assert talk.turns[1].reply == (f"Now there is {caption(talk.scene)}.",)


def test_draw_it_draws_the_scene_so_far_or_copies_a_picture():
    rng = random.Random(9)
    for _ in range(200):
        talk = Talk(rng)
        say(talk)
        scene = talk.scene
        draw_it(talk)
        shown = depicted(talk.turns[1].user) or [scene]
        assert depicted(talk.turns[1].reply) == shown


def test_compare_tells_the_truth():
    verdicts = set()
    for turns in turns_of(compare):
        for turn in turns:
            first, second = depicted(turn.user)
            (reply,), (said,) = turn.reply, texts(turn.user)
            attribute = "colour" if re.search(r"colou?r", said.lower()) else "shape"
            one, other = getattr(first, attribute), getattr(second, attribute)
            assert reply.startswith("Yes" if one == other else "No")
            named = re.findall(rf"\b({'|'.join(ATTRIBUTES[attribute])})\b", reply)
            assert named == ([one] if one == other else [one, other])
            verdicts.add(reply[:2])
    assert verdicts == {"Ye", "No"}


@pytest.mark.parametrize(("kind", "reply"), [(greet, GREETING), (outside, OUTSIDE)])
def test_small_talk_leaves_the_scene_alone(kind, reply):
    talk = Talk(random.Random(10))
    draw(talk)
    scene = talk.scene
    kind(talk)
    assert talk.turns[1].reply == (reply,)
    assert (talk.scene, talk.pictured) == (scene, True)


def test_answers_name_the_attribute():
    scene = Scene("star", "blue", "small", "center")
    assert [answer(attribute, scene) for attribute in ATTRIBUTES] == [
        "It is a star.", "It is blue.", "It is small.", "It is at the center.",
    ]  # fmt: skip
