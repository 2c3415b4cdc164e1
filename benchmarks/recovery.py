"""Kill -9 of each stage's process while requests run: how long the slowest answer takes, and when the stage is back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from anygpt.errors import StageError
from benchmarks.figure import Figure
from benchmarks.setup import DRAW, Setup
from pipelines.assistant import AnyGPT
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene

STAR = Scene("star", "red")
BEFORE, AFTER = 4, 4  # requests that run when the process is killed, and that come then
BACK_S = 60.0


def measure(setup: Setup) -> list[Figure]:
    """Every stage in a process of its own, killed one after another."""
    setup.close()  # the processes on Ray have their own
    with AnyGPT.from_config(setup.config, executor="ray", deploy="separate") as model:
        return [figure for stage in model.config.stages for figure in _killed(model, stage)]


def _killed(model: AnyGPT, stage: str) -> list[Figure]:
    ask = _asker(model, stage)
    if not ask():
        raise RuntimeError(f"{stage}: no whole reply came while all was well")
    pid = asyncio.run(model.executor.places())[stage]["pid"]  # type: ignore[attr-defined]
    with ThreadPoolExecutor(BEFORE + AFTER) as pool:
        asked = [pool.submit(_timed, ask) for _ in range(BEFORE)]
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        killed_at = time.perf_counter()
        asked += [pool.submit(_timed, ask) for _ in range(AFTER)]
        answers = [future.result() for future in asked]
    while not ask():
        if time.perf_counter() - killed_at > BACK_S:
            raise RuntimeError(f"{stage}: not back within {BACK_S:g} s")
        time.sleep(0.2)
    whole = sum(is_whole for _, is_whole in answers)
    return [
        Figure(
            f"{stage} killed: slowest answer",
            max(seconds for seconds, _ in answers),
            "s",
            f"of {BEFORE} requests under way and {AFTER} just after; {whole} were whole, the others named the stage",
            at_most=15,
        ),
        Figure(f"{stage} killed: back", time.perf_counter() - killed_at, "s", "from the kill to the next whole reply"),
    ]


def _asker(model: AnyGPT, stage: str) -> Callable[[], bool]:
    """A request that needs the stage; True for a whole reply, False for one that names the stage as lost."""
    kind, _, modality = stage.partition(".")
    message: Any = DRAW
    if kind == "encoders":
        message = [render(STAR.in_modality(modality), modality, 0), "What is it?"]
    wanted = [modality] if kind == "generators" else ["text"]

    def ask() -> bool:
        try:
            reply = model.chat(message, modalities=wanted)
        except StageError as error:
            lost = {error.stage}
        else:
            lost = {failed.stage for failed in reply.errors}
        if lost - {stage}:
            raise RuntimeError(f"{stage} was killed, but {lost} failed")
        return not lost

    return ask


def _timed(ask: Callable[[], bool]) -> tuple[float, bool]:
    """Seconds, and what was answered."""
    started = time.perf_counter()
    is_whole = ask()
    return time.perf_counter() - started, is_whole
