from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from pipelines.demo.public_paths import PublicPaths


@pytest.fixture
def paths(tmp_path: Path) -> PublicPaths:
    """Of a folder with a file, and a secret beside it."""
    folder = tmp_path / "dägger page"
    (folder / "a1").mkdir(parents=True)
    (folder / "a1" / "ein stern.png").write_bytes(b"star")
    (tmp_path / "secret.png").write_bytes(b"secret")
    return PublicPaths(folder)


@pytest.mark.parametrize(
    "way",
    [str, quote, json.dumps, lambda path: json.dumps(path, ensure_ascii=False)],
    ids=["plain", "url", "json", "raw"],
)
def test_the_folder_is_hidden_however_it_is_written(paths, way):
    said = f"<a href='/file={way(str(paths.folder))}/a1/x'>".encode()
    hidden = paths.hide(said)
    assert paths.name.encode() in hidden
    assert b"gger" not in hidden
    assert hidden.replace(paths.name.encode(), b"").replace(b'"', b"") == b"<a href='/file=/a1/x'>"


def test_a_file_is_found_by_its_public_name(paths):
    assert paths.find(f"{paths.name}/a1/ein stern.png") == paths.folder / "a1" / "ein stern.png"


def test_nothing_else_is_found(paths):
    (paths.folder / "a1" / "link.png").symlink_to(paths.folder.parent / "secret.png")
    names = (
        *("", "/", "a1/ein stern.png", "/etc/passwd", "http://127.0.0.1/a", str(paths.folder / "a1" / "ein stern.png")),
        *(
            f"{paths.name}{rest}"
            for rest in (
                "",
                "/a1",
                "/a1/",
                "/a1/no.png",
                "/../secret.png",
                "/a1/../../secret.png",
                "/./x",
                "//etc/passwd",
            )
        ),
        *(f"{paths.name}/a1/{name}" for name in ("link.png", "x\0y", "\udc80", "..\\secret.png", "x" * 5000)),
    )
    assert [name for name in names if paths.find(name)] == []


def test_names_are_drawn(tmp_path):
    assert PublicPaths(tmp_path).name != PublicPaths(tmp_path).name
