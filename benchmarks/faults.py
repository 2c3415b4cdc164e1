"""`python -m benchmarks.faults`: a service on Ray under load, with one process after another killed or frozen.

Eight HTTP clients ask without a pause for text, about a picture, and for a picture. Every request must be answered or
refused in the service's own words; "lost" counts those that were not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from anygpt.config.loading import load_stack_config
from anygpt.media import to_data_url
from benchmarks.figure import Figure
from benchmarks.machine import describe
from benchmarks.setup import DRAW, Setup

CLIENTS = 8
BEFORE_S = 5.0  # of load before the fault
QUIET_S = 10.0  # without any sign of it: the service is whole again
GIVE_UP_S = 120.0
SLOW_S = 15.0
CLIENT_TIMEOUT_S = 60.0
READY_S = 180.0
PORT = 21473
LOOK_S = 0.5  # between two looks at /ready
WHOLE_AFTER_S = 20.0  # the goal


@dataclass(frozen=True)
class Fault:
    """What happens to which of the service's processes.

    Attributes:
        processes: parts of their command lines; the first process of each is hit.
        signal: what they are sent.
    """

    name: str
    processes: tuple[str, ...] = ()
    signal: signal.Signals = signal.SIGKILL


FAULTS = (
    Fault("none"),
    Fault("encoders killed", (":encoders",)),
    Fault("backbone killed", (":backbone",)),
    Fault("generators killed", (":generators",)),
    Fault("encoders and backbone killed", (":encoders", ":backbone")),
    Fault("generators frozen", (":generators",), signal.SIGSTOP),
    Fault("backbone frozen", (":backbone",), signal.SIGSTOP),
    Fault("Serve's controller killed", ("ServeController",)),
    Fault("Serve's controller frozen", ("ServeController",), signal.SIGSTOP),
    Fault("GCS killed", ("gcs_server",)),
    Fault("raylet killed", ("raylet/raylet",)),
    Fault("GCS frozen", ("gcs_server",), signal.SIGSTOP),
    Fault("raylet frozen", ("raylet/raylet",), signal.SIGSTOP),
)


@dataclass
class Observed:
    """What was seen while one fault was suffered; times in seconds since the fault.

    Attributes:
        outcomes: how many requests ended in which way.
        slow: requests that took longer than `SLOW_S`.
        slowest_s: the longest of all.
        unclear: what the lost requests got in the place of an answer.
        bad_at: when a request ended otherwise than whole, or /ready said no.
        shown_at: when /ready said no for the first time.
    """

    fault: Fault
    outcomes: Counter[str] = field(default_factory=Counter)
    slow: int = 0
    slowest_s: float = 0.0
    unclear: list[str] = field(default_factory=list)
    bad_at: float = 0.0
    shown_at: float | None = None
    is_whole: bool = False

    @property
    def row(self) -> tuple[str, ...]:
        """One line of the table."""
        counts = [self.outcomes[name] for name in ("answered", "clear error", "medium lost")]
        whole = f"{self.bad_at:.1f}" if self.is_whole else f"not within {GIVE_UP_S:g}"
        shown = "–" if self.shown_at is None else f"{self.shown_at:.1f}"
        numbers = [self.outcomes.total(), *counts, self.slow, self.outcomes["lost"]]
        return (self.fault.name, *map(str, numbers), f"{self.slowest_s:.1f}", shown, whole)


COLUMNS = (
    "fault",
    "sent",
    "answered",
    "clear errors",
    "media lost",
    f"over {SLOW_S:g} s",
    "lost",
    "slowest answer, s",
    "/ready says so after, s",
    "whole again after, s",
)


def measure(setup: Setup) -> list[Figure]:
    """All faults, one after another."""
    setup.close()  # the service has its own
    figures = []
    for seen in observe(os.fspath(setup.config), FAULTS):
        counts = ", ".join(f"{count} {name}" for name, count in sorted(seen.outcomes.items()))
        bad = seen.outcomes["lost"] + seen.slow
        whole_s = seen.bad_at if seen.is_whole else GIVE_UP_S
        note = f"{CLIENTS} clients; {counts}"
        figures += [
            Figure(f"{seen.fault.name}: whole again", whole_s, "s", note, at_most=WHOLE_AFTER_S),
            Figure(f"{seen.fault.name}: lost or over {SLOW_S:g} s", bad, "requests", "of the same", at_most=0),
        ]
    return figures


def observe(config: str, faults: tuple[Fault, ...]) -> Iterator[Observed]:
    """Start a service and let it suffer; one that does not get over a fault is replaced before the next."""
    waiting = list(faults)
    while waiting:
        with _service(config) as service:
            while waiting:
                seen = _suffer(service, waiting.pop(0), load_stack_config(config).name)
                yield seen
                if not seen.is_whole:
                    break


def _suffer(service: psutil.Process, fault: Fault, model: str) -> Observed:
    """Load, the fault in its midst, and more load until nothing is seen of it any more."""
    seen, lock, stop = Observed(fault), threading.Lock(), threading.Event()
    bodies = _bodies(model)
    struck_at = time.monotonic() + BEFORE_S

    def note(outcome: str, seconds: float, unclear: str) -> None:
        with lock:
            now = time.monotonic() - struck_at
            seen.outcomes[outcome] += 1
            seen.slow += seconds > SLOW_S
            seen.slowest_s = max(seen.slowest_s, seconds)
            if outcome != "answered":
                seen.bad_at = max(seen.bad_at, now)
            if unclear:
                seen.unclear.append(f"at {now:.1f} s: {unclear}")

    def ask_on() -> None:
        while not stop.is_set():
            with lock:
                body = next(bodies)
            note(*_ask(body))

    clients = [threading.Thread(target=ask_on) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(max(0.0, struck_at - time.monotonic()))
    _strike(service, fault)
    while (now := time.monotonic() - struck_at) < GIVE_UP_S:
        if not _is_ready():
            seen.shown_at = now if seen.shown_at is None else seen.shown_at
            seen.bad_at = max(seen.bad_at, time.monotonic() - struck_at)
        if time.monotonic() - struck_at > seen.bad_at + QUIET_S and (seen.bad_at or now > 2 * QUIET_S):
            seen.is_whole = True
            break
        time.sleep(LOOK_S)
    stop.set()
    for client in clients:
        client.join()
    return seen


def _strike(service: psutil.Process, fault: Fault) -> None:
    running = [(process, " ".join(process.cmdline())) for process in service.children(recursive=True)]
    hit = [next(process for process, line in running if part in line) for part in fault.processes]
    for process in hit:
        process.send_signal(fault.signal)


def _bodies(model: str) -> Iterator[dict[str, Any]]:
    """Requests for text, about a picture and for a picture in turn, for ever."""
    picture = {"type": "image_url", "image_url": {"url": to_data_url(Setup().picture)}}
    kinds: list[tuple[Any, str]] = [
        ("Hello, who are you?", "text"),
        ([picture, {"type": "text", "text": "What do you see?"}], "text"),
        (DRAW, "image"),
    ]
    for seed in itertools.count():
        content, modality = kinds[seed % len(kinds)]
        yield {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "modalities": [modality],
            "seed": seed,
        }


def _ask(body: dict[str, Any]) -> tuple[str, float, str]:
    """How a request ended, its seconds, and for a lost one what came instead of an answer."""
    started = time.monotonic()
    try:
        status, text = _post(body)
        outcome, unclear = _judge(status, text, body["modalities"][0])
    except OSError as error:
        outcome, unclear = "lost", f"{type(error).__name__}: {error}"
    return outcome, time.monotonic() - started, unclear


def _judge(status: int, text: str, modality: str) -> tuple[str, str]:
    unclear = f"{status} {text[:200]}"
    try:
        answer = json.loads(text)
        if status != 200:
            error = answer["error"]
            is_clear = status in (429, 503, 504) and error["message"] and (error["param"] or error["code"])
            return ("clear error", "") if is_clear else ("lost", unclear)
        message = answer["choices"][0]["message"]
    except (ValueError, LookupError, TypeError):
        return "lost", unclear
    if modality != "text" and not message.get("images"):
        return ("medium lost", "") if message.get("errors") else ("lost", unclear)
    return ("answered", "") if message.get("content") or message.get("images") else ("lost", unclear)


def _post(body: dict[str, Any]) -> tuple[int, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/v1/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=CLIENT_TIMEOUT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _is_ready() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/ready", timeout=SLOW_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def _service(config: str) -> Iterator[psutil.Process]:
    """A running service; whatever is left of it at the end is killed."""
    command = [sys.executable, "-m", "pipelines", "serve", "--port", str(PORT), "--executor", "ray"]
    process = subprocess.Popen([*command, "--config", config])
    service = psutil.Process(process.pid)
    deadline = time.monotonic() + READY_S
    try:
        while not _is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the service did not start")
            time.sleep(LOOK_S)
        for body in itertools.islice(_bodies(load_stack_config(config).name), 3):
            _post(body)  # so that nothing is slow for being the first
        yield service
    finally:
        left = service.children(recursive=True)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        for rest in (service, *left):
            with suppress(psutil.Error):
                rest.kill()
        process.wait(30)


def as_markdown(rows: list[tuple[str, ...]]) -> str:
    """A table with a head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def main() -> None:
    """Print the table, and what the lost requests got."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--config", default="tiny", help="shipped name or YAML file of the stack")
    parser.add_argument("--only", action="append", help="part of a fault's name; may be repeated")
    options = parser.parse_args()
    wanted = [fault for fault in FAULTS if not options.only or any(part in fault.name for part in options.only)]
    rows = [COLUMNS]
    for key, value in describe().items():
        print(f"{key}: {value}")
    for seen in observe(options.config, tuple(wanted)):
        rows.append(seen.row)
        print(*seen.row, sep=" | ", file=sys.stderr, flush=True)
        for line in seen.unclear[:5]:
            print("  lost", line, file=sys.stderr)
    print(as_markdown(rows))


if __name__ == "__main__":
    main()
