"""How long a user waits for the first word."""

from __future__ import annotations

import time
from statistics import median

from anygpt.events import TextDelta
from benchmarks.figure import Figure
from benchmarks.setup import Setup

MAX_TOKENS = 24  # an untrained model may write broken characters, which are held back for a while


def measure(setup: Setup) -> list[Figure]:
    """From request to the first `TextDelta`, without and with a picture to look at."""
    return [
        Figure(
            "time to first text token",
            1000 * _median_delay(setup, ["What can you do?"]),
            "ms",
            f"from AnyGPT.stream() of a text to its first TextDelta, warm, median of {setup.repeats}",
        ),
        Figure(
            "time to first text token, picture in",
            1000 * _median_delay(setup, [setup.picture, "What is this?"]),
            "ms",
            f"the same with a picture in the request, warm, median of {setup.repeats}",
        ),
    ]


def _median_delay(setup: Setup, message: list[object]) -> float:
    return median([_delay(setup, message) for _ in range(1 + setup.repeats)][1:])


def _delay(setup: Setup, message: list[object]) -> float:
    started = time.perf_counter()
    delay = None
    # All events are taken, so that nothing of this request is left running during the next.
    for event in setup.model.stream(message, modalities=["text"], max_tokens=MAX_TOKENS):
        if delay is None and isinstance(event, TextDelta):
            delay = time.perf_counter() - started
    if delay is None:
        raise RuntimeError("no text came, expected some")
    return delay
