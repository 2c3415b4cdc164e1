"""Scenes: all of them are there, the seen and the unseen ones do not mix, and wrong ones are refused."""

import random

import pytest

from pipelines.tiny.world.scenes import (
    ALL_SCENES,
    ATTRIBUTES,
    CARRIED,
    SEEN_SCENES,
    UNSEEN_PAIRS,
    UNSEEN_SCENES,
    VALUES,
    Scene,
    attributes_of,
    random_edit,
    scenes_for,
    seen_scenes,
)


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


# Modalities


@pytest.mark.parametrize(
    ("modality", "count"), [("image", 432), ("video", 240), ("audio", 240), ("points", 24), ("text", 2160)]
)
def test_scenes_for_a_modality_are_every_combination_of_what_it_carries(modality, count):
    scenes = scenes_for(modality)
    assert len(scenes) == len(set(scenes)) == count
    assert {scene.attributes for scene in scenes} == {attributes_of(modality)}


def test_scenes_for_the_image_are_all_scenes():
    assert scenes_for("image") == ALL_SCENES
    assert seen_scenes("image") == SEEN_SCENES
    assert seen_scenes("image", seen=False) == UNSEEN_SCENES


@pytest.mark.parametrize("modality", CARRIED)
def test_seen_and_unseen_scenes_of_a_modality_share_no_pair_and_are_all_there_are(modality):
    seen, unseen = seen_scenes(modality), seen_scenes(modality, seen=False)
    assert {*seen, *unseen} == set(scenes_for(modality))
    assert {(scene.colour, scene.shape) for scene in unseen} == UNSEEN_PAIRS
    assert not {(scene.colour, scene.shape) for scene in seen} & UNSEEN_PAIRS
    for attribute in attributes_of(modality):
        assert {scene.value(attribute) for scene in seen} == set(VALUES[attribute])


def test_an_unknown_modality_is_refused():
    for ask in (attributes_of, scenes_for, Scene("star", "red").in_modality):
        with pytest.raises(ValueError, match="modality: 'smell' is not one of text, image, audio, video, points"):
            ask("smell")


def test_scene_may_lack_size_position_and_motion_but_neither_shape_nor_colour():
    assert Scene("star", "red", None, None).attributes == ("shape", "colour")
    with pytest.raises(ValueError, match="scene colour: None is not one of red"):
        Scene("star", None)
    with pytest.raises(ValueError, match="scene motion: 'around' is not one of still, left"):
        Scene("star", "red", motion="around")


def test_value_is_there_or_refused_with_the_way_out():
    scene = Scene("star", "red", "small", motion="up")
    assert [scene.value(name) for name in VALUES] == ["star", "red", "small", "center", "up"]
    with pytest.raises(ValueError, match=r"scene motion: .*has none, expected one of still.*in_modality"):
        Scene("star", "red").value("motion")


def test_in_modality_keeps_what_is_carried_and_fills_in_defaults():
    scene = Scene("star", "red", "small", "top left", "up")
    assert scene.in_modality("image") == Scene("star", "red", "small", "top left")
    assert scene.in_modality("audio") == scene.in_modality("video") == Scene("star", "red", "small", None, "up")
    assert scene.in_modality("points") == Scene("star", "red", None, None)
    assert scene.in_modality("text") == scene
    assert scene.in_modality("points").in_modality("video") == Scene("star", "red", "large", None, "still")
    for modality in CARRIED:
        assert all(scene.in_modality(modality) == scene for scene in scenes_for(modality))


def test_random_edit_stays_with_the_attributes_of_the_scene():
    rng = random.Random(1)
    assert {random_edit(scene, rng)[0] for scene in scenes_for("points")} == {"shape", "colour"}
    assert {random_edit(scene, rng)[0] for scene in scenes_for("video")} == set(attributes_of("video"))
