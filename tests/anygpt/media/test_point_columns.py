"""Where points lie that 32-bit floats cannot hold where they are, and where they stay.

Legend: N points.
"""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from anygpt.media import load_points
from tests.anygpt.media.test_ply import MAP_PLACE_3, lines
from tests.anygpt.media.test_points import mesh_file, numpy_file

NEAR_N3 = np.random.default_rng(0).normal(size=(500, 3))
FAR_N3 = NEAR_N3 + MAP_PLACE_3
FAR = {
    "an array": FAR_N3,
    "NPY": numpy_file(np.save, FAR_N3),
    "NPZ": numpy_file(np.savez, FAR_N3),
    "NPZ with colours": numpy_file(np.savez, xyz=FAR_N3, rgb=np.ones((500, 3))),
    "whole numbers": np.rint(1000 * FAR_N3).astype(np.int64),
    "whole numbers of 32 bits": np.rint(100 * FAR_N3).astype(np.int32),
    "text": lines(FAR_N3).encode(),
    "OBJ": b"v " + lines(FAR_N3).encode().replace(b"\n", b"\nv ", 499),
    "GLB": mesh_file(trimesh.Scene(trimesh.PointCloud(NEAR_N3)), "glb"),
}


@pytest.mark.parametrize("case", FAR)
def test_load_points_keeps_the_shape_of_points_in_map_coordinates(case: str) -> None:
    cloud = load_points(FAR[case])
    scale = np.ptp(cloud.xyz[:, 0]) / np.ptp(NEAR_N3[:, 0])  # of the units
    centred_N3 = (cloud.xyz - cloud.xyz.mean(axis=0)) / scale
    assert np.allclose(centred_N3, NEAR_N3 - NEAR_N3.mean(axis=0), atol=0.01)
    assert (cloud.rgb is not None) == (case == "NPZ with colours")


def test_load_points_keeps_the_shape_of_a_part_that_a_scene_places_far_away() -> None:
    scene = trimesh.Scene(trimesh.creation.box())
    scene.apply_translation(MAP_PLACE_3)
    cloud = load_points(mesh_file(scene, "glb"))
    distances_N3 = np.abs(np.abs(cloud.xyz - (cloud.xyz.min(axis=0) + cloud.xyz.max(axis=0)) / 2) - 0.5)
    assert distances_N3.min(axis=1).max() < 1e-5


STAYS = {
    "small coordinates": NEAR_N3,
    "coordinates 100 times as large as the cloud": NEAR_N3 + 100.0,
    "one point": FAR_N3[:1],
    "the same point many times": np.repeat(FAR_N3[:1], 5, axis=0),
    "floats of 32 bits": FAR_N3.astype(np.float32),
    "whole numbers that 32-bit floats hold": np.array([[5_412_000, 0, 0], [5_412_003, 1, 2]]),
}


@pytest.mark.parametrize("case", STAYS)
def test_load_points_leaves_points_where_they_are_if_nothing_is_lost(case: str) -> None:
    assert np.array_equal(load_points(STAYS[case]).xyz, STAYS[case].astype(np.float32))


@pytest.mark.parametrize("columns", [4, 5, 8, 10])
def test_load_points_refuses_arrays_of_columns_that_say_nothing(columns: int) -> None:
    with pytest.raises(ValueError, match=rf"shape \(3, {columns}\) given, expected numbers of shape \(N, 3\) or"):
        load_points(np.zeros((3, columns)))


def test_load_points_tells_normals_from_colours_in_arrays() -> None:
    normals_N3 = NEAR_N3 / np.linalg.norm(NEAR_N3, axis=1, keepdims=True)
    colours_N3 = np.random.default_rng(1).integers(0, 256, (500, 3))
    assert load_points(np.hstack([NEAR_N3, normals_N3])).rgb is None
    for rows_N9 in (np.hstack([NEAR_N3, normals_N3, colours_N3]), np.hstack([NEAR_N3, colours_N3, normals_N3])):
        assert np.allclose(load_points(rows_N9).rgb, colours_N3 / 255, atol=1e-6)
