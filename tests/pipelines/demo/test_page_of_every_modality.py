"""The page over an untrained stack of every modality, in a real browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anygpt.media.kinds import KINDS
from pipelines.assistant import AnyGPT
from pipelines.demo.backends import LocalBackend
from pipelines.demo.http_backend import HttpBackend
from pipelines.demo.page import serve_page
from pipelines.tiny.world.rendering import RENDERERS, render
from pipelines.tiny.world.scenes import Scene
from tests.pipelines.demo.visitor import WAIT_MS, Visitor
from tests.pipelines.serving.conftest import KEY, running

STAR = Scene("star", "red")
MANY_STEPS = 200


@pytest.fixture(scope="module")
def address(everything: AnyGPT, free_port: Callable[[], int]) -> Iterator[str]:
    with serve_page(LocalBackend(everything), port=free_port()) as url:
        yield url


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A star in every modality."""
    folder = tmp_path_factory.mktemp("stars")
    paths = {modality: folder / f"star{KINDS[modality].suffix}" for modality in RENDERERS}
    for modality, path in paths.items():
        KINDS[modality].save(render(STAR.in_modality(modality), modality), path)
    return paths


def test_what_the_stack_makes_may_be_allowed_and_set(visitor, everything):
    assert visitor.allowed() == ["text", *everything.executor.output_modalities]
    for label in ("Steps", "Guidance", "Frames", "Seconds"):
        visitor.page.get_by_label(label, exact=True).wait_for()


def test_all_that_can_be_attached_is_shown_and_taken_in(visitor, everything, files):
    visitor.allow("text")
    visitor.attach(*files.values())
    visitor.wait_for_attachment(len(files))
    visitor.say("Hello")
    visitor.wait_until_idle(1)
    media = [KINDS[modality].load(path) for modality, path in files.items()]
    assert visitor.texts("bot") == [everything.chat([*media, "Hello"], modalities=["text"]).text]
    assert visitor.pictures("user") == [files["image"].read_bytes()]
    for modality in ("audio", "video"):
        shown = visitor.played(modality, "user")
        assert visitor.file(shown) == files[modality].read_bytes()
        assert shown.evaluate("media => media.duration") == pytest.approx(1.0, abs=0.1)
    cloud = visitor.page.locator(".user-row .model3D canvas")
    cloud.wait_for()
    box = cloud.bounding_box()
    assert min(box["width"], box["height"]) > 100
    link = visitor.page.get_by_test_id("model3d-download-link").get_attribute("href")
    assert visitor.page.request.get(link).body() == files["points"].read_bytes()


def test_two_people_get_the_sound_and_the_video_that_each_asked_for(meet, everything, files):
    wishes = {"audio": ("video", "Seconds", "0.1"), "video": ("audio", "Frames", "3")}
    people = {modality: meet() for modality in wishes}
    for modality, person in people.items():
        attached, setting, value = wishes[modality]
        person.allow(modality)
        person.set("Seed", "7")
        person.set(setting, value)
        person.attach(files[attached])
        person.wait_for_attachment()
    for person in people.values():
        person.say("Hello")
    for modality, person in people.items():
        attached, _, value = wishes[modality]
        shown = person.played(modality, "bot")
        setting = {"duration_s": float(value)} if modality == "audio" else {"frames": int(value)}
        medium = KINDS[attached].load(files[attached])
        (expected,) = everything.chat([medium, "Hello"], modalities=[modality], seed=7, **setting).parts
        assert person.file(shown) == KINDS[modality].encode(expected)
        assert shown.evaluate("media => media.duration") == pytest.approx(expected.duration_s, abs=0.05)


def test_a_recording_is_attached(visitor, everything):
    visitor.allow("text")
    for button in ("Record audio", "Start recording"):
        visitor.press(button)
    visitor.page.locator(".minimal-audio-recorder .timestamp").get_by_text("0:01").wait_for()
    for button in ("Stop recording", "Attach audio"):
        visitor.press(button)
    visitor.wait_for_attachment()
    visitor.say("Hello")
    visitor.wait_until_idle(1)
    assert len(visitor.texts("bot")) == 1
    assert not visitor.texts("bot")[0].startswith("⚠")
    recording = KINDS["audio"].load(visitor.file(visitor.played("audio", "user")))
    assert recording.duration_s > 0.3


def test_broken_files_of_every_kind_are_named_and_the_chat_goes_on(visitor, tmp_path):
    visitor.allow("text")
    for modality, kind in KINDS.items():
        broken = tmp_path / f"broken{kind.suffix}"
        broken.write_bytes(kind.encode(render(STAR.in_modality(modality), modality))[:60])
        visitor.attach(broken)
        visitor.wait_for_attachment()
        visitor.say("Hello")
        visitor.wait_for_text(f"⚠ {modality} '{broken.name}': ")
    visitor.say("Hello")
    visitor.wait_until_idle(2)
    assert visitor.texts("user") == ["Hello"]


def test_closing_the_tab_cancels_the_reply_and_leaves_no_thread(visitor, everything):
    visitor.allow("video")
    visitor.set("Steps", str(MANY_STEPS))
    visitor.say("Hello")
    visitor.wait_for_text(f"of {MANY_STEPS}")
    visitor.page.close()
    give_up_at = time.monotonic() + WAIT_MS / 1000
    while everything.executor.in_flight or any(t.name.startswith("anygpt-demo") for t in threading.enumerate()):
        assert time.monotonic() < give_up_at, "the reply goes on"
        time.sleep(0.05)


def test_a_service_gives_the_same_files(browser: Any, everything, files, free_port):
    with running(everything) as service, serve_page(HttpBackend(service.url, KEY), port=free_port()) as url:
        visitor = Visitor(browser, url)
        assert visitor.allowed() == ["text", *everything.executor.output_modalities]
        visitor.allow("video")
        visitor.set("Frames", "3")
        visitor.set("Seed", "0")
        visitor.attach(files["points"])
        visitor.wait_for_attachment()
        visitor.say("Hello")
        shown = visitor.played("video", "bot")
        cloud = KINDS["points"].load(files["points"])
        (video,) = everything.chat([cloud, "Hello"], modalities=["video"], frames=3, seed=0).videos
        assert visitor.file(shown) == KINDS["video"].encode(video)
        visitor.page.locator(".user-row .model3D canvas").wait_for()
        visitor.context.close()
