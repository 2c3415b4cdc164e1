"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from anygpt.errors import MediaError
from anygpt.media.kinds import save_medium
from anygpt.media.saving import write_atomically


def refusal(path) -> str:
    with pytest.raises(MediaError) as raised:
        write_atomically(path, b"new", medium="image")
    assert str(raised.value).isprintable()
    return str(raised.value)


def test_write_atomically_makes_and_replaces_a_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".png")  # as long as a name can be
    for content in (b"old", b"new"):
        write_atomically(path, content, medium="image")
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_gives_the_file_the_users_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_atomically(tmp_path / "a.png", b"x", medium="image")
    usual, given = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "a.png"))
    assert given == usual


def test_write_atomically_keeps_the_old_file_when_writing_fails(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    assert "cannot be written (no space left on device)" in refusal(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomically_refuses_what_is_no_regular_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (tmp_path, pipe, Path("/dev/null")):
        assert "a folder, pipe or device is there" in refusal(place)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("name", ["missing\nfolder/a.png", "a\0.png", "n" * 300, "\ud800.png"])
def test_write_atomically_refuses_impossible_names(tmp_path: Path, name: str) -> None:
    assert "cannot be written" in refusal(f"{tmp_path}/{name}")


def test_save_medium_refuses_what_is_no_medium(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="medium: a str given, expected one of Image, Audio, Video, PointCloud"):
        save_medium("a reply", tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
