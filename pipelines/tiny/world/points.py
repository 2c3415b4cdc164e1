"""Scan scenes: coloured points, spread evenly over the surface of a solid that stands upright.

The solids are those of the pictures' outlines, y up: the circle's sphere, the square's cube, the cone that the turning
triangle leaves, and the star as a prism.

Legend: B batch, N points, K corners of a polygon.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anygpt.media.values import PointCloud
from pipelines.tiny.world.images import outline_K2
from pipelines.tiny.world.scenes import COLOURS, Scene

NUM_POINTS = 1024
COLOUR_JITTER = 0.03
STAR_DEPTH = 0.5  # of the prism, where its outer radius is 1.15


def upright_outline_K2(shape: str) -> np.ndarray:
    """Corners (K, 2), x and y, of a polygonal shape of radius 1, y up."""
    return outline_K2(shape, 1.0) * np.array([1.0, -1.0])


def surface_N3(shape: str, num_points: int, rng: np.random.Generator) -> np.ndarray:
    """Points (N, 3), spread evenly over the surface of the solid of radius 1 around the origin."""
    if shape == "circle":
        directions_N3 = rng.normal(size=(num_points, 3))
        return directions_N3 / np.linalg.norm(directions_N3, axis=1, keepdims=True)
    if shape == "square":
        half_side = upright_outline_K2("square").max()
        points_N3 = rng.uniform(-half_side, half_side, size=(num_points, 3))
        points_N3[np.arange(num_points), rng.integers(3, size=num_points)] = half_side * rng.choice((-1, 1), num_points)
        return points_N3
    return _cone_N3(num_points, rng) if shape == "triangle" else _star_N3(num_points, rng)


def _cone_N3(num_points: int, rng: np.random.Generator) -> np.ndarray:
    (_, apex), (radius, base), _ = upright_outline_K2("triangle")
    slant = np.hypot(radius, apex - base)
    on_base_N = rng.random(num_points) < radius / (radius + slant)
    from_axis_N = np.sqrt(rng.random(num_points))  # area grows with the square of the distance, on either part
    height_N = np.where(on_base_N, base, apex - (apex - base) * from_axis_N)
    turn_N = rng.uniform(0.0, 2 * np.pi, num_points)
    radius_N = radius * from_axis_N
    return np.stack([radius_N * np.sin(turn_N), height_N, radius_N * np.cos(turn_N)], axis=1)


def _star_N3(num_points: int, rng: np.random.Generator) -> np.ndarray:
    corners_K2 = upright_outline_K2("star")
    starts_N = rng.integers(len(corners_K2), size=num_points)  # edges, and so their triangles, are all alike
    first_N2, second_N2 = corners_K2[starts_N], corners_K2[(starts_N + 1) % len(corners_K2)]
    (ax, ay), (bx, by) = corners_K2[:2]
    faces, rim = abs(ax * by - ay * bx), np.hypot(bx - ax, by - ay) * STAR_DEPTH  # areas of one edge's share
    on_face_N = rng.random(num_points) < faces / (faces + rim)
    along_N1 = rng.random((num_points, 1))
    outward_N1 = np.where(on_face_N[:, None], np.sqrt(rng.random((num_points, 1))), 1.0)
    outline_N2 = outward_N1 * (first_N2 + along_N1 * (second_N2 - first_N2))
    side_N = rng.choice((-1.0, 1.0), num_points)
    depth_N = STAR_DEPTH / 2 * np.where(on_face_N, side_N, rng.uniform(-1.0, 1.0, num_points))
    return np.column_stack([outline_N2, depth_N])


def render_array(scene: Scene, rng: np.random.Generator, num_points: int = NUM_POINTS) -> np.ndarray:
    """Points of the scene as (N, 6) float32, x y z r g b; `rng` picks the points, their turn and their shades."""
    xyz_N3 = surface_N3(scene.shape, num_points, rng)
    turn = rng.uniform(0.0, 2 * np.pi)
    turning_33 = np.array([[np.cos(turn), 0.0, np.sin(turn)], [0.0, 1.0, 0.0], [-np.sin(turn), 0.0, np.cos(turn)]])
    xyz_N3 = xyz_N3 @ turning_33.T
    xyz_N3 -= xyz_N3.mean(axis=0)
    xyz_N3 /= np.linalg.norm(xyz_N3, axis=1).max()
    rgb_N3 = np.array(COLOURS[scene.colour]) / 255 + rng.uniform(-COLOUR_JITTER, COLOUR_JITTER, size=(num_points, 3))
    return np.hstack([xyz_N3, rgb_N3]).astype(np.float32)


def render_batch(scenes: Sequence[Scene], rng: np.random.Generator, num_points: int = NUM_POINTS) -> np.ndarray:
    """Points of scenes as (B, N, 6) float32."""
    return np.stack([render_array(scene, rng, num_points) for scene in scenes])


def render_points(scene: Scene, seed: int = 0, num_points: int = NUM_POINTS) -> PointCloud:
    """A point cloud of the scene; the same scene, seed and number of points give the same cloud."""
    cloud_N6 = render_array(scene, np.random.default_rng(seed), num_points)
    return PointCloud(np.ascontiguousarray(cloud_N6[:, :3]), np.ascontiguousarray(cloud_N6[:, 3:]))
