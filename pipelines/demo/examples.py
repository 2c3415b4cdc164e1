"""Examples to begin with: what the loaded stack can take in and make of the world."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anygpt.errors import MissingExtraError
from anygpt.media.kinds import KINDS
from pipelines.demo.backends import Backend
from pipelines.demo.media import write_file
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene


@dataclass(frozen=True)
class Example:
    """A message, perhaps with a scene shown in some modality, and the modality that it asks for."""

    text: str
    asks_for: str = "text"
    shows: Scene | None = None
    shown_as: str = "image"


EXAMPLES = (
    Example("Draw a small blue circle at the top left.", "image"),
    Example("Paint a large green triangle.", "image"),
    Example("Play a small yellow square moving up.", "audio"),
    Example("Film a large magenta circle moving left.", "video"),
    Example("What is this?", shows=Scene("square", "yellow", "small", "bottom right")),
    Example("What is this?", shows=Scene("star", "cyan", motion="right"), shown_as="audio"),
    Example("What is this?", shows=Scene("triangle", "green", motion="down"), shown_as="video"),
    Example("What is this?", shows=Scene("star", "red"), shown_as="points"),
    Example("Now make it green.", "image", shows=Scene("star", "red")),
    Example("Imagine a large red square at the top."),
    Example("Draw it.", "image"),
)


def examples_of(backend: Backend, folder: Path) -> list[dict[str, Any]]:
    """Those that the backend can answer, as the box takes them; their files are written to `folder`.

    An example whose file needs an extra that is not installed is left out.
    """
    fitting = []
    for example in EXAMPLES:
        can_show = example.shows is None or example.shown_as in backend.input_modalities
        if can_show and example.asks_for in ("text", *backend.output_modalities):
            with suppress(MissingExtraError):
                fitting.append({"text": example.text, "files": _files(example, folder)})
    return fitting


def _files(example: Example, folder: Path) -> list[str]:
    if example.shows is None:
        return []
    modality = example.shown_as
    medium = render(example.shows.in_modality(modality), modality)
    return [str(write_file(folder, modality, KINDS[modality].encode(medium)))]
