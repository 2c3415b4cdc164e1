"""The page over the embedded default: a shape goes in as a point cloud and comes out as a sound and a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anygpt import AnyGPT
from anygpt.media.kinds import KINDS
from pipelines.demo.backends import LocalBackend
from pipelines.demo.page import serve_page
from pipelines.tiny.world.oracle import READERS
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene

STAR = Scene("star", "red")
ASKED = "Play it and film it."


@pytest.fixture(scope="module")
def address(tiny: AnyGPT, free_port: Callable[[], int]) -> Iterator[str]:
    with serve_page(LocalBackend(tiny), port=free_port()) as url:
        yield url


def test_a_point_cloud_becomes_a_sound_and_a_video(visitor, tiny, tmp_path: Path):
    cloud = render(STAR.in_modality("points"), "points")
    KINDS["points"].save(cloud, tmp_path / "star.ply")
    visitor.set("Seed", "3")
    visitor.attach(tmp_path / "star.ply")
    visitor.wait_for_attachment()
    visitor.say(ASKED)
    visitor.wait_until_idle(1)
    loaded = KINDS["points"].load(tmp_path / "star.ply")
    parts = tiny.chat([loaded, ASKED], seed=3).parts
    assert visitor.texts("bot") == [part for part in parts if isinstance(part, str)]
    media = [part for part in parts if not isinstance(part, str)]
    for modality, medium in zip(("audio", "video"), media, strict=True):
        assert visitor.file(visitor.played(modality, "bot")) == KINDS[modality].encode(medium)
        assert READERS[modality](medium).matches(STAR, ("shape", "colour"))
