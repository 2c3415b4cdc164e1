from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.tiny.world.media_turns import (
    DEFAULT_COLOUR,
    OPPOSITE,
    convert,
    edit_and_make,
    edit_one,
    edit_two,
    make,
    make_both,
    make_several,
    undo,
)
from pipelines.tiny.world.oracle import read_text
from pipelines.tiny.world.phrases import NOUNS, SIZE_WORDS, VERBS, canonical
from pipelines.tiny.world.replies import made_in_turn
from pipelines.tiny.world.scenes import CARRIED, DEFAULTS, VALUES, Scene
from pipelines.tiny.world.turns import MAKEABLE, SHOWABLE, Depiction, DialogueState
from pipelines.tiny.world.word_turns import say
from tests.pipelines.tiny.world.conversations import depicted, texts, turns_of

# Any word of a medium or a deed → its modality.
NAMED = {word: modality for group in (NOUNS, VERBS) for modality in group for word in group[modality]}


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


def test_make_several_makes_all_in_order():
    counts = set()
    for turns in turns_of(make_several, 100):
        for turn in turns:
            media = depicted(turn.reply)
            assert len({medium.modality for medium in media}) == 1
            assert turn.reply == tuple(made_in_turn([(medium.scene, medium.modality) for medium in media]))
            things = [read_text(part) for part in re.split(r"\band\b|, (?=an? |at |in |on )", turn.user[0].lower())]
            assert [(thing.colour, thing.shape) for thing in things if thing.shape] == [
                (medium.scene.colour, medium.scene.shape) for medium in media
            ], turn.user
            counts.add(len(media))
    assert counts == {2, 3}


def test_replies_of_several_media_announce_each():
    first, second = Scene("star", "red", "small", "top"), Scene("circle", "blue", "large", None, "up")
    assert made_in_turn([(first, "image"), (second, "video")]) == [
        "Here is a small red star at the top.", Depiction(first, "image"),
        " Watch a large blue circle moving up.", Depiction(second, "video"),
    ]  # fmt: skip


def test_make_both_makes_two_or_three_media_of_one_scene_in_the_asked_order():
    orders = set()
    named = re.compile(rf"\b({'|'.join(sorted(NAMED, key=len, reverse=True))})\b")
    for turns in turns_of(make_both, 300):
        for turn in turns:
            media = depicted(turn.reply)
            made = [medium.modality for medium in media]
            assert len(set(made)) == len(made) > 1
            assert len({(medium.scene.shape, medium.scene.colour, medium.scene.size) for medium in media}) == 1
            assert len({medium.scene.motion for medium in media if medium.modality != "image"}) <= 1
            (said,) = texts(turn.user)
            assert [NAMED[word] for word in named.findall(said.lower())][: len(made)] == made, said
            orders.add(tuple(made))
    assert len(orders) == 6 + 6


def test_make_both_of_two_outputs_makes_two():
    made = {
        len(depicted(turn.reply)) for turns in turns_of(make_both, 60, outputs=("image", "audio")) for turn in turns
    }
    assert made == {2}


def test_make_both_of_one_output_makes_several_of_it():
    for turns in turns_of(make_both, 30, outputs=("audio",)):
        assert all({medium.modality for medium in depicted(turn.reply)} == {"audio"} for turn in turns)


# Changes


Form = Callable[[DialogueState, Scene, str | None], tuple[str, Scene, str | None]]


def edits(
    form: Form = edit_one, count: int = 600, **options: Any
) -> list[tuple[Scene, str | None, Scene, str | None, str]]:
    """What there was, its modality (None for words), what there is then, its modality, and the request."""
    rng, found = random.Random(9), []
    for _ in range(count):
        talk = DialogueState(rng, **options)
        rng.choice((say, make) if talk.outputs else (say,))(talk)
        scene, medium, _ = talk.subject(0.5)
        said, after, target = form(talk, scene, medium)
        found.append((scene, medium, after if target is None else after.in_modality(target), target, said))
    return found


def changes(before: Scene, after: Scene) -> set[str]:
    """The attributes of both that differ."""
    both = [name for name in VALUES if name in before.attributes and name in after.attributes]
    return {name for name in both if before.value(name) != after.value(name)}


def test_edits_change_one_attribute_and_keep_the_medium():
    changed: dict[str, set[str]] = {modality: set() for modality in CARRIED}
    for before, medium, after, target, _ in edits():
        different = changes(before, after)
        if medium in ("image", "points") and target == "video":  # set in motion
            assert different == set()
            assert after.motion != "still"
            assert after == before.changed("motion", after.motion).in_modality("video")
            different = {"motion"}
        else:
            assert target == ("image" if medium == "points" else medium)
        assert len(different) == 1
        changed[medium or "text"] |= different
    assert changed == {modality: {*names, "motion"} for modality, names in CARRIED.items()}


def test_edits_of_two_attributes_change_both_and_say_so():
    pairs = set()
    for before, medium, after, target, said in edits(edit_two):
        assert target == ("image" if medium == "points" else medium)
        different = changes(before, after)
        assert len(different) == 2
        reading = read_text(canonical(said))
        assert {name: reading.get(name) for name in different} == {name: after.value(name) for name in different}, said
        pairs.add(frozenset(different))
    assert len(pairs) == 6


def test_edits_may_make_another_medium():
    targets = set()
    for before, medium, after, target, said in edits(edit_and_make):
        (different,) = changes(before, after)
        assert read_text(canonical(said)).get(different) == after.value(different), said
        assert any(word in said.lower() for word in VERBS[target])
        targets.add((medium, target))
    assert targets == {(medium, target) for medium in (None, *SHOWABLE) for target in MAKEABLE}


def test_edits_say_what_they_change():
    for before, medium, after, _, said in edits():
        for attribute in ("shape", "colour"):
            assert read_text(said).get(attribute) in (None, getattr(after, attribute)), said
        (different,) = changes(before, after) or {"motion"}
        if different in ("shape", "colour"):
            assert read_text(said).get(different) == after.value(different), said
        if different == "size" and not any(word in said.lower() for word in SIZE_WORDS[after.size]):
            smaller = r"smaller|shrink|reduce|scale it down|too (big|large|loud)|decrease"
            quieter = r"(?<!too )quiet|soft|turn it down|lower|less"
            assert bool(re.search(f"{smaller}|{quieter}", said.lower())) == (after.size == "small"), said
            assert medium == "audio" or not re.search(r"loud|quiet|soft|volume|turn it", said.lower())


def test_edits_of_a_motion_may_stop_or_reverse_it():
    reversed_, stopped = set(), 0
    for before, medium, after, _, said in edits(count=3000):
        if re.search(r"revers|other way|around|opposite|backwards|go back", said.lower()):
            assert medium in ("audio", "video")
            assert after.motion == OPPOSITE[before.motion]
            reversed_.add(after.motion)
        if re.search(r"freeze|halt|hold it|no motion|any motion", said.lower()):
            assert after.motion == "still"
            stopped += 1
    assert reversed_ == set(OPPOSITE)
    assert stopped


def test_undo_brings_back_what_there_was():
    undone = 0
    for seed in range(300):
        talk = DialogueState(random.Random(seed))
        make(talk)
        before = talk.scene, talk.medium
        said, after, target = edit_one(talk, *before)
        talk.add([said], [], after.in_modality(target), target)
        undo(talk)
        if target == before[1]:
            assert (talk.scene, talk.medium) == before
            assert depicted(talk.turns[-1].reply) == [Depiction(*before)]
            undone += 1
    assert undone > 200


@pytest.mark.parametrize("outputs", [(), ("image",), ("audio",), ("video", "audio")])
@pytest.mark.parametrize("form", [edit_one, edit_two, edit_and_make])
def test_edits_are_seen_or_heard_in_what_they_give(form, outputs):
    """A stack may perceive what it cannot make: an edit is of what the medium that it gives carries."""
    for before, _, after, target, _ in edits(form, outputs=outputs):
        if target is not None:
            assert target in outputs
            assert after != before.in_modality(target)


def test_conversions_keep_what_both_carry_and_take_defaults_for_the_rest():
    rng, pairs = random.Random(10), set()
    for _ in range(800):
        talk = DialogueState(rng)
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
