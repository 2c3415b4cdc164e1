"""What asking for a medium costs the language model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.figure import Figure
from benchmarks.setup import Setup
from benchmarks.timing import medians_in_turns

CACHED_TOKENS = 128
STEPS_A_ROUND = 10  # one step is too short to be timed well


def measure(setup: Setup) -> list[Figure]:
    """One pass over a whole signal group against a pass over one token, behind equally many cached tokens."""
    backbone = setup.stack.backbone.backbone
    group = backbone.signal_tokens.group("image")
    steps = {"token": (1,), "group": group.ids}
    with torch.inference_mode():
        cache = _cache(backbone)
        works = {name: partial(_steps, backbone, cache, ids) for name, ids in steps.items()}
        taken = medians_in_turns(works, 4 * setup.repeats)
    return [
        Figure(
            "single-token step",
            1000 * taken["token"] / STEPS_A_ROUND,
            "ms",
            f"Backbone.embed and step for one text token behind {CACHED_TOKENS} cached ones, batch 1, median",
        ),
        Figure(
            "signal block",
            taken["group"] / taken["token"],
            "steps",
            f"the same for a signal group of {group.size} tokens in one pass, in single-token steps, measured in turns",
            at_most=1.5,
        ),
    ]


def _cache(backbone: Any) -> Any:
    from transformers import DynamicCache

    cache = DynamicCache(config=backbone.language_model.config)
    ids_1T = torch.ones(1, CACHED_TOKENS, dtype=torch.long)
    positions_1T = torch.arange(CACHED_TOKENS, device=backbone.device)[None]
    backbone.step(backbone.embed(ids_1T), None, positions_1T, cache, keep=1)
    return cache


def _steps(backbone: Any, cache: Any, ids: Sequence[int]) -> None:
    """Feed the ids as decoding does, and forget them again."""
    count = len(ids)
    positions_1K = torch.arange(CACHED_TOKENS, CACHED_TOKENS + count, device=backbone.device)[None]
    for _ in range(STEPS_A_ROUND):
        output = backbone.step(backbone.embed(torch.tensor([list(ids)])), None, positions_1K, cache, keep=count)
        output.logits[0, -1].argmax().item()  # waits for the device, as decoding does
        cache.crop(-count)
