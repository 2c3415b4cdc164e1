"""Point clouds → a fixed number of normalised points; no weights are read.

Legend: B batch, N points, C channels (xyz, then colours).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from anygpt.errors import MediaError
from anygpt.media.values import PointCloud

_GREY = 0.4  # of points without a colour, as in ULIP-2's training


class PointPreprocessor:
    """A callable, picklable sampler and normaliser.

    Args:
        num_points: N.
        channels: 3 for xyz, 6 for xyz and colours.
        seed: decides which points of a larger cloud are taken, for each cloud alike.
        who: begins error messages: "points encoder 'ulip2'".
    """

    def __init__(self, *, num_points: int, channels: int, seed: int, who: str) -> None:
        self._num_points = num_points
        self._channels = channels
        self._seed = seed
        self._who = who

    def __call__(self, clouds: list[Any]) -> dict[str, Tensor]:
        """Take N points of each cloud, move their centroid to the origin and scale the farthest to a norm of 1.

        Args:
            clouds: at least one `PointCloud` of any size. Of a larger one a uniform sample is taken; the points of a
                smaller one are repeated.
        Returns:
            `points` (B, N, C) float32 on the CPU.
        Raises:
            MediaError: if there is no cloud, or a value is not a `PointCloud`.
        """
        if not clouds:
            raise MediaError(f"{self._who}: no point cloud given, expected at least one")
        for index, cloud in enumerate(clouds):
            if not isinstance(cloud, PointCloud):
                raise MediaError(
                    f"{self._who}: point cloud {index} is a {type(cloud).__name__}, expected a PointCloud; "
                    "make one with PointCloud(xyz, rgb)"
                )
        return {"points": torch.from_numpy(np.stack([self._points(cloud) for cloud in clouds]))}

    def _points(self, cloud: PointCloud) -> np.ndarray:
        total = len(cloud.xyz)
        taken = np.arange(total)
        if total > self._num_points:
            chosen = np.random.default_rng(self._seed).choice(total, self._num_points, replace=False, shuffle=False)
            taken = np.sort(chosen)
        channels = [normalise(cloud.xyz[taken])]
        if self._channels > channels[0].shape[1]:
            colours = np.full_like(channels[0], _GREY) if cloud.rgb is None else cloud.rgb[taken]
            channels.append(colours)
        repeated = np.arange(self._num_points) % len(taken)
        return np.concatenate(channels, axis=1)[repeated]


def normalise(xyz_N3: np.ndarray) -> np.ndarray:
    """Centroid to the origin, largest norm to 1; points that are all at one place go to the origin.

    Args:
        xyz_N3: (N, 3) float32, N at least 1.
    Returns:
        (N, 3) float32.
    """
    centred_N3 = xyz_N3.astype(np.float64)  # coordinates near float32's limits must not overflow
    centred_N3 -= centred_N3.mean(axis=0)
    largest = float(np.sqrt(np.square(centred_N3).sum(axis=1).max()))
    return (centred_N3 / largest if largest > 0.0 else centred_N3).astype(np.float32)
