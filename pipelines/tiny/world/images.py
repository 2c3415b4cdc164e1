"""Draw scenes as pictures: 64×64 RGB, antialiased, one shape on a light grey ground.

Legend: B batch, H height, W width, K corners of a polygon. Lengths are in pixels, y grows downwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from pipelines.tiny.world.scenes import COLOURS, POSITIONS, Scene

SIZE_PX = 64
RADIUS_PX = {"small": 8.0, "large": 15.0}
CENTRES_PX = (18.0, 32.0, 46.0)
JITTER_PX = 1.0
BACKGROUND_RANGE = (215, 255)


def centre_px(position: str) -> tuple[float, float]:
    """(x, y) of a named position, without jitter."""
    row, column = divmod(POSITIONS.index(position), 3)
    return CENTRES_PX[column], CENTRES_PX[row]


def outline_K2(shape: str, radius_px: float) -> np.ndarray:
    """Corners (K, 2) of a polygonal shape around the origin; a circle has none: see `signed_distance_HW`."""
    if shape == "square":
        half_side = 0.9 * radius_px
        return half_side * np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
    if shape == "triangle":
        angles, radii = np.arange(3) * 2 * np.pi / 3, np.full(3, 1.15 * radius_px)
    elif shape == "star":
        angles, radii = np.arange(10) * np.pi / 5, np.where(np.arange(10) % 2 == 0, 1.15, 0.5) * radius_px
    else:
        raise ValueError(f"no outline for shape {shape!r}")
    return np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=-1)


def signed_distance_HW(shape: str, radius_px: float, centre: tuple[float, float], size_px: int) -> np.ndarray:
    """Distance (H, W) from each pixel's middle to the shape's edge, negative inside."""
    axis = np.arange(size_px) + 0.5
    x_HW, y_HW = np.meshgrid(axis - centre[0], axis - centre[1])
    if shape == "circle":
        return np.hypot(x_HW, y_HW) - radius_px
    return distance_to_polygon(outline_K2(shape, radius_px), x_HW, y_HW)


def distance_to_polygon(corners_K2: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance from points (x, y), arrays of one shape, to the edge of a polygon, negative inside."""
    distance = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners_K2, np.roll(corners_K2, -1, axis=0), strict=True):
        edge_x, edge_y = bx - ax, by - ay
        along = np.clip(((x - ax) * edge_x + (y - ay) * edge_y) / (edge_x**2 + edge_y**2), 0.0, 1.0)
        distance = np.minimum(distance, np.hypot(x - ax - along * edge_x, y - ay - along * edge_y))
        if edge_y:
            inside ^= ((ay > y) != (by > y)) & (x < ax + edge_x * (y - ay) / edge_y)
    return np.where(inside, -distance, distance)


def draw(
    shape: str, colour: str, radius_px: float, centre: tuple[float, float], background: int, size_px: int = SIZE_PX
) -> np.ndarray:
    """One picture (H, W, 3) uint8 of a shape at an exact place on an even grey ground."""
    coverage_HW1 = np.clip(0.5 - signed_distance_HW(shape, radius_px, centre, size_px), 0.0, 1.0)[..., None]
    pixels = coverage_HW1 * np.array(COLOURS[colour]) + (1.0 - coverage_HW1) * background
    return np.rint(pixels).astype(np.uint8)


def render_array(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """A picture of the scene as (64, 64, 3) uint8; `rng` picks the jitter and the background."""
    x, y = centre_px(scene.value("position"))
    jitter_x, jitter_y = rng.uniform(-JITTER_PX, JITTER_PX, size=2)
    background = int(rng.integers(BACKGROUND_RANGE[0], BACKGROUND_RANGE[1] + 1))
    return draw(scene.shape, scene.colour, RADIUS_PX[scene.value("size")], (x + jitter_x, y + jitter_y), background)


def render_batch(scenes: Sequence[Scene], rng: np.random.Generator) -> np.ndarray:
    """Pictures of scenes as (B, 64, 64, 3) uint8."""
    return np.stack([render_array(scene, rng) for scene in scenes])


def render_image(scene: Scene, seed: int = 0) -> Image.Image:
    """A picture of the scene; the same scene and seed give the same pixels."""
    return Image.fromarray(render_array(scene, np.random.default_rng(seed)))
