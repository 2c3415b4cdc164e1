"""Hostile files and configs on the command line, generated: one line and an exit code, never a traceback or a hang."""

from __future__ import annotations

import io
import sys
import time
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given

from pipelines.assistant import AnyGPT
from pipelines.cli import loading
from pipelines.cli import main as cli
from tests.pipelines.hostile_inputs import MAX_GROWTH_BYTES, MAX_SECONDS, damaged_files, hostile, odd_configs


def run(*arguments: Any, model: AnyGPT | None = None) -> None:
    """Run the command line in this process, with a model that is loaded already if given, and check how it ends."""
    out, err = io.StringIO(), io.StringIO()
    before, started = psutil.Process().memory_info().rss, time.monotonic()
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(err):
        patched.setattr(sys, "argv", ["anygpt", *map(str, arguments)])
        patched.setattr(sys, "stdin", io.StringIO("y\n"))
        if model is not None:
            patched.setattr(loading, "load_model", lambda *_, **__: nullcontext(model))
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert time.monotonic() - started < MAX_SECONDS
    assert psutil.Process().memory_info().rss - before < MAX_GROWTH_BYTES
    assert ended.value.code in (0, 1, 2), err.getvalue()
    if ended.value.code:
        lines = err.getvalue().strip().splitlines()
        assert len(lines) == 1, err.getvalue()
        assert lines[0].startswith("anygpt: error: ")
        assert "(a bug" not in lines[0]
        assert len(lines[0]) < 1200


@hostile(120)
@given(file=damaged_files())
def test_damaged_files_end_in_one_line(tmp_path, tiny, file):
    modality, ending, data = file
    path = tmp_path / f"file{ending}"
    path.write_bytes(data)
    words = ["What is it?", f"--{modality}", path, "--out", tmp_path / "replies", "--modalities", "text"]
    run("generate", *words, model=tiny)


@hostile(80)
@given(config=odd_configs())
def test_odd_configs_end_in_one_line(tmp_path: Path, config: str):
    path = tmp_path / "odd.yaml"
    path.write_text(config, encoding="utf-8", errors="replace")
    run("generate", "Hello", "-c", path, "--modalities", "text", "--max-tokens", "1")
