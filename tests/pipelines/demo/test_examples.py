from __future__ import annotations

import sys
from pathlib import Path

from anygpt.media.kinds import kind_of_file
from pipelines.demo.examples import examples_of

EVERYTHING = ("image", "audio", "video", "points")


class Backend:
    """Takes in and makes what it is told."""

    def __init__(self, *, takes: tuple[str, ...], makes: tuple[str, ...]) -> None:
        self.input_modalities, self.output_modalities = takes, makes


def shown(folder: Path, backend: Backend) -> list[str]:
    """The modalities of the examples' files."""
    return [kind_of_file(file) for example in examples_of(backend, folder) for file in example["files"]]


def test_examples_are_of_what_the_stack_takes_in_and_makes(tmp_path):
    assert set(shown(tmp_path, Backend(takes=EVERYTHING, makes=EVERYTHING[:3]))) == set(EVERYTHING)
    assert set(shown(tmp_path, Backend(takes=("image",), makes=("image",)))) == {"image"}
    only_text = examples_of(Backend(takes=(), makes=()), tmp_path)
    assert only_text
    assert not any(word in example["text"] for example in only_text for word in ("Draw", "Paint", "Play", "Film"))


def test_without_the_extra_examples_of_videos_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert set(shown(tmp_path, Backend(takes=EVERYTHING, makes=()))) == {"image", "audio", "points"}
