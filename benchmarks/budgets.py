"""Budgets: start-up, replies, memory, size on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from anygpt.checkpoints.locate import locate
from anygpt.config.loading import load_stack_config
from benchmarks.figure import Figure
from benchmarks.setup import DRAW, DRAW_TOKENS, Setup
from benchmarks.timing import median_seconds, seconds
from pipelines.assistant import AnyGPT

IMPORT = "import time; t = time.perf_counter(); import anygpt; print(time.perf_counter() - t)"
MEBIBYTE = 2**20
REPLY_BUDGETS_S = {"text": 1.0, "image": 3.0, "audio": 3.0, "video": 8.0}


def measure(setup: Setup) -> list[Figure]:
    """All budgets."""
    return [*_start_up(setup), *_replies(setup), *_whole_command(setup), _weights(setup)]


def _start_up(setup: Setup) -> list[Figure]:
    imports = [float(_output([sys.executable, "-c", IMPORT])) for _ in range(setup.repeats)]
    return [
        Figure(
            "import anygpt",
            median(imports),
            "s",
            f"the import statement in a fresh Python, median of {setup.repeats}",
            at_most=0.3,
        ),
        Figure(
            "anygpt --help",
            median_seconds(lambda: _output([sys.executable, "-m", "anygpt", "--help"]), setup.repeats),
            "s",
            f"the whole process, median of {setup.repeats}",
            at_most=1.0,
        ),
    ]


def _replies(setup: Setup) -> list[Figure]:
    """Loading counts in; importing does not, since the first round is left out."""

    def answer(modality: str) -> None:
        with AnyGPT.from_config(setup.config) as model:
            model.chat(DRAW, modalities=[modality], max_tokens=DRAW_TOKENS)

    repeats = max(1, setup.repeats // 3)
    makeable = ("text", *load_stack_config(setup.config).generators)
    return [
        Figure(
            f"{modality} reply, loading included",
            median_seconds(partial(answer, modality), repeats),
            "s",
            f"AnyGPT.from_config() and one chat() for {modality} in a process that has imported everything, "
            f"median of {repeats}",
            at_most=REPLY_BUDGETS_S.get(modality),
        )
        for modality in makeable
    ]


def _whole_command(setup: Setup) -> list[Figure]:
    """`anygpt generate` with a picture in and a picture out, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "in.png"
        setup.picture.save(picture)
        command = [sys.executable, "-m", "anygpt", "generate", DRAW, "--image", str(picture), "--out", folder]
        command += ["--modalities", "image", "--max-tokens", str(DRAW_TOKENS), "--config", str(setup.config)]
        peaks: list[int] = []
        taken = [seconds(lambda: peaks.append(_peak_bytes(command))) for _ in range(max(1, setup.repeats // 3))]
    what = "`anygpt generate` with a picture in and a picture out, in a process of its own"
    return [
        Figure(
            "anygpt generate, everything included", median(taken), "s", f"wall time of {what}, median of {len(taken)}"
        ),
        Figure("peak memory", max(peaks) / MEBIBYTE, "MiB", f"largest resident set of {what}", at_most=2048),
    ]


def _weights(setup: Setup) -> Figure:
    files = {file for folder in _weight_folders(setup) for file in folder.rglob("*.safetensors")}
    size = sum(file.stat().st_size for file in files)
    return Figure("weights", size / 1e6, "MB", "all safetensors files that the config names", at_most=40.0)


def _weight_folders(setup: Setup) -> Iterator[Path]:
    config = load_stack_config(setup.config)
    for name in {*_values(asdict(config), "pretrained"), *([config.adapters] if config.adapters else [])}:
        folder = Path(locate(name))
        if folder.is_dir():
            yield folder


def _values(section: Mapping[str, Any], key: str) -> Iterator[str]:
    """Every value of a key, at any depth."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _values(value, key)
        elif name == key and isinstance(value, str):
            yield value


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _peak_bytes(command: Sequence[str]) -> int:
    """Run a command and ask the kernel for the largest resident set of exactly that process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
