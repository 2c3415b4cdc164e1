"""Scenes: all of them are there, the seen and the unseen ones do not mix, and wrong ones are refused."""

import random

import pytest

from anygpt.world.scenes import ALL_SCENES, ATTRIBUTES, SEEN_SCENES, UNSEEN_PAIRS, UNSEEN_SCENES, Scene, random_edit


def test_all_scenes_are_every_combination_once():
    assert len(ALL_SCENES) == len(set(ALL_SCENES)) == 4 * 6 * 2 * 9


def test_unseen_scenes_are_exactly_those_of_the_unseen_pairs():
    assert {(scene.colour, scene.shape) for scene in UNSEEN_SCENES} == UNSEEN_PAIRS
    assert not UNSEEN_PAIRS & {(scene.colour, scene.shape) for scene in SEEN_SCENES}
    assert set(SEEN_SCENES) | set(UNSEEN_SCENES) == set(ALL_SCENES)
    assert len(UNSEEN_SCENES) == 4 * 2 * 9


def test_every_value_appears_in_seen_scenes():
    for attribute, values in ATTRIBUTES.items():
        assert {getattr(scene, attribute) for scene in SEEN_SCENES} == set(values)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_scene_refuses_a_value_that_does_not_exist(attribute):
    with pytest.raises(
        ValueError, match=f"scene {attribute}: 'purple cube' is not one of .*{ATTRIBUTES[attribute][0]}"
    ):
        Scene("circle", "red").changed(attribute, "purple cube")


def test_changed_changes_one_attribute_only():
    scene = Scene("star", "blue", "small", "top")
    assert scene.changed("colour", "red") == Scene("star", "red", "small", "top")
    assert scene == Scene("star", "blue", "small", "top")


def test_random_edit_names_another_value_and_reaches_every_attribute():
    rng, scene = random.Random(0), Scene("square", "green")
    edits = [random_edit(scene, rng) for _ in range(200)]
    assert {attribute for attribute, _ in edits} == set(ATTRIBUTES)
    assert all(value in ATTRIBUTES[name] and value != getattr(scene, name) for name, value in edits)
