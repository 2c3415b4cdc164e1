"""Hostile files on the command line: one line that names the file, exit code 2, nothing is loaded or written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anygpt.media.kinds import KINDS
from pipelines.cli import main as cli
from tests.anygpt.media import test_image_refusals, test_media_refusals
from tests.anygpt.media.test_media_refusals import ROOT, picture
from tests.peak_memory import run_measured

PICTURES = {**test_image_refusals.BROKEN, **test_image_refusals.OVERSIZED}
OTHERS = {**test_media_refusals.BROKEN, **test_media_refusals.BOMBS}
HOSTILE = {  # modality and case -> the file's bytes, and what its refusal says
    **{f"image: {case}": given for case, given in PICTURES.items()},
    **{case: given for case, given in OTHERS.items() if isinstance(given[0], bytes)},
    **{f"{modality}: a picture": (picture("PNG"), "it starts with") for modality in ("audio", "video", "points")},
}
# The whole command, which must need no more than Python, numpy and a decoder: a bare `import torch` takes 300 MB.
NASTIEST = [
    "image: png with a text bomb",
    "audio: FLAC of 22 minutes",
    "video: MP4 of 268 million frames",
    "video: MP4 of damaged pictures",
    "points: PLY of a billion",
    "points: NPZ bomb that lies",
    "points: NPY of pickles",
]
PEAK_KIB = 200_000


@pytest.fixture
def command(tmp_path: Path) -> Callable[[str], tuple[list[Any], Path]]:
    """The arguments that send a case's file along, and the file."""

    def command(case: str) -> tuple[list[Any], Path]:
        modality = case.partition(":")[0]
        path = tmp_path / f"hostile{KINDS[modality].suffix}"
        path.write_bytes(HOSTILE[case][0])
        return ["generate", "What is this?", f"--{modality}", path, "--out", tmp_path / "replies"], path

    return command


def check_refused(case: str, path: Path, code: object, out: str, err: str) -> None:
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1
    assert err.startswith(f"anygpt: error: {case.partition(':')[0]} ")
    assert path.name in err
    assert HOSTILE[case][1] in err
    assert len(err) < 1000
    assert list(path.parent.iterdir()) == [path], "something was written"


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_file_is_refused_in_one_line_before_anything_is_loaded(command, case, monkeypatch, capfd):
    arguments, path = command(case)
    monkeypatch.setattr("pipelines.assistant.start_executor", lambda *_: pytest.fail("the stack is loaded already"))
    monkeypatch.setattr(sys, "argv", ["anygpt", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    check_refused(case, path, ended.value.code, *capfd.readouterr())


@pytest.mark.parametrize("case", NASTIEST)
def test_nastiest_files_cost_the_command_little_memory(command, case):
    arguments, path = command(case)
    done, peak = run_measured([sys.executable, "-m", "anygpt", *arguments], cwd=ROOT)
    check_refused(case, path, done.returncode, done.stdout, done.stderr)
    assert 0 < peak < PEAK_KIB
