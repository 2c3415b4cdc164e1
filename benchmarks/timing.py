"""Time functions fairly: warm, in turns, as medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any


def seconds(function: Callable[[], Any]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def median_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median of `repeats` calls after one that does not count."""
    return medians_in_turns({"only": function}, repeats)["only"]


def medians_in_turns(functions: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each function, A B A B …, so that a busy moment meets all of them; the first round is left out.

    Args:
        functions: by name; what each returns is dropped.
        repeats: rounds that count.
    """
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(1 + repeats):
        for name, function in functions.items():
            taken[name].append(seconds(function))
    return {name: median(times[1:]) for name, times in taken.items()}
