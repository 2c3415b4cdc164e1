from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from PIL import Image

from anygpt.world.oracle import Reading, read_image, read_text
from anygpt.world.phrases import HELD_OUT, TRAIN
from anygpt.world.scenes import ATTRIBUTES, UNSEEN_PAIRS
from pipelines.evaluation.trials import CELLS, EXTRAS, Trial, image_to_image, image_to_text, make_trials

BUILDERS = {**{f"{source}→{target}": builder for (source, target), builder in CELLS.items()}, **EXTRAS}


def trials(name: str, seen: bool, count: int = 60, seed: int = 0, split: str = "held_out") -> list[Trial]:
    return make_trials(BUILDERS[name], name, count, seed, split, seen)


def first_thing(trial: Trial) -> Reading:
    """What the conversation begins with: the picture, or the scene in words."""
    pictures = [part for part in trial.messages[0] if isinstance(part, Image.Image)]
    return read_image(pictures[0]) if pictures else read_text(trial.messages[0][0])


def spelled(trial: Trial) -> list[list[object]]:
    return [
        [part.tobytes() if isinstance(part, Image.Image) else part for part in message] for message in trial.messages
    ]


@pytest.mark.parametrize("name", BUILDERS)
def test_trials_of_seen_pairs_begin_and_end_with_seen_pairs(name):
    for trial in trials(name, seen=True):
        thing = first_thing(trial)
        assert (thing.colour, thing.shape) not in UNSEEN_PAIRS
        assert (trial.expected.get("colour"), trial.expected.get("shape")) not in UNSEEN_PAIRS


@pytest.mark.parametrize("name", BUILDERS)
def test_trials_of_unseen_pairs_begin_with_unseen_pairs(name):
    things = {(thing.colour, thing.shape) for thing in map(first_thing, trials(name, seen=False))}
    assert things == UNSEEN_PAIRS


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("seen", [True, False])
def test_trials_show_what_their_cell_says_and_expect_what_can_be_there(name, seen):
    source, _, target = name.partition("→")
    for trial in trials(name, seen):
        pictures = [part for message in trial.messages for part in message if isinstance(part, Image.Image)]
        assert len(pictures) == (0 if source == "text" else 1)
        assert trial.output == (target or "text")
        assert trial.expected
        assert all(value in ATTRIBUTES[attribute] for attribute, value in trial.expected.items())
        assert all(any(isinstance(part, str) and part for part in message) for message in trial.messages)


def test_trials_from_words_go_over_turns():
    assert {len(trial.messages) for trial in trials("text→text", seen=True)} == {2, 3, 4}


@pytest.mark.parametrize("seen", [True, False])
def test_trials_of_edits_change_exactly_one_attribute_of_the_picture(seen):
    for trial in trials("image→image", seen):
        before = first_thing(trial)
        changed = [attribute for attribute, value in trial.expected.items() if before.get(attribute) != value]
        assert len(trial.expected) == 4
        assert len(changed) == 1


def test_trials_of_descriptions_expect_the_picture():
    for trial in trials("image→text", seen=False):
        before = first_thing(trial)
        assert trial.expected == {attribute: before.get(attribute) for attribute in ATTRIBUTES}


def test_trials_of_questions_ask_for_what_they_expect():
    parts = {"shape": "ask_shape", "colour": "ask_colour", "size": "ask_size", "position": "ask_position"}
    asked = set()
    for trial in trials("questions about a picture", seen=True):
        (attribute,) = trial.expected
        (said,) = (part for part in trial.messages[0] if isinstance(part, str))
        assert said in HELD_OUT[parts[attribute]]
        assert first_thing(trial).get(attribute) == trial.expected[attribute]
        asked.add(attribute)
    assert asked == set(ATTRIBUTES)


def phrasing(builder: Callable[..., Trial], split: str) -> set[str]:
    made = make_trials(builder, "x", 60, 0, split, True)
    return {part for trial in made for message in trial.messages for part in message if isinstance(part, str)}


def test_trials_held_out_phrasing_was_never_trained_on():
    assert phrasing(image_to_text, "held_out") == set(HELD_OUT["describe"])
    assert not phrasing(image_to_text, "held_out") & set(TRAIN["describe"])
    assert phrasing(image_to_text, "train") & set(TRAIN["describe"])
    lists = [HELD_OUT[part] for part in ("edit_shape", "edit_colour", "edit_size", "edit_position")]
    templates = [re.escape(template).replace(re.escape("{value}"), ".+") for own in lists for template in own]
    assert all(re.fullmatch("|".join(templates), said) for said in phrasing(image_to_image, "held_out"))


@pytest.mark.parametrize("name", BUILDERS)
def test_trials_depend_on_the_seed_alone(name):
    first, again = trials(name, True, count=5), trials(name, True, count=8)
    assert [spelled(trial) for trial in again[:5]] == [spelled(trial) for trial in first]
    assert [spelled(trial) for trial in trials(name, True, count=5, seed=1)] != [spelled(trial) for trial in first]
