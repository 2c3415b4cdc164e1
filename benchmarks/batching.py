"""What answering requests together gains over answering them one after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmarks.figure import Figure
from benchmarks.setup import DRAW_TOKENS, Setup
from benchmarks.timing import medians_in_turns
from pipelines.assistant import AnyGPT
from pipelines.tiny.world.phrases import caption
from pipelines.tiny.world.scenes import ALL_SCENES

REQUESTS = 8


def measure(setup: Setup) -> list[Figure]:
    """Eight requests for a picture each, as configured, and without padding where the config pads."""
    figures = _gain(setup, setup.model, "")
    config = setup.model.config
    padded = [modality for modality, section in config.generators.items() if section.get("pad_batches")]
    if padded:
        generators = {
            modality: {**section, "pad_batches": False} if modality in padded else section
            for modality, section in config.generators.items()
        }
        with AnyGPT.from_config(replace(config, generators=generators)) as unpadded:
            figures += _gain(setup, unpadded, ", unpadded")
    return figures


def _gain(setup: Setup, model: AnyGPT, how: str) -> list[Figure]:
    prompts = [f"Draw {caption(scene)}." for scene in ALL_SCENES[:: len(ALL_SCENES) // REQUESTS][:REQUESTS]]

    def together() -> None:
        replies = model.chat_batch(prompts, seeds=range(REQUESTS), modalities=["image"], max_tokens=DRAW_TOKENS)
        _check(sum(len(reply.images) for reply in replies))

    def one_by_one() -> None:
        replies = [
            model.chat(prompt, seed=seed, modalities=["image"], max_tokens=DRAW_TOKENS)
            for seed, prompt in enumerate(prompts)
        ]
        _check(sum(len(reply.images) for reply in replies))

    works: dict[str, Callable[[], None]] = {"together": together, "one by one": one_by_one}
    taken = medians_in_turns(works, max(1, setup.repeats // 3))
    note = (
        "; a single picture then costs one picture, not a padded batch, and is not the same to the last bit"
        if how
        else ""
    )
    return [
        Figure(
            f"{REQUESTS} pictures one by one{how}",
            taken["one by one"],
            "s",
            f"{REQUESTS} calls of chat(), each for a picture{note}",
        ),
        Figure(f"{REQUESTS} pictures together{how}", taken["together"], "s", "the same requests in one chat_batch()"),
        Figure(
            f"gain of {REQUESTS} together{how}",
            taken["one by one"] / taken["together"],
            "x",
            "seconds one by one over seconds together, measured in turns",
            at_least=None if how else 3.0,
        ),
    ]


def _check(pictures: int) -> None:
    if pictures != REQUESTS:
        raise RuntimeError(f"{pictures} pictures came, expected {REQUESTS}")
