"""What choosing the centres of a point cloud's groups costs before ULIP-2 sees them."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.figure import Figure
from benchmarks.setup import Setup
from benchmarks.timing import medians_in_turns
from encoders.ulip2.point_groups import farthest_points, gather_points, nearest_points

POINTS, GROUPS, GROUP_SIZE = 10_000, 512, 32
BATCH = 8


def measure(setup: Setup) -> list[Figure]:
    """Farthest point sampling and neighbours at ULIP-2's released sizes, on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        taken = _measure_alone(setup.repeats)
    finally:
        torch.set_num_threads(threads)
    what = f"{POINTS} random points in a ball to {GROUPS} centres on one CPU core"
    return [
        Figure("farthest points", taken["one"], "s", f"farthest_points, {what}, median", at_most=0.5),
        Figure("farthest points, batch", taken["batch"] / BATCH, "s", f"the same, {BATCH} clouds at once, per cloud"),
        Figure(
            "nearest points", taken["nearest"], "s", f"nearest_points: {GROUP_SIZE} for each of the centres, median"
        ),
    ]


def _measure_alone(repeats: int) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    directions_BN3 = torch.nn.functional.normalize(torch.randn(BATCH, POINTS, 3, generator=generator), dim=2)
    xyz_BN3 = directions_BN3 * torch.rand(BATCH, POINTS, 1, generator=generator)
    with torch.inference_mode():
        centres_1G3 = gather_points(xyz_BN3[:1], farthest_points(xyz_BN3[:1], GROUPS))
        works = {
            "one": partial(farthest_points, xyz_BN3[:1], GROUPS),
            "batch": partial(farthest_points, xyz_BN3, GROUPS),
            "nearest": partial(nearest_points, xyz_BN3[:1], centres_1G3, GROUP_SIZE),
        }
        return medians_in_turns(works, repeats)
