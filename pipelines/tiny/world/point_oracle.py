"""Read attributes back from point clouds by plain geometry, without learned weights.

A cloud is laid over the surface of each solid, turned about the vertical axis; the solid from which the points stray
least is the shape. The colour is the hue of the typical point.

Legend: N points, K corners of a polygon, A angles. y is up; lengths are in radii of a picture's circle.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from anygpt.media.values import PointCloud
from pipelines.tiny.world.images import distance_to_polygon
from pipelines.tiny.world.points import STAR_DEPTH, surface_N3, upright_outline_K2
from pipelines.tiny.world.readings import Reading, name_hue
from pipelines.tiny.world.scenes import SHAPES

MIN_POINTS = 64
MAX_POINTS = 512  # of a larger cloud, as many are looked at
MAX_MISFIT = 0.06  # rms distance of the points from the surface
MAX_FIRST_MISFIT = 0.2  # before shift and scale are fitted; what is worse is not worth a fit
MAX_MISFIT_RATIO = 0.6  # between the best solid and the next one
MAX_SHIFT = 0.15  # of the centre, and as much by which the size may be off
VALUE_RANGE = (0.4, 1.0)

# Shape → the turn after which it looks the same, and how many turns of it are tried.
_TURNS = {"circle": (0.0, 1), "square": (np.pi / 2, 6), "triangle": (0.0, 1), "star": (np.pi, 24)}


def read_points(points: PointCloud) -> Reading:
    """Read shape and colour from a cloud of any size and place that stands upright.

    Returns:
        The reading; None for what is not clear, as for the colour of points without one.
    """
    return Reading(shape=_name_shape(points.xyz), colour=None if points.rgb is None else _name_colour(points.rgb))


def _name_shape(xyz_N3: np.ndarray) -> str | None:
    """The solid whose surface fits well, and much better than any other's."""
    if len(xyz_N3) < MIN_POINTS:
        return None
    chosen = np.linspace(0, len(xyz_N3) - 1, min(len(xyz_N3), MAX_POINTS)).astype(int)
    centred_N3 = xyz_N3.astype(np.float64)
    centred_N3 -= centred_N3.mean(axis=0)
    size = math.sqrt((centred_N3**2).sum(axis=1).mean())
    if size == 0.0:
        return None
    misfits = {shape: _misfit(shape, centred_N3[chosen] / size) for shape in SHAPES}
    best, second = sorted(misfits, key=misfits.__getitem__)[:2]
    return best if misfits[best] <= min(MAX_MISFIT, MAX_MISFIT_RATIO * misfits[second]) else None


def _misfit(shape: str, unit_N3: np.ndarray) -> float:
    """Rms distance of centred points of rms radius 1 from a solid's surface, turned, shifted and scaled to fit."""
    from scipy import optimize  # slow to import, and needed here alone

    middle_y, size = _frame(shape)

    def distances_N(fit_5: np.ndarray) -> np.ndarray:
        turn, scale, shift_3 = fit_5[0], 1.0 + fit_5[1], fit_5[2:]
        x, y, z = (unit_N3 * size * scale + shift_3).T
        turned_x, turned_z = x * np.cos(turn) - z * np.sin(turn), x * np.sin(turn) + z * np.cos(turn)
        return distance_to_surface(shape, np.stack([turned_x, y + middle_y, turned_z], axis=1))

    def misfit(fit_5: np.ndarray) -> float:
        return math.sqrt(float((distances_N(fit_5) ** 2).mean()))

    period, tries = _TURNS[shape]
    starts = np.zeros((tries, 5))
    starts[:, 0] = np.arange(tries) * period / tries
    start_5 = min(starts, key=misfit)
    if misfit(start_5) > MAX_FIRST_MISFIT:
        return misfit(start_5)
    reach_5 = np.array([period / tries or 1e-6, *[MAX_SHIFT] * 4])
    fitted = optimize.least_squares(distances_N, start_5, bounds=(start_5 - reach_5, start_5 + reach_5), max_nfev=8)
    return misfit(fitted.x)


@functools.cache
def _frame(shape: str) -> tuple[float, float]:
    """Height of the middle of a solid's surface, and the rms distance of the surface from there."""
    surface_points_N3 = surface_N3(shape, 50_000, np.random.default_rng(0))
    middle_y = float(surface_points_N3[:, 1].mean())
    squares_N = ((surface_points_N3 - np.array([0.0, middle_y, 0.0])) ** 2).sum(axis=1)
    return middle_y, math.sqrt(float(squares_N.mean()))


def distance_to_surface(shape: str, xyz_N3: np.ndarray) -> np.ndarray:
    """Distance (N,) from points to the surface of the solid of radius 1 around the origin, negative inside."""
    x_N, y_N, z_N = xyz_N3.T
    if shape == "circle":
        return np.linalg.norm(xyz_N3, axis=1) - 1.0
    if shape == "triangle":
        return distance_to_polygon(upright_outline_K2(shape), np.hypot(x_N, z_N), y_N)
    if shape == "square":
        beyond = np.abs(xyz_N3) - upright_outline_K2(shape).max()
    else:
        across_N = distance_to_polygon(upright_outline_K2(shape), x_N, y_N)
        beyond = np.stack([across_N, np.abs(z_N) - STAR_DEPTH / 2], axis=1)
    return np.linalg.norm(np.maximum(beyond, 0.0), axis=1) + np.minimum(beyond.max(axis=1), 0.0)


def _name_colour(rgb_N3: np.ndarray) -> str | None:
    """The colour of the typical point's hue; None if that is dark."""
    typical_3 = np.median(rgb_N3, axis=0)
    return name_hue(typical_3) if VALUE_RANGE[0] <= float(typical_3.max()) <= VALUE_RANGE[1] else None
