"""The service on both executors: what batching gains, what Ray adds, how long it takes to be ready."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from anygpt.config.loading import load_stack_config
from anygpt.media import to_data_url
from benchmarks.figure import Figure
from benchmarks.setup import Setup
from benchmarks.timing import medians_in_turns
from pipelines.tiny.world.phrases import caption
from pipelines.tiny.world.scenes import ALL_SCENES

REQUESTS = 16
PORTS = {"local": 8471, "ray": 8472}
READY_S = 180
EXECUTORS = tuple(PORTS)


def measure(setup: Setup) -> list[Figure]:
    """Both services run side by side, and are asked in turns."""
    setup.close()  # the services have their own
    with _service(setup, "ray") as ray_ready_s, _service(setup, "local") as local_ready_s:
        gains = _gains(setup)
        seconds = medians_in_turns({name: _asker(setup, name) for name in EXECUTORS}, 3 * setup.repeats)
    return [
        Figure("serve to ready, local", local_ready_s, "s", "from starting `anygpt serve` to 200 from /ready"),
        Figure("serve to ready, Ray", ray_ready_s, "s", "the same with --executor ray, Ray started by it", at_most=20),
        *gains,
        Figure(
            "question over HTTP, local", 1000 * seconds["local"], "ms", "a picture and a question in, text out; warm"
        ),
        Figure("question over HTTP, Ray", 1000 * seconds["ray"], "ms", "the same, asked in turns"),
        Figure(
            "latency that Ray adds",
            1000 * (seconds["ray"] - seconds["local"]),
            "ms",
            f"difference of the medians of {3 * setup.repeats}",
            at_most=15,
        ),
    ]


def _gains(setup: Setup) -> list[Figure]:
    bodies = [
        {"messages": [{"role": "user", "content": f"Draw {caption(scene)}."}], "seed": at, "modalities": ["image"]}
        for at, scene in enumerate(ALL_SCENES[:: len(ALL_SCENES) // REQUESTS][:REQUESTS])
    ]

    model = load_stack_config(setup.config).name

    def one_by_one(name: str) -> None:
        for body in bodies:
            _post(model, name, body)

    def at_once(name: str) -> None:
        with ThreadPoolExecutor(REQUESTS) as pool:
            list(pool.map(lambda body: _post(model, name, body), bodies))

    works: dict[str, Callable[[], None]] = {}
    for name in EXECUTORS:
        works[f"{name} one by one"] = lambda name=name: one_by_one(name)  # type: ignore[misc]
        works[f"{name} at once"] = lambda name=name: at_once(name)  # type: ignore[misc]
    taken = medians_in_turns(works, max(1, setup.repeats // 4))
    return [
        Figure(
            f"gain of {REQUESTS} at once over HTTP, {name}",
            taken[f"{name} one by one"] / taken[f"{name} at once"],
            "x",
            f"{REQUESTS} requests for a picture: {taken[f'{name} one by one']:.2f} s one after another, "
            f"{taken[f'{name} at once']:.2f} s at once",
            at_least=2.5 if name == "local" else None,
        )
        for name in EXECUTORS
    ]


def _asker(setup: Setup, name: str) -> Callable[[], Any]:
    picture = {"type": "image_url", "image_url": {"url": to_data_url(setup.picture)}}
    content = [picture, {"type": "text", "text": "What do you see?"}]
    model = load_stack_config(setup.config).name
    return lambda: _post(model, name, {"messages": [{"role": "user", "content": content}], "modalities": ["text"]})


def _post(model: str, name: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORTS[name]}/v1/chat/completions",
        json.dumps({"model": model, **body}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=READY_S) as answer:
        message = json.load(answer)["choices"][0]["message"]
    if not (message["content"] or message.get("images")):
        raise RuntimeError(f"nothing came: {message}")
    return message


@contextmanager
def _service(setup: Setup, name: str) -> Iterator[float]:
    """A running service; gives the seconds that it took to be ready."""
    command = [sys.executable, "-m", "pipelines", "serve", "--port", str(PORTS[name]), "--executor", name]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--config", os.fspath(setup.config)], stderr=subprocess.DEVNULL)
    try:
        while not _is_ready(name):
            if process.poll() is not None or time.perf_counter() - started > READY_S:
                raise RuntimeError(f"the service on the {name} executor did not start")
            time.sleep(0.05)
        yield time.perf_counter() - started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _is_ready(name: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORTS[name]}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
