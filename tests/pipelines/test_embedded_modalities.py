"""The shipped stack `tiny` between all modalities: one simple trial of every kind; the matrix measures how often."""

from __future__ import annotations

from typing import Any

import pytest

from anygpt import AnyGPT
from anygpt.messages import modality_of
from encoders.beats.encoder import BeatsEncoder
from pipelines.tiny.world.oracle import READERS, read_comparison, read_text, read_verdict
from pipelines.tiny.world.phrases import caption
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.replies import NOT_ALLOWED, NOTHING_YET, OUTSIDE
from pipelines.tiny.world.scenes import Scene, attributes_of
from pipelines.tiny.world.turns import MAKEABLE, SHOWABLE

SCENE = Scene("square", "green", "large", "left", "up")
REQUESTS = {"image": "Draw it.", "audio": "Play it.", "video": "Film it."}
VERBS = {"image": "Draw", "audio": "Play", "video": "Film"}


def shown(modality: str, scene: Scene = SCENE) -> Any:
    return render(scene.in_modality(modality), modality, 5)


def media_of(reply: Any) -> list[Any]:
    return [part for part in reply.parts if not isinstance(part, str)]


@pytest.mark.parametrize("source", SHOWABLE)
def test_describes_what_it_perceives(tiny: AnyGPT, source: str) -> None:
    reply = tiny.chat([shown(source), "What is this?"], seed=0)
    assert read_text(reply.text, source).matches(SCENE.in_modality(source))
    assert not media_of(reply)


@pytest.mark.parametrize("target", MAKEABLE)
def test_makes_what_words_say(tiny: AnyGPT, target: str) -> None:
    scene = SCENE.in_modality(target)
    reply = tiny.chat(f"{VERBS[target]} {caption(scene)}.", seed=0)
    (medium,) = media_of(reply)
    assert modality_of(medium) == target
    assert READERS[target](medium).matches(scene)


@pytest.mark.parametrize("target", MAKEABLE)
@pytest.mark.parametrize("source", SHOWABLE)
def test_converts(tiny: AnyGPT, source: str, target: str) -> None:
    reply = tiny.chat([shown(source), REQUESTS[target]], seed=0)
    (medium,) = media_of(reply)
    assert modality_of(medium) == target
    shared = [attribute for attribute in attributes_of(source) if attribute in attributes_of(target)]
    assert READERS[target](medium).matches(SCENE, shared)


def test_gives_several_media_in_one_reply_and_compares_two_inputs(tiny: AnyGPT) -> None:
    reply = tiny.chat([shown("points"), "Draw it and play it."], seed=0)
    picture, sound = media_of(reply)
    assert (modality_of(picture), modality_of(sound)) == ("image", "audio")
    assert READERS["image"](picture).matches(SCENE, ("shape", "colour"))
    assert READERS["audio"](sound).matches(SCENE, ("shape", "colour"))
    other = SCENE.changed("shape", "star")
    same = tiny.chat([shown("image"), shown("points"), "Are these the same shape?"])
    different = tiny.chat([shown("image"), shown("points", other), "Are these the same shape?"])
    assert read_comparison(same.text) == {"attribute": "shape", "first": "square", "second": "square", "same": "yes"}
    assert read_comparison(different.text) == {"attribute": "shape", "first": "square", "second": "star", "same": "no"}


def test_gives_a_picture_a_sound_and_a_video_in_one_reply(tiny: AnyGPT) -> None:
    media = media_of(tiny.chat([shown("points"), "Draw it, play it and film it."], seed=0))
    assert [modality_of(medium) for medium in media] == ["image", "audio", "video"]
    for medium in media:
        assert READERS[modality_of(medium)](medium).matches(SCENE, ("shape", "colour"))


def test_says_yes_and_no(tiny: AnyGPT) -> None:
    """Nearly always; of these it says that the picture of the green square is red."""
    right = 0
    others = ((Scene("star", "red", "small"), "yellow"), (Scene("circle", "blue", "large"), "yellow"))
    for scene, wrong in ((SCENE, "red"), *others):
        for source in SHOWABLE:
            for asked, verdict in ((scene.colour, "yes"), (wrong, "no")):
                reply = tiny.chat([shown(source, scene), f"Is it {asked}?"])
                right += read_verdict(reply.text) == {"asked": asked, "stated": scene.colour, "verdict": verdict}
    assert right >= 22, f"{right} of 24"


@pytest.mark.parametrize("thing", ["a pink star", "a blue house", "a teal star", "a red quokka"])
def test_refuses_what_the_world_does_not_have(tiny: AnyGPT, thing: str) -> None:
    assert tiny.chat(f"Draw {thing}.").text == OUTSIDE


@pytest.mark.parametrize("said", ["What is this?", "Film it.", "Is it blue?", "Make it green."])
def test_says_that_there_is_nothing_yet(tiny: AnyGPT, said: str) -> None:
    assert tiny.chat(said).text == NOTHING_YET


def test_words_for_a_scene_alone_ask_for_a_picture(tiny: AnyGPT) -> None:
    (picture,) = media_of(tiny.chat("small yellow square", seed=0))
    assert READERS["image"](picture).matches(Scene("square", "yellow", "small"), ("shape", "colour", "size"))


def test_changes_two_things_at_once_and_turns_a_motion_round(tiny: AnyGPT) -> None:
    (picture,) = media_of(tiny.chat([shown("image"), "Make it small and red."], seed=0))
    changed = SCENE.in_modality("image").changed("size", "small").changed("colour", "red")
    assert READERS["image"](picture).matches(changed)
    (video,) = media_of(tiny.chat([shown("video"), "Now the other way."], seed=0))
    assert READERS["video"](video).matches(SCENE.in_modality("video").changed("motion", "down"))
    (sound,) = media_of(tiny.chat([shown("audio"), "Quieter, please."], seed=0))
    assert READERS["audio"](sound).matches(SCENE.in_modality("audio").changed("size", "small"))


def test_edits_over_turns_keep_the_medium_until_it_is_set_in_motion(tiny: AnyGPT) -> None:
    played = tiny.chat([shown("audio"), "Make it blue."], seed=0)
    assert READERS["audio"](media_of(played)[0]).matches(SCENE.in_modality("audio").changed("colour", "blue"))
    drawn = tiny.chat("Draw a large green square at the left.", seed=0)
    moved = tiny.chat("Let it move up.", history=drawn.conversation, seed=0)
    assert READERS["video"](media_of(moved)[0]).matches(SCENE.in_modality("video"))


def test_a_reply_says_that_its_medium_is_not_allowed(tiny: AnyGPT) -> None:
    for modality, verb in VERBS.items():
        reply = tiny.chat(f"{verb} a small red star.", modalities=["text"])
        assert read_text(reply.text).matches(Scene("star", "red", "small"), ("shape", "colour", "size"))
        assert reply.text.endswith(NOT_ALLOWED[modality])
        assert reply.finish_reason == "stop"


def test_beats_takes_the_place_of_whisper_by_config_alone() -> None:
    with AnyGPT.from_config("tiny-beats") as beats:
        assert isinstance(beats.executor.stack.encoders["audio"], BeatsEncoder)
        for scene in (SCENE, Scene("triangle", "magenta", "small", motion="right")):
            sound = shown("audio", scene)
            told = beats.chat([sound, "What is this?"])
            assert read_text(told.text, "audio").matches(scene.in_modality("audio"))
            (picture,) = media_of(beats.chat([sound, "Draw it."], seed=0))
            assert READERS["image"](picture).matches(scene, ("shape", "colour", "size"))
