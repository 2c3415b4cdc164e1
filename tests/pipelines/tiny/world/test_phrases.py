from __future__ import annotations

import itertools
import random
import re
import string

import pytest

from pipelines.tiny.world.compositions import all_compositions
from pipelines.tiny.world.oracle import read_text
from pipelines.tiny.world.phrases import (
    CENTRE_PLACES,
    CLOSERS,
    COMPOSITIONS,
    FAMILIES,
    HELD_OUT,
    MOTION_WAYS,
    MOVE_WAYS,
    NOUNS,
    OPENERS,
    ROW_WORDS,
    SIZE_WORDS,
    TRAIN,
    VERBS,
    bare_wording,
    canonical,
    caption,
    movement,
    paraphrase,
    place,
    request,
    stated_value,
    templates,
    value_phrase,
    vary_manner,
    wording,
)
from pipelines.tiny.world.scenes import ALL_SCENES, ATTRIBUTES, MOTIONS, POSITIONS, VALUES, Scene, scenes_for

# List of templates → the slots that each of them has, sorted; the others have none.
SLOTS = {
    **{part: ["scene"] for part in ("draw", "play", "film", "film_moving", "say")},
    **{f"{part}_{attribute}": ["value"] for part in ("edit", "check") for attribute in VALUES},
    "make_both": ["one", "other", "scene"],
    "make_both_it": ["one", "other"],
    "act_both": ["act", "act_too", "scene"],
    "act_both_it": ["act", "act_too"],
    "make_three": ["one", "other", "scene", "third"],
    "make_three_it": ["one", "other", "third"],
    "act_three": ["act", "act_third", "act_too", "scene"],
    "act_three_it": ["act", "act_third", "act_too"],
    **{part: ["one", "other"] for part in ("ask_two", "edit_two")},
    **{part: ["value"] for part in ("edit_thing", "edit_way")},
    "edit_and_make": ["act", "value"],
    "compare_before": ["name"],
}


def slots(template: str) -> list[str]:
    """The slots of a template, sorted; a slot that comes twice is there twice."""
    return sorted(name for _, name, _, _ in string.Formatter().parse(template) if name)


def unfilled(part: str) -> dict[str, str]:
    """Values that leave the slots of a list as they are."""
    return {name: f"{{{name}}}" for name in SLOTS.get(part, [])}


# Templates


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_40_templates_for_training_and_10_held_out(family):
    """Counted by wording: the same words for two attributes count once."""
    assert len({wording(template) for template in templates(family, "train")}) >= 40
    assert len({wording(template) for template in templates(family, "held_out")}) >= 10


def test_families_cover_all_lists():
    parts = [part for parts in FAMILIES.values() for part in parts]
    assert sorted(parts) == sorted(TRAIN) == sorted(HELD_OUT)
    assert set(SLOTS) <= set(parts)
    assert set(COMPOSITIONS) <= set(parts)


def test_no_held_out_wording_arises_in_training_not_even_through_courtesies():
    """Slots look alike, whatever stands in them: what is held out of one list must not be in another."""
    courtesies = list(itertools.product(("", *map(wording, OPENERS)), ("", *CLOSERS)))
    listed = {
        f"{opener} {said} {closer}".strip()
        for said in {wording(template) for part in TRAIN.values() for template in part}
        for opener, closer in courtesies
    }
    held_out = {wording(template) for part in HELD_OUT.values() for template in part}
    assert "please draw slot for me" in listed
    assert not listed & held_out


@pytest.mark.parametrize("part", COMPOSITIONS)
def test_no_held_out_wording_is_composed(part):
    held_out = {bare_wording(template) for templates in HELD_OUT.values() for template in templates}
    rng = random.Random(10)
    assert not {bare_wording(request(part, "train", rng, **unfilled(part))) for _ in range(300)} & held_out


def test_what_is_held_out_is_composed_anew(monkeypatch):
    """Of these two compositions, one is a held-out wording."""
    assert "Film the thing." in HELD_OUT["film_it"]
    monkeypatch.setitem(COMPOSITIONS, "film_it", ((("Film", "Animate"), ("the thing",), ("", "please")),))
    rng = random.Random(14)
    said = {bare_wording(request("film_it", "train", rng)) for _ in range(200)}
    assert "animate the thing" in said
    assert "film the thing" not in said


def test_bare_wording_has_no_courtesies():
    assert bare_wording("Please, draw {scene} for me.") == bare_wording("Draw {value}") == "draw slot"


@pytest.mark.parametrize("part", COMPOSITIONS)
def test_compositions_are_many_and_have_their_slots(part):
    assert len(set(itertools.islice(all_compositions(COMPOSITIONS[part]), 5000))) > 40
    for composition in COMPOSITIONS[part]:
        choices = [{tuple(slots(words)) for words in alternatives} for alternatives in composition]
        assert {tuple(sorted(itertools.chain(*chosen))) for chosen in itertools.product(*choices)} == {
            tuple(SLOTS.get(part, ()))
        }


@pytest.mark.parametrize("part", TRAIN)
def test_templates_have_their_slots_and_no_others(part):
    for template in (*TRAIN[part], *HELD_OUT[part]):
        assert slots(template) == SLOTS.get(part, []), template
        assert template == template.strip()


@pytest.mark.parametrize("part", TRAIN)
def test_templates_of_a_list_differ_by_more_than_punctuation(part):
    for lists in (TRAIN, HELD_OUT):
        assert len({wording(template) for template in lists[part]}) == len(lists[part])


# Scenes in words


def test_caption_says_every_scene_and_no_two_alike():
    assert len({caption(scene) for scene in ALL_SCENES}) == len(ALL_SCENES)
    assert caption(Scene("star", "blue", "small", "top left")) == "a small blue star at the top left"
    assert all(read_text(caption(scene)).matches(scene) for scene in ALL_SCENES)


def test_paraphrase_says_shape_and_colour_in_the_worlds_own_words():
    rng = random.Random(0)
    for scene in ALL_SCENES:
        for _ in range(5):
            assert read_text(paraphrase(scene, rng)).matches(scene, ("shape", "colour"))


def test_paraphrase_says_size_and_position_in_words_that_mean_them():
    """`read_text` knows the canonical words alone, so synonyms are put back first."""
    rng = random.Random(1)
    for scene in ALL_SCENES:
        for _ in range(5):
            said = paraphrase(scene, rng)
            assert read_text(canonical(said)).matches(scene), said


def test_paraphrase_has_many_forms_and_uses_every_synonym():
    rng = random.Random(2)
    said = {paraphrase(Scene("star", "blue", size, "top left"), rng) for size in SIZE_WORDS for _ in range(2000)}
    assert len(said) > 150
    text = " ".join(said)
    assert all(re.search(rf"\b{word}\b", text) for words in SIZE_WORDS.values() for word in words)
    assert all(re.search(rf"\b{word}\b", text) for word in ROW_WORDS["top"])


@pytest.mark.parametrize("omit", [("size",), ("position",), ("colour",), ("size", "position"), tuple(ATTRIBUTES)[1:]])
def test_paraphrase_leaves_out_what_it_should(omit):
    rng = random.Random(3)
    for scene in ALL_SCENES:
        said = paraphrase(scene, rng, frozenset(omit))
        reading = read_text(said)
        assert all(reading.get(attribute) is None for attribute in omit), said
        assert reading.shape == scene.shape
        assert not any(re.search(rf"\b{word}\b", said) for word in SIZE_WORDS[scene.size]) or "size" not in omit


@pytest.mark.parametrize("omit", [(), ("size",), ("position",), ("colour",), ("size", "position")])
def test_paraphrase_is_well_formed(omit):
    rng = random.Random(4)
    for scene in ALL_SCENES:
        said = paraphrase(scene, rng, frozenset(omit))
        assert said == " ".join(said.split())
        assert not said.endswith(",")
        assert " ," not in said
        assert ",," not in said


# Scenes of other media in words


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        (Scene("star", "blue", "large", None, "up"), "a large blue star moving up"),
        (Scene("star", "blue", "small", None, "still"), "a small blue star"),
        (Scene("square", "green", None, None), "a green square"),
        (Scene("circle", "red", "small", "top left", "right"), "a small red circle at the top left moving right"),
    ],
)
def test_caption_says_what_the_scene_has(scene, expected):
    assert caption(scene) == expected


@pytest.mark.parametrize("modality", ["video", "audio", "points"])
def test_caption_is_read_back_for_every_scene_of_a_modality(modality):
    scenes = scenes_for(modality)
    assert len({caption(scene) for scene in scenes}) == len(scenes)
    for scene in scenes:
        reading = read_text(caption(scene), modality)
        assert reading.matches(scene)
        assert reading.position is None


@pytest.mark.parametrize("modality", ["video", "points", "text"])
def test_paraphrase_says_every_scene_of_a_modality_in_words_that_mean_it(modality):
    rng = random.Random(11)
    for scene in scenes_for(modality):
        for _ in range(3):
            said = paraphrase(scene, rng)
            reading = read_text(canonical(said), "points" if modality == "points" else "video")
            assert reading.matches(scene), said
            assert {name for name in ATTRIBUTES if reading.get(name)} == set(scene.attributes) - {"motion"}, said
            assert said == " ".join(said.split()).rstrip(",")


def test_paraphrase_leaves_motion_out_where_it_should():
    rng = random.Random(12)
    for scene in scenes_for("video"):
        said = paraphrase(scene, rng, frozenset({"motion"}))
        assert read_text(canonical(said)).motion is None
        assert read_text(said).matches(scene, ("shape", "colour"))


@pytest.mark.parametrize("motion", MOTIONS)
def test_movement_is_canonical_or_one_of_its_ways(motion):
    rng = random.Random(13)
    assert movement(motion) == ("" if motion == "still" else f"moving {motion}")
    assert {movement(motion, rng) for _ in range(400)} - {""} == set(MOTION_WAYS[motion])
    assert all(read_text(canonical(f"a star {way.upper()}")).motion == motion for way in MOTION_WAYS[motion])


# Places and values


@pytest.mark.parametrize("position", POSITIONS)
def test_place_is_canonical_or_one_of_its_ways(position):
    rng = random.Random(5)
    assert place(position) == f"at the {position}"
    said = {place(position, rng) for _ in range(200)}
    if position == "center":
        assert said == set(CENTRE_PLACES)
    else:
        assert len(said) >= 4
        column = position.split()[-1]
        assert all(re.search(rf"\b{column}\b", phrase) for phrase in said)


@pytest.mark.parametrize("attribute", VALUES)
def test_value_phrase_says_the_value(attribute):
    rng = random.Random(6)
    for value in VALUES[attribute]:
        said = {value_phrase(attribute, value, rng) for _ in range(200)}
        if attribute == "size":
            assert said == set(SIZE_WORDS[value])
        elif attribute == "motion":
            assert said == set(MOVE_WAYS[value])
        elif attribute == "position":
            assert any(phrase.startswith("to the ") for phrase in said)
            assert any(phrase.startswith(("at the ", "in the ")) for phrase in said)
        else:
            assert said == {value}


@pytest.mark.parametrize("attribute", VALUES)
def test_stated_value_means_the_value(attribute):
    rng = random.Random(15)
    for value in VALUES[attribute]:
        said = {stated_value(attribute, value, rng) for _ in range(200)}
        assert {read_text(canonical(f"It is {way}.")).get(attribute) for way in said} == {value}
        assert len(said) > 1 or attribute in ("shape", "colour")


@pytest.mark.parametrize("motion", MOTIONS)
def test_no_two_motions_are_told_in_the_same_words(motion):
    others = {way for other in MOTIONS if other != motion for way in (*MOVE_WAYS[other], *MOTION_WAYS[other])}
    assert not {*MOVE_WAYS[motion], *MOTION_WAYS[motion]} & others
    assert all(re.search(rf"\b{motion}", way) for way in MOVE_WAYS[motion][:4]) or motion == "still"


# Requests


def test_request_held_out_is_exactly_a_template():
    rng = random.Random(7)
    assert {request("describe", "held_out", rng) for _ in range(300)} == set(HELD_OUT["describe"])


def test_request_fills_slots_and_begins_with_a_capital():
    rng = random.Random(8)
    for _ in range(300):
        said = request("draw", "held_out", rng, scene="at the top a red star")
        assert "at the top a red star" in said.lower()
        assert said[0].isupper()
        assert "{" not in said


@pytest.mark.parametrize("split", ["train", "held_out"])
@pytest.mark.parametrize("part", SLOTS)
def test_request_fills_every_slot_of_every_list(part, split):
    rng = random.Random(16)
    values = {name: f"<{name}>" for name in SLOTS[part]}
    for _ in range(60):
        said = request(part, split, rng, **values)
        assert all(said.lower().count(value) == 1 for value in values.values()), said
        assert not re.search("[{}]", said)


def test_media_have_names_and_deeds_of_their_own():
    for words in (NOUNS, VERBS):
        said = [word for modality in ("image", "audio", "video") for word in words[modality]]
        assert len(set(said)) == len(said) == sum(map(len, words.values()))


def test_vary_manner_keeps_every_word():
    rng = random.Random(9)
    varied = {vary_manner("Draw a Red star at the top.", rng) for _ in range(500)}
    assert len(varied) > 30
    assert all("draw a red star at the top" in said.lower() for said in varied)
    assert all(said == said.strip() for said in varied)
