"""What answering requests together gains over answering them one after another."""

from __future__ import annotations

from collections.abc import Callable

from anygpt.world.phrases import caption
from anygpt.world.scenes import ALL_SCENES
from benchmarks.figure import Figure
from benchmarks.setup import DRAW_TOKENS, Setup
from benchmarks.timing import medians_in_turns

REQUESTS = 8


def measure(setup: Setup) -> list[Figure]:
    """Eight requests for a picture each."""
    prompts = [f"Draw {caption(scene)}." for scene in ALL_SCENES[:: len(ALL_SCENES) // REQUESTS][:REQUESTS]]

    def together() -> None:
        replies = setup.model.chat_batch(prompts, seeds=range(REQUESTS), modalities=["image"], max_tokens=DRAW_TOKENS)
        _check(sum(len(reply.images) for reply in replies))

    def one_by_one() -> None:
        replies = [
            setup.model.chat(prompt, seed=seed, modalities=["image"], max_tokens=DRAW_TOKENS)
            for seed, prompt in enumerate(prompts)
        ]
        _check(sum(len(reply.images) for reply in replies))

    works: dict[str, Callable[[], None]] = {"together": together, "one by one": one_by_one}
    taken = medians_in_turns(works, max(1, setup.repeats // 3))
    return [
        Figure(
            f"{REQUESTS} pictures one by one",
            taken["one by one"],
            "s",
            f"{REQUESTS} calls of chat(), each for a picture",
        ),
        Figure(f"{REQUESTS} pictures together", taken["together"], "s", "the same requests in one chat_batch()"),
        Figure(
            f"gain of {REQUESTS} together",
            taken["one by one"] / taken["together"],
            "x",
            "seconds one by one over seconds together, measured in turns",
            at_least=3.0,
        ),
    ]


def _check(pictures: int) -> None:
    if pictures != REQUESTS:
        raise RuntimeError(f"{pictures} pictures came, expected {REQUESTS}")
