"""Where a request's time goes, for every modality that the stack perceives or makes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.figure import Figure
from benchmarks.overhead import covered_seconds, timed_models
from benchmarks.setup import DRAW_TOKENS, Setup
from benchmarks.timing import seconds
from pipelines.assistant import Reply
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene

SCENE = Scene("star", "red", "large", "center", "up")
ASK = "What is this?"
MAKE = {"image": "Draw a large red star.", "audio": "Play a large red star.", "video": "Film a large red star."}


def measure(setup: Setup) -> list[Figure]:
    """Whole replies, their stages, and the share in which no model runs."""
    figures = []
    for modality in setup.stack.encoders:
        medium = render(SCENE.in_modality(modality), modality)
        figures += _figures(setup, f"{modality} in", [medium, ASK], ["text"], f"encoders.{modality}")
    for modality in setup.stack.generators:
        figures += _figures(setup, f"{modality} out", [MAKE[modality]], [modality], f"generators.{modality}")
    return figures


def _figures(setup: Setup, name: str, message: Sequence[Any], modalities: Sequence[str], stage: str) -> list[Figure]:
    replies: list[Reply] = []
    totals, outside = [], []
    for seed in range(1 + setup.repeats):
        with timed_models(setup.stack) as intervals:
            total = seconds(
                lambda seed=seed: replies.append(
                    setup.model.chat(list(message), seed=seed, modalities=list(modalities), max_tokens=DRAW_TOKENS)
                )
            )
        totals.append(total)
        outside.append(100 * (total - covered_seconds(intervals)) / total)
    times = [reply.timings.get(stage, 0.0) for reply in replies[1:]]
    if not all(times):
        raise RuntimeError(f"{name}: stage {stage} did not run in every reply: {replies[-1].errors}")
    of = f"of {setup.repeats} warm requests, {', '.join(modalities)} out"
    return [
        Figure(f"{name}: reply", median(totals[1:]), "s", f"wall time, median {of}"),
        Figure(f"{name}: {stage}", median(times), "s", f"time in that stage, median {of}"),
        Figure(
            f"{name}: language model", median(reply.timings["backbone"] for reply in replies[1:]), "s", f"median {of}"
        ),
        Figure(f"{name}: outside the models", median(outside[1:]), "%", f"share of the wall time, median {of}"),
    ]
