"""Sample many items: grouped by what they share, filled up, each from noise of its own seed.

Legend: B batch; other axes are the latents' own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from generators.contract import OnStep, ShouldStop
from generators.progress import StepCounter


@dataclass(frozen=True)
class Batch:
    """Items that are sampled together.

    Attributes:
        key: what they share (a generator's `compatibility_key`).
        items: their places in the call, `count` of them first; the rest repeats the last one, to fill the batch.
        count: how many of `items` are asked for.
    """

    key: Any
    items: list[int]
    count: int


def group_compatible(keys: Sequence[Hashable], max_batch_size: int, *, pad: bool = False) -> list[Batch]:
    """Batches of items with equal keys, in order of first appearance.

    Args:
        keys: one for every item.
        max_batch_size: most items in a batch.
        pad: fill every batch to `max_batch_size` by repeating its last item. All batches then run the same kernels, so
            that an item comes out bit for bit the same whoever its neighbours are.
    """
    groups: dict[Hashable, list[int]] = {}
    for item, key in enumerate(keys):
        groups.setdefault(key, []).append(item)
    batches = []
    for key, members in groups.items():
        for start in range(0, len(members), max_batch_size):
            items = members[start : start + max_batch_size]
            filling = [items[-1]] * (max_batch_size - len(items)) if pad else []
            batches.append(Batch(key, items + filling, len(items)))
    return batches


def run_batches(
    batches: Sequence[Batch],
    steps: Callable[[Any], int],
    sample: Callable[[Batch, StepCounter], list[Any]],
    on_step: OnStep | None,
    should_stop: ShouldStop | None,
) -> list[Any]:
    """Sample all batches of one call, count their steps together and put the media in the call's order.

    Args:
        batches: what to sample.
        steps: how many steps a batch of a key reports.
        sample: the first `count` media of a batch, in its order.
        on_step, should_stop: as in `Generator.generate`.
    Raises:
        CancelledError: if `should_stop` said so.
    """
    counter = StepCounter(sum(steps(batch.key) for batch in batches), on_step, should_stop)
    media: dict[int, Any] = {}
    for batch in batches:
        counter.check()
        media.update(zip(batch.items[: batch.count], sample(batch, counter), strict=True))
    return [media[item] for item in range(len(media))]


def seeded_noise(shape: Sequence[int], seeds: Sequence[int]) -> tuple[Tensor, list[torch.Generator]]:
    """Noise (B, *shape) whose every item comes from its own seed, and the generators to draw on from."""
    randoms = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.randn(*shape, generator=random) for random in randoms]), randoms
