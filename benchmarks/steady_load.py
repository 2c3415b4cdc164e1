"""`python -m benchmarks.steady_load [--minutes N] [--executor local|ray]`: what a service gathers under steady load.

Clients ask without a pause for text, about a picture, a video or a point cloud, and for a picture, a sound or a video;
some hang up early and some send damaged files. Meanwhile memory, open files and threads of the service and of all its
processes are counted every few seconds. A slope is a least-squares line through the counts after the warm-up.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil

from anygpt.media.kinds import KINDS
from benchmarks.machine import describe
from pipelines.media_json import JSON_FORMS
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene

CLIENTS = 4
LOOK_S = 5.0
WARM_UP = 0.2  # of the time
READY_S = 180.0
STAR = Scene("star", "red")
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Count:
    """What the service and its processes hold at one moment."""

    at_s: float
    memory_mib: float
    files: int
    threads: int
    processes: int


def bodies() -> list[dict[str, Any]]:
    """Requests of all kinds, the last one with a damaged file."""
    asked: list[dict[str, Any]] = [_chat("Hello", modalities=["text"])]
    for modality in ("image", "audio", "video", "points"):
        medium = render(STAR.in_modality(modality), modality, 0)
        asked.append(_chat("What is it?", modality, KINDS[modality].encode(medium), modalities=["text"]))
    for modality in ("image", "audio", "video"):
        asked.append(_chat("Make a red star.", modalities=[modality], steps=2))
    asked.append(_chat("What is it?", "image", b"\x89PNG\r\n\x1a\n" + b"\0" * 5_000))
    return asked


def _chat(text: str, modality: str | None = None, file: bytes = b"", **options: Any) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if modality:
        kind = JSON_FORMS[modality].type
        url = f"data:{KINDS[modality].mime};base64,{base64.b64encode(file).decode()}"
        parts.insert(0, {"type": kind, kind: {"url": url}})
    return {"model": "tiny", "messages": [{"role": "user", "content": parts}], "max_tokens": 24, **options}


class Load:
    """Clients that ask until they are stopped."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(at,)) for at in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the last answers come."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, first: int) -> None:
        kinds = bodies()
        for at in itertools.count(first):
            if self._stop.is_set():
                return
            started = time.perf_counter()
            self.answers[self._answer(kinds[at % len(kinds)], hang_up=at % 10 == 9)] += 1
            self.seconds.append(time.perf_counter() - started)

    def _answer(self, body: dict[str, Any], *, hang_up: bool) -> str:
        request = urllib.request.Request(
            f"{self.url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with OPENER.open(request, timeout=0.05 if hang_up else 60) as answer:
                answer.read()
                return str(answer.status)
        except urllib.error.HTTPError as error:
            error.read()
            return str(error.code)
        except OSError as error:
            return "hung up" if hang_up else type(error).__name__


def count(process: psutil.Process, started: float) -> Count:
    """Add up a process and all below it."""
    memory, files, threads, number = 0, 0, 0, 0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            memory += each.memory_full_info().uss
            files += each.num_fds()
            threads += each.num_threads()
            number += 1
    return Count(time.monotonic() - started, memory / 2**20, files, threads, number)


def run(minutes: float, executor: str, port: int) -> tuple[list[Count], Load]:
    """Serve, load and count."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "pipelines", "serve", "--port", str(port), "--executor", executor]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with tempfile.TemporaryDirectory() as folder:
        service = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        try:
            _wait_until_ready(url)
            started, counts, load = time.monotonic(), [], Load(url)
            while time.monotonic() - started < minutes * 60:
                time.sleep(LOOK_S)
                counts.append(count(psutil.Process(service.pid), started))
                print(counts[-1], file=sys.stderr)
            load.stop()
            return counts, load
        finally:
            service.terminate()
            service.wait(60)


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with suppress(OSError), OPENER.open(f"{url}/ready", timeout=5):
            return
        time.sleep(0.5)
    raise RuntimeError(f"the service was not ready within {READY_S:g} s")


def slope_a_minute(counts: list[Count], name: str) -> float:
    """The least-squares slope of one count, after the warm-up."""
    kept = [item for item in counts if item.at_s > WARM_UP * counts[-1].at_s]
    minutes = np.array([item.at_s / 60 for item in kept])
    return float(np.polyfit(minutes, [getattr(item, name) for item in kept], 1)[0])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steady_load", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    parser.add_argument("--port", type=int, default=21474)
    options = parser.parse_args()
    counts, load = run(options.minutes, options.executor, options.port)
    for key, value in describe().items():
        print(f"{key}: {value}")
    answered = ", ".join(f"{status}: {number}" for status, number in sorted(load.answers.items()))
    print(f"{options.executor}, {options.minutes:g} minutes, {sum(load.answers.values())} requests ({answered})")
    print(f"median {np.median(load.seconds):.2f} s, slowest {max(load.seconds):.1f} s")
    print("what       first   last    most    slope a minute")
    for name in ("memory_mib", "files", "threads", "processes"):
        values = [getattr(item, name) for item in counts]
        slope = slope_a_minute(counts, name)
        print(f"{name:10} {values[0]:7.0f} {values[-1]:7.0f} {max(values):7.0f} {slope:+9.2f}")


if __name__ == "__main__":
    main()
