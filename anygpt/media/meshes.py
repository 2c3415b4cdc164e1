"""Surfaces become points: sampled uniformly by area, with the colours of their faces, corners or texture.

Legend: V vertices, F faces, P sampled points, R polygons, K corners, H/W texture.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from anygpt.errors import MediaError
from anygpt.media.point_columns import cloud_of
from anygpt.media.point_limits import PointLimits, check_at_most, check_count
from anygpt.media.values import PointCloud

NO_FACES = np.zeros((0, 3), np.int64)


@dataclass
class Mesh:
    """One placed surface, or a cloud if it has no faces.

    Attributes:
        vertices_V3: float.
        faces_F3: whole numbers, the vertices of each triangle.
        vertex_rgb_V3, face_rgb_F3: in 0..1, or None.
        texture_HW3: uint8, with `uv_V2`: the place of each vertex in it, (0, 0) at the lower left; or None.
        base_rgb_3: in 0..1, where nothing else gives a colour; or None.
    """

    vertices_V3: np.ndarray
    faces_F3: np.ndarray
    vertex_rgb_V3: np.ndarray | None = None
    face_rgb_F3: np.ndarray | None = None
    texture_HW3: np.ndarray | None = None
    uv_V2: np.ndarray | None = None
    base_rgb_3: np.ndarray | None = None

    def areas_F(self) -> np.ndarray:
        """The area of each face; without a size where a coordinate is no number."""
        vertices_V3 = self.vertices_V3.astype(np.float64, copy=False)
        corner_F3, second_F3, third_F3 = (vertices_V3[self.faces_F3[:, corner]] for corner in range(3))
        return np.linalg.norm(np.cross(second_F3 - corner_F3, third_F3 - corner_F3), axis=1) / 2

    def sample(self, areas_F: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """`count` points (P, 3), uniform by area, and their colours (P, 3) or None.

        Source: Osada et al., "Shape Distributions" (2002), section 4.2.
        """
        ends_F = np.cumsum(areas_F)
        chosen_P = np.searchsorted(ends_F, rng.random(count) * ends_F[-1], side="right").clip(max=len(ends_F) - 1)
        root_P, along_P = np.sqrt(rng.random(count)), rng.random(count)
        weights_P3 = np.stack([1 - root_P, root_P * (1 - along_P), root_P * along_P], axis=1)

        def between(values_VC: np.ndarray) -> np.ndarray:
            return np.einsum("pk,pkc->pc", weights_P3, values_VC[self.faces_F3[chosen_P]])

        points_P3 = between(self.vertices_V3)
        if self.vertex_rgb_V3 is not None:
            return points_P3, between(self.vertex_rgb_V3)
        if self.face_rgb_F3 is not None:
            return points_P3, self.face_rgb_F3[chosen_P]
        if self.texture_HW3 is not None and self.uv_V2 is not None:
            return points_P3, _texture_rgb(self.texture_HW3, between(self.uv_V2))
        return points_P3, None if self.base_rgb_3 is None else np.tile(self.base_rgb_3, (count, 1))


class Polygons:
    """Polygons of any number of corners, collected one after the other to become triangles."""

    def __init__(self) -> None:
        self._corners: dict[int, array[int]] = {}
        self._origins: dict[int, array[int]] = {}
        self._count = 0

    def add(self, corners: Sequence[int]) -> None:
        """Take in the next one."""
        self._corners.setdefault(len(corners), array("q")).extend(corners)
        self._origins.setdefault(len(corners), array("q")).append(self._count)
        self._count += 1

    def triangles(self) -> tuple[np.ndarray, np.ndarray]:
        """All as triangles (F, 3), and the number of the polygon that each came from (F,)."""
        groups = [
            (np.frombuffer(corners, np.int64).reshape(-1, size), np.frombuffer(self._origins[size], np.int64))
            for size, corners in self._corners.items()
            if size >= 3
        ]
        return triangles_of(groups)


def triangles_of(groups: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Groups of polygons with equally many corners (R, K) and their numbers (R,) as triangles that share a corner.

    Returns:
        Triangles (F, 3), and the number of the polygon that each came from (F,).
    """
    triangles, origins = [NO_FACES], [NO_FACES[:, 0]]
    for polygons_RK, numbers_R in groups:
        more = polygons_RK.shape[1] - 2
        if more >= 1:
            first_RT = np.repeat(polygons_RK[:, :1], more, axis=1)
            triangles.append(np.stack([first_RT, polygons_RK[:, 1:-1], polygons_RK[:, 2:]], axis=-1).reshape(-1, 3))
            origins.append(np.repeat(numbers_R, more))
    return np.concatenate(triangles), np.concatenate(origins)


def cloud_of_meshes(
    meshes: list[Mesh], name: str, limits: PointLimits, num_points: int, rng: np.random.Generator
) -> PointCloud:
    """Points on all surfaces, exactly `num_points`; of clouds and surfaces without area their vertices, all of them.

    Parts without colours are white among others that have some.
    """
    check_count(sum(len(mesh.vertices_V3) for mesh in meshes), name, limits)
    surfaces = [mesh for mesh in meshes if len(mesh.faces_F3)]
    for mesh in surfaces:
        _check_surface(mesh, name, limits)
    areas = [mesh.areas_F() for mesh in surfaces]
    totals = np.array([areas_F.sum() for areas_F in areas])
    if totals.sum() > 0.0:
        counts = rng.multinomial(num_points, totals / totals.sum())
        chosen = zip(surfaces, areas, counts, strict=True)
        parts = [mesh.sample(areas_F, count, rng) for mesh, areas_F, count in chosen if count]
    else:
        parts = [(mesh.vertices_V3, mesh.vertex_rgb_V3) for mesh in meshes]
    rgb_N3 = None
    if any(rgb is not None for _, rgb in parts):
        rgb_N3 = np.concatenate([np.ones(xyz.shape, np.float32) if rgb is None else rgb for xyz, rgb in parts])
        rgb_N3 = np.clip(rgb_N3, 0.0, 1.0)
    return cloud_of(np.concatenate([xyz for xyz, _ in parts]), rgb_N3, name)


def _check_surface(mesh: Mesh, name: str, limits: PointLimits) -> None:
    """Refuse faces that are too many or name no vertex, and coordinates without a size."""
    check_at_most(len(mesh.faces_F3), name, limits, "faces")
    if mesh.faces_F3.min() < 0 or mesh.faces_F3.max() >= len(mesh.vertices_V3):
        raise MediaError(f"{name}: faces that name vertices which are not there given, expected a whole mesh")
    cloud_of(mesh.vertices_V3, None, name)


def _texture_rgb(texture_HW3: np.ndarray, uv_P2: np.ndarray) -> np.ndarray:
    """(P, 3) in 0..1: the nearest pixel, the texture being repeated beyond its edges."""
    height_px, width_px = texture_HW3.shape[:2]
    uv_P2 = np.nan_to_num(uv_P2) % 1.0
    row_P = ((1.0 - uv_P2[:, 1]) * height_px).astype(int).clip(max=height_px - 1)
    column_P = (uv_P2[:, 0] * width_px).astype(int).clip(max=width_px - 1)
    return texture_HW3[row_P, column_P] / 255.0
