"""What the pipeline itself adds to the time inside the models."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks.figure import Figure
from benchmarks.setup import DRAW_TOKENS, Setup
from benchmarks.timing import seconds

Interval = tuple[float, float]


def measure(setup: Setup) -> list[Figure]:
    """Wall time of requests, text and a picture out, minus the time when some model was running."""
    shares, added = [], []
    for _ in range(1 + setup.repeats):
        with timed_models(setup.stack) as intervals:
            total = seconds(lambda: _ask(setup))
        added.append(total - covered_seconds(intervals))
        shares.append(added[-1] / total)
    inside = "encoder preprocess and encode, projectors, language-model forward passes, generator"
    return [
        Figure(
            "pipeline overhead",
            100 * median(shares[1:]),
            "%",
            "share of a request's wall time (picture in, text and picture out) in which no model runs; "
            f"models: {inside}; median of {setup.repeats}",
            at_most=3.0,
        ),
        Figure("pipeline overhead, absolute", 1000 * median(added[1:]), "ms", "the same in milliseconds"),
    ]


def _ask(setup: Setup) -> None:
    message = [setup.picture, "Draw this again, please."]
    reply = setup.model.chat(message, modalities=["image"], max_tokens=DRAW_TOKENS)
    if len(reply.images) != 1:
        raise RuntimeError(f"{len(reply.images)} pictures came, expected one: {reply.errors}")


@contextmanager
def timed_models(stack: Any) -> Iterator[list[Interval]]:
    """Note when each model's own functions begin and end, whichever thread they run in."""
    backbone_stage = stack.backbone
    language_model = backbone_stage.backbone.language_model
    base_model = language_model.get_base_model() if hasattr(language_model, "get_base_model") else language_model
    projectors = (*backbone_stage.input_projectors.values(), *backbone_stage.output_projectors.values())
    functions = [
        *((encoder, name) for encoder in stack.encoders.values() for name in ("preprocess", "encode")),
        *((module, "forward") for module in (base_model, *projectors)),
        *((generator, "generate") for generator in stack.generators.values()),
    ]
    intervals: list[Interval] = []

    def timed(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                intervals.append((started, time.perf_counter()))

        return wrapper

    with ExitStack() as patches:
        for owner, name in functions:
            patches.enter_context(patch.object(owner, name, timed(getattr(owner, name))))
        yield intervals


def covered_seconds(intervals: Sequence[Interval]) -> float:
    """Length of the union: what runs side by side counts once."""
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered
