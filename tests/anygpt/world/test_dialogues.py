from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from anygpt.world.dialogues import (
    DEFAULT_COLOUR,
    GREETING,
    KINDS,
    MAKEABLE,
    OUTSIDE,
    SHOWABLE,
    Depiction,
    Part,
    Talk,
    Turn,
    answer,
    ask,
    compare,
    convert,
    describe,
    dialogue,
    edit,
    greet,
    make,
    make_both,
    make_two,
    outside,
    say,
    stated,
    verdict,
)
from anygpt.world.oracle import read_comparison, read_text, read_verdict
from anygpt.world.phrases import NOUNS, SIZE_WORDS, VERBS, canonical, caption
from anygpt.world.scenes import CARRIED, DEFAULTS, UNSEEN_PAIRS, VALUES, Scene, scenes_for

CAPTIONS = {modality: {caption(scene): scene for scene in scenes_for(modality)} for modality in CARRIED}
STATED = {stated(attribute, value) for attribute, values in VALUES.items() for value in values}
DESCRIBED = re.compile(r" ?(Here is|Listen to|Watch|Now there is|This is) (.*)\.")
ANNOUNCED = {"image": "Here is", "audio": "Listen to", "video": "Watch"}
ANSWER = re.compile(r"(?:[^?]+\? )?It is (.*?)(?:, so (yes|no))?\.")
CAPITALIZED = {stating[0].upper() + stating[1:] for stating in STATED}
ASKED = {f"{stating}?".split()[0] for stating in CAPITALIZED}
VERDICT = re.compile(r"The first is (a )?(\w+), the second is (a )?(\w+): (not )?the same (shape|colour)\.")


def turns_of(kind: Callable[[Talk], None], count: int = 200, **options: Any) -> list[list[Turn]]:
    """Dialogues of up to three turns of one kind."""
    rng = random.Random(kind.__name__)
    return [dialogue(rng, turns=(1, 3), kinds={kind: 1.0}, **options) for _ in range(count)]


def all_parts(turns: Iterable[Turn]) -> list[Part]:
    return [part for turn in turns for part in (*turn.user, *turn.reply)]


def texts(parts: Sequence[Part]) -> list[str]:
    return [part for part in parts if isinstance(part, str)]


def depicted(parts: Sequence[Part]) -> list[Depiction]:
    return [part for part in parts if isinstance(part, Depiction)]


def said_pairs(text: str) -> set[tuple[str | None, str | None]]:
    """(colour, shape) of every thing in a text; two things in a sentence have "and" between them."""
    readings = [read_text(part) for part in re.split(r"\band\b|\.", text.lower())]
    return {(reading.colour, reading.shape) for reading in readings}


def is_canonical(text: str) -> bool:
    """True for the replies that the assistant has: a caption, an answer, a verdict, or what it says of itself."""
    if described := DESCRIBED.fullmatch(text):
        modality = next((modality for modality, words in ANNOUNCED.items() if words == described[1]), None)
        return any(described[2] in CAPTIONS[possible] for possible in ([modality] if modality else CARRIED))
    if answered := ANSWER.fullmatch(text):
        return answered[1] in STATED and (not answered[2] or text.partition("?")[0] in CAPITALIZED)
    return text in (GREETING, OUTSIDE) or VERDICT.fullmatch(text) is not None


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_replies_are_canonical_and_media_are_what_the_words_before_them_say(split):
    rng, made, began = random.Random(0), set(), set()
    for _ in range(1000):
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
    assert began == {"Here", "Listen", "Watch", "Now", "This", "It", "I", "That", "The", *ASKED}


def test_is_canonical_finds_what_is_not():
    for text in (
        "Here is a big red star.", "It is big.", "This is a red star", "Yes.", "It is at the upper left.",
        "Here is a large red star moving up.", "Listen to a large red star at the top.", "No, it is not blue.",
        "Big? It is red, so no.", "Blue? It is red, so maybe.",
        "Watch a red star.",
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
    assert set(KINDS) == {make, make_two, make_both, say, describe, ask, edit, convert, compare, greet, outside}
    for kind in KINDS:
        talk = Talk(rng)
        kind(talk)
        assert len(talk.turns) == 1


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


# Making


def test_make_says_what_it_makes_and_fills_in_the_defaults():
    unsaid = set()
    for turns in turns_of(make, 400):
        for turn in turns:
            (said,), (medium,) = turn.user, depicted(turn.reply)
            reading = read_text(canonical(said), medium.modality)
            assert reading.shape == medium.scene.shape
            for attribute in medium.scene.attributes:
                value = medium.scene.value(attribute)
                if reading.get(attribute) is None:
                    assert value == DEFAULTS.get(attribute, DEFAULT_COLOUR), said
                    unsaid.add(attribute)
                else:
                    assert reading.get(attribute) == value, said
    assert unsaid == {"colour", "size", "position"}


def test_make_two_makes_both_in_order():
    for turns in turns_of(make_two, 100):
        for turn in turns:
            first, second = depicted(turn.reply)
            words = ANNOUNCED[first.modality]
            assert first.modality == second.modality
            assert turn.reply == (
                f"{words} {caption(first.scene)}.", first, f" {words} {caption(second.scene)}.", second,
            )  # fmt: skip
            things = [read_text(part) for part in re.split(r"\band\b", turn.user[0].lower())]
            assert [(thing.colour, thing.shape) for thing in things if thing.shape] == [
                (medium.scene.colour, medium.scene.shape) for medium in (first, second)
            ]


def test_make_both_makes_two_media_of_one_scene_in_the_asked_order():
    orders = set()
    words = {word: modality for group in (NOUNS, VERBS) for modality in group for word in group[modality]}
    named = re.compile(rf"\b({'|'.join(sorted(words, key=len, reverse=True))})\b")
    for turns in turns_of(make_both, 300):
        for turn in turns:
            media = depicted(turn.reply)
            if not media:  # there was nothing to make: it says a scene instead
                continue
            one, other = media
            assert one.modality != other.modality
            shared = [name for name in one.scene.attributes if name in other.scene.attributes]
            assert {"shape", "colour", "size"} <= set(shared)
            assert all(one.scene.value(name) == other.scene.value(name) for name in shared)
            (said,) = texts(turn.user)
            asked = [words[word] for word in named.findall(said.lower())]
            assert asked[:2] == [one.modality, other.modality], said
            orders.add((one.modality, other.modality))
    assert len(orders) == 6


def test_make_both_of_one_output_makes_two_of_it():
    for turns in turns_of(make_both, 30, outputs=("audio",)):
        assert all([medium.modality for medium in depicted(turn.reply)] == ["audio"] * 2 for turn in turns)


# Words about what there is


def test_say_answers_in_words_alone():
    for turns in turns_of(say):
        for turn in turns:
            (reply,) = turn.reply
            described = DESCRIBED.fullmatch(reply)
            assert described[1] == "Now there is"
            said, told = read_text(canonical(turn.user[0]), "video"), read_text(described[2], "video")
            assert said == told


def test_descriptions_are_of_the_newest_thing():
    for turns in turns_of(describe):
        newest = None
        for turn in turns:
            shown = [caption(medium.scene) for medium in depicted(turn.user)]
            newest = (shown or [newest])[-1]
            assert turn.reply == (f"This is {newest}.",)


def test_answers_are_of_the_newest_thing_and_yes_and_no_are_true():
    verdicts = set()
    for seen in (True, False):
        rng = random.Random(8)
        for _ in range(600):
            talk = Talk(rng, seen=seen)
            say(talk)
            ask(talk)
            turn, scene = talk.turns[1], talk.scene
            assert [medium.scene for medium in depicted(turn.user)] in ([], [scene])
            (reply,), (said,) = turn.reply, texts(turn.user)
            stating, yes_or_no = ANSWER.fullmatch(reply).groups()
            (attribute,) = (name for name in scene.attributes if stated(name, scene.value(name)) == stating)
            value = scene.value(attribute)
            if yes_or_no:
                asked = read_text(canonical(said.lower().replace("am i right", ""))).get(attribute)
                assert reply == verdict(attribute, asked, scene)
                assert read_verdict(reply) == {"asked": asked, "stated": value, "verdict": yes_or_no}
                assert (yes_or_no == "yes") == (asked == value), (said, reply)
            else:
                assert reply == answer(attribute, scene)
            verdicts.add((attribute, yes_or_no))
    assert verdicts == {(attribute, verdict) for attribute in VALUES for verdict in ("yes", "no", None)}


def test_answers_name_the_attribute():
    scene = Scene("star", "blue", "small", "center", "up")
    assert [answer(attribute, scene) for attribute in VALUES] == [
        "It is a star.", "It is blue.", "It is small.", "It is at the center.", "It is moving up.",
    ]  # fmt: skip
    assert answer("motion", scene.changed("motion", "still")) == "It is still."


# Changes


def edits(**options: Any) -> list[tuple[Scene, str | None, Scene, Turn]]:
    """What was there, its modality (None for words), what there is then, and the turn."""
    rng, found = random.Random(9), []
    for _ in range(600):
        talk = Talk(rng, **options)
        rng.choice((say, make) if talk.outputs else (say,))(talk)
        before, medium = talk.scene, talk.medium
        edit(talk)
        for shown in depicted(talk.turns[1].user):
            before, medium = shown.scene, shown.modality
        found.append((before, medium, talk.scene, talk.turns[1]))
    return found


def test_edits_change_one_attribute_and_keep_the_medium():
    changed: dict[str, set[str]] = {modality: set() for modality in CARRIED}
    for before, medium, after, turn in edits():
        media = depicted(turn.reply)
        target = media[0].modality if media else None
        kept = [name for name in VALUES if name in before.attributes and name in after.attributes]
        different = [name for name in kept if before.value(name) != after.value(name)]
        if medium in ("image", "points") and target == "video":  # set in motion
            assert different == []
            assert after.motion != "still"
            assert after == before.changed("motion", after.motion).in_modality("video")
            different = ["motion"]
        else:
            assert target == ("image" if medium == "points" else medium)
        assert len(different) == 1
        changed[medium or "text"] |= set(different)
        if media:
            assert media == [Depiction(after, target)]
        else:
            assert turn.reply == (f"Now there is {caption(after)}.",)
    assert {modality: set(names) for modality, names in changed.items()} == {
        modality: {*names, "motion"} for modality, names in CARRIED.items()
    }


def test_edits_say_what_they_change():
    for before, _, after, turn in edits():
        (said,) = texts(turn.user)
        if (
            before.size
            and before.size != after.size
            and not any(word in said.lower() for word in SIZE_WORDS[after.size])
        ):
            smaller = r"smaller|shrink|reduce|scale it down|too big|too large|decrease"
            assert bool(re.search(smaller, said.lower())) == (after.size == "small"), said
        for attribute in ("shape", "colour"):
            assert read_text(said).get(attribute) in (None, getattr(after, attribute)), said
            if getattr(before, attribute) != getattr(after, attribute):
                assert read_text(said).get(attribute) == getattr(after, attribute), said


@pytest.mark.parametrize("outputs", [(), ("image",), ("audio",), ("video", "audio")])
def test_edits_are_seen_or_heard_in_what_they_give(outputs):
    """A stack may perceive what it cannot make: an edit is of what the medium that it gives carries."""
    for before, _, after, turn in edits(outputs=outputs):
        if media := depicted(turn.reply):
            (medium,) = media
            assert medium.modality in outputs
            assert medium.scene == after != before.in_modality(medium.modality)
        else:
            assert turn.reply == (f"Now there is {caption(after)}.",)


def test_conversions_keep_what_both_carry_and_take_defaults_for_the_rest():
    rng, pairs = random.Random(10), set()
    for _ in range(800):
        talk = Talk(rng)
        rng.choice((say, make))(talk)
        before, source = talk.scene, talk.medium
        convert(talk)
        turn = talk.turns[1]
        for shown in depicted(turn.user):
            before, source = shown.scene, shown.modality
        (medium,) = depicted(turn.reply)
        for attribute in CARRIED[medium.modality]:
            default = DEFAULTS.get(attribute)
            assert medium.scene.value(attribute) == (getattr(before, attribute) or default)
        assert (talk.scene, talk.medium) == (medium.scene, medium.modality)
        pairs.add((source, medium.modality))
    assert pairs == {(source, target) for source in (None, *SHOWABLE) for target in MAKEABLE}


# Two media, and small talk


def test_compare_tells_the_truth():
    verdicts, modalities = set(), set()
    for turns in turns_of(compare):
        for turn in turns:
            first, second = depicted(turn.user)
            (reply,), (said,) = turn.reply, texts(turn.user)
            attribute = "colour" if re.search(r"colou?r", said.lower()) else "shape"
            one, other = getattr(first.scene, attribute), getattr(second.scene, attribute)
            same = "yes" if one == other else "no"
            assert read_comparison(reply) == {"first": one, "second": other, "same": same}
            verdicts.add((attribute, same))
            modalities.add((first.modality, second.modality))
    assert verdicts == {(attribute, same) for attribute in ("colour", "shape") for same in ("yes", "no")}
    assert len(modalities) == len(SHOWABLE) ** 2


@pytest.mark.parametrize(("kind", "reply"), [(greet, GREETING), (outside, OUTSIDE)])
def test_small_talk_leaves_alone_what_is_talked_about(kind, reply):
    talk = Talk(random.Random(11))
    make(talk)
    before = (talk.scene, talk.medium)
    kind(talk)
    assert talk.turns[1].reply == (reply,)
    assert (talk.scene, talk.medium) == before
