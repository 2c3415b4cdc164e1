from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anygpt.messages import modality_of
from pipelines.tiny.evaluation.trials import CELLS, QUESTIONS, Trial, make_trials
from pipelines.tiny.world.oracle import READERS, Reading, read_text
from pipelines.tiny.world.phrases import HELD_OUT, TRAIN, canonical
from pipelines.tiny.world.scenes import CARRIED, UNSEEN_PAIRS, VALUES
from pipelines.tiny.world.turns import MAKEABLE, SHOWABLE

QUESTIONS_ABOUT = {f"questions about {source}": source for source in QUESTIONS}
# Name → input and output.
ENDS = {f"{source}→{target}": (source, target) for source, target in CELLS}
ENDS |= {name: (source, "text") for name, source in QUESTIONS_ABOUT.items()}
BUILDERS = {f"{source}→{target}": builder for (source, target), builder in CELLS.items()}
BUILDERS |= {name: QUESTIONS[source] for name, source in QUESTIONS_ABOUT.items()}
ARRAYS: dict[str, Callable[[Any], np.ndarray]] = {
    "image": np.asarray,
    "audio": lambda sound: sound.waveform,
    "video": lambda video: video.frames,
    "points": lambda cloud: cloud.xyz,
}
CONVERSIONS = [(source, target) for source in SHOWABLE for target in MAKEABLE if source != target]


def trials(name: str, seen: bool = True, count: int = 20, seed: int = 0, split: str = "held_out") -> list[Trial]:
    return make_trials(BUILDERS[name], name, count, seed, split, seen)


def media(trial: Trial) -> list[Any]:
    return [part for message in trial.messages for part in message if not isinstance(part, str)]


def first_thing(trial: Trial) -> Reading:
    """What the conversation begins with: the medium, or the scene in words."""
    for medium in media(trial):
        return READERS[modality_of(medium)](medium)
    return read_text(canonical(trial.messages[0][0]), trial.about if trial.output == "text" else trial.output)


def spelled(trial: Trial) -> list[list[object]]:
    """The messages with media as bytes."""
    return [
        [part if isinstance(part, str) else ARRAYS[modality_of(part)](part).tobytes() for part in message]
        for message in trial.messages
    ]


def test_cells_are_every_input_with_every_output():
    assert len(CELLS) == 20
    assert set(CELLS) == {(source, target) for source in CARRIED for target in CARRIED if target != "points"}
    assert set(QUESTIONS) == {"image", "audio", "video", "points"}


@pytest.mark.parametrize("name", BUILDERS)
def test_trials_of_seen_pairs_begin_and_end_with_seen_pairs(name):
    for trial in trials(name, seen=True):
        thing = first_thing(trial)
        assert (thing.colour, thing.shape) not in UNSEEN_PAIRS
        assert (trial.expected.get("colour"), trial.expected.get("shape")) not in UNSEEN_PAIRS


@pytest.mark.parametrize("name", BUILDERS)
def test_trials_of_unseen_pairs_begin_with_unseen_pairs(name):
    things = [first_thing(trial) for trial in trials(name, seen=False)]
    assert {(thing.colour, thing.shape) for thing in things} == UNSEEN_PAIRS


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("seen", [True, False])
def test_trials_show_what_their_cell_says_and_expect_what_can_be_there(name, seen):
    source, target = ENDS[name]
    for trial in trials(name, seen, count=10):
        assert [modality_of(medium) for medium in media(trial)] == ([] if source == "text" else [source])
        assert trial.output == target
        assert trial.expected
        assert set(trial.expected) <= set(CARRIED[source]) & set(CARRIED[target])
        assert all(value in VALUES[attribute] for attribute, value in trial.expected.items())
        assert all(any(isinstance(part, str) and part for part in message) for message in trial.messages)


@pytest.mark.parametrize("target", MAKEABLE)
def test_trials_from_words_expect_all_that_the_medium_carries(target):
    for trial in trials(f"text→{target}"):
        assert tuple(trial.expected) == CARRIED[target]
        thing = first_thing(trial)
        assert trial.expected == {attribute: thing.get(attribute) for attribute in CARRIED[target]}


def test_trials_of_words_alone_go_over_turns_and_are_about_what_any_medium_holds():
    made = trials("text→text", count=60)
    assert {len(trial.messages) for trial in made} == {2, 3, 4}
    assert {trial.about for trial in made} == set(SHOWABLE)
    assert all(set(trial.expected) <= set(CARRIED[trial.about]) for trial in made)


def test_trials_of_words_alone_are_about_what_the_stack_perceives():
    made = make_trials(CELLS["text", "text"], "x", 30, 0, "held_out", True, ("image", "points"))
    assert {trial.about for trial in made} == {"image", "points"}


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("modality", MAKEABLE)
def test_trials_of_edits_change_exactly_one_attribute_of_the_medium(modality, seen):
    for trial in trials(f"{modality}→{modality}", seen):
        before = first_thing(trial)
        assert tuple(trial.expected) == CARRIED[modality]
        assert [value == before.get(attribute) for attribute, value in trial.expected.items()].count(False) == 1


@pytest.mark.parametrize("source", SHOWABLE)
def test_trials_of_descriptions_expect_all_that_the_medium_holds(source):
    for trial in trials(f"{source}→text", seen=False):
        before = first_thing(trial)
        assert trial.expected == {attribute: before.get(attribute) for attribute in CARRIED[source]}
        assert trial.about == source


@pytest.mark.parametrize(("source", "target"), CONVERSIONS)
def test_trials_of_conversions_expect_what_both_media_carry(source, target):
    for trial in trials(f"{source}→{target}", count=10):
        before = first_thing(trial)
        shared = [attribute for attribute in CARRIED[source] if attribute in CARRIED[target]]
        assert trial.expected == {attribute: before.get(attribute) for attribute in shared}


@pytest.mark.parametrize("source", SHOWABLE)
def test_trials_of_questions_ask_for_what_they_expect(source):
    asked = set()
    for trial in trials(f"questions about {source}"):
        (attribute,) = trial.expected
        (said,) = (part for part in trial.messages[0] if isinstance(part, str))
        assert said in HELD_OUT[f"ask_{attribute}"]
        assert first_thing(trial).get(attribute) == trial.expected[attribute]
        asked.add(attribute)
    assert asked == set(CARRIED[source])


def phrasing(builder: Callable[..., Trial], split: str) -> set[str]:
    made = make_trials(builder, "x", 60, 0, split, True)
    return {part for trial in made for message in trial.messages for part in message if isinstance(part, str)}


def test_trials_held_out_phrasing_was_never_trained_on():
    describe, edit = CELLS["image", "text"], CELLS["image", "image"]
    assert phrasing(describe, "held_out") == set(HELD_OUT["describe"])
    assert not phrasing(describe, "held_out") & set(TRAIN["describe"])
    assert phrasing(describe, "train") & set(TRAIN["describe"])
    lists = [HELD_OUT[part] for part in ("edit_shape", "edit_colour", "edit_size", "edit_position")]
    templates = [re.escape(template).replace(re.escape("{value}"), ".+") for own in lists for template in own]
    assert all(re.fullmatch("|".join(templates), said) for said in phrasing(edit, "held_out"))


@pytest.mark.parametrize(
    ("cell", "part"),
    [
        (("audio", "text"), "describe_audio"),
        (("video", "text"), "describe_video"),
        (("points", "text"), "describe_points"),
        (("points", "image"), "draw_it"),
        (("image", "audio"), "play_it"),
        (("audio", "video"), "film_it"),
    ],
)
def test_trials_ask_in_the_words_for_their_cell(cell, part):
    assert phrasing(CELLS[cell], "held_out") <= set(HELD_OUT[part])


@pytest.mark.parametrize("name", BUILDERS)
def test_trials_depend_on_the_seed_alone(name):
    first, again = trials(name, True, count=5), trials(name, True, count=8)
    assert [spelled(trial) for trial in again[:5]] == [spelled(trial) for trial in first]
    assert [spelled(trial) for trial in trials(name, True, count=5, seed=1)] != [spelled(trial) for trial in first]
