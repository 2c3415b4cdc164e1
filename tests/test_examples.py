"""The examples run, and the README shows them as they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_readme_shows_the_first_request_as_it_is():
    code = (ROOT / "examples" / "first_request.py").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_first_request_runs_and_saves_a_green_star(tmp_path):
    from anygpt.media import load_image
    from pipelines.tiny.world.oracle import read_image

    run = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "first_request.py")], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "a large green star at the top left" in run.stdout
    assert "It is green." in run.stdout
    reading = read_image(load_image(tmp_path / "replies" / "green_star.png"))
    assert (reading.shape, reading.colour, reading.position) == ("star", "green", "top left")


def test_every_file_that_the_documents_name_is_there():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        text = document.read_text(encoding="utf-8")
        folders = "anygpt|encoders|projectors|backbone|generators|pipelines|configs|tests|docs|examples"
        named = re.findall(rf"`((?:{folders})/[\w./-]+)`", text)
        for path in named:
            assert (ROOT / path).exists(), f"{document.name} names {path}, which is not there"
