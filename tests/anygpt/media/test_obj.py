"""OBJ files as programs write them; checked against trimesh."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
import trimesh

from anygpt.errors import MediaError
from anygpt.media import PointLimits, load_points
from anygpt.media.obj import read_obj
from tests.anygpt.media.test_points import mesh_file

VERTICES = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
FACES = "f 1 2 3\nf 1 3 4\n"
UNTIDY = {
    "tidy": VERTICES + FACES,
    "CRLF": (VERTICES + FACES).replace("\n", "\r\n"),
    "CR": (VERTICES + FACES).replace("\n", "\r"),
    "a byte order mark and blank lines": "\ufeff\n\n" + VERTICES + FACES,
    "comments": "# made by hand\n" + VERTICES.replace("\n", " # a corner\n") + FACES,
    "tabs": (VERTICES + FACES).replace(" ", "\t"),
    "blanks before and between": (VERTICES + FACES).replace("v ", "  v   ").replace("f ", " f  "),
    "corners counted back": VERTICES + "f -4 -3 -2\nf -4 -2 -1\n",
    "faces between vertices": "v 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\nv 0 1 0\nf -4 -2 -1\n",
    "places in a texture": VERTICES + "vt 0 0\nf 1/1 2/1 3/1\nf 1/1 3/1 4/1\n",
    "normals": VERTICES + "vn 0 0 1\nf 1//1 2//1 3//1\nf 1//1 3//1 4//1\n",
    "both": VERTICES + "vn 0 0 1\nvt 0 0\nf 1/1/1 2/1/1 3/1/1\nf 1/1/1 3/1/1 4/1/1\n",
    "a polygon": VERTICES + "f 1 2 3 4\n",
    "a line that goes on": VERTICES + "f 1 2 \\\n3 4\n",
    "weights": VERTICES.replace("\n", " 1.0\n") + FACES,
    "materials, groups and lines": "mtllib ../../a.mtl\no a\n" + VERTICES + "g b\nusemtl c\ns 1\n" + FACES + "l 1 2\n",
    "free-form surfaces": VERTICES + "vp 0.5\ncstype bezier\ndeg 3\n" + FACES,
}


@pytest.mark.parametrize("case", UNTIDY)
def test_read_obj_reads_an_untidy_file(case: str) -> None:
    mesh = read_obj(UNTIDY[case].encode().removeprefix(b"\xef\xbb\xbf"), "points", PointLimits())
    assert mesh.vertices_V3.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.faces_F3.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.vertex_rgb_V3 is None
    assert load_points(UNTIDY[case].encode(), num_points=50).xyz.shape == (50, 3)


RED = {"fractions": "1 0 0", "bytes": "255 0 0", "opacity": "1 0 0 1", "a weight before": "1.0 1 0 0"}


@pytest.mark.parametrize("case", RED)
def test_load_points_takes_the_colours_of_vertices(case: str) -> None:
    cloud = load_points(VERTICES.replace("\n", f" {RED[case]}\n").encode())
    assert cloud.rgb.tolist() == [[1, 0, 0]] * 4


def test_load_points_leaves_out_colours_that_only_some_vertices_have() -> None:
    cloud = load_points((VERTICES.replace("\n", " 1 0 0\n") + "v 5 5 5\n").encode())
    assert cloud.xyz.shape == (5, 3)
    assert cloud.rgb is None


def test_read_obj_agrees_with_trimesh() -> None:
    data = mesh_file(trimesh.creation.icosphere(subdivisions=2), "obj")
    expected = trimesh.load_mesh(io.BytesIO(data), file_type="obj", process=False, maintain_order=True)
    mesh = read_obj(data, "points", PointLimits())
    assert np.allclose(mesh.vertices_V3, expected.vertices)
    assert np.array_equal(mesh.faces_F3, expected.faces)


def test_load_points_takes_no_longer_for_each_face_where_there_are_many_groups() -> None:
    one = "v {0} 0 0\nv {0} 1 0\nv {0} 0 1\ng g{0}\nusemtl m{0}\nf -3 -2 -1\n"
    data = "".join(one.format(number) for number in range(8000)).encode()
    started = time.process_time()
    assert load_points(data).xyz.shape == (10_000, 3)
    assert time.process_time() - started < 5.0  # it took 11 s when time grew with the square


BROKEN = {
    "a corner that is not there": (VERTICES + "f 1 2 9\n", "faces that name vertices which are not there"),
    "a corner before the first": (VERTICES + "f -5 1 2\n", "faces that name vertices which are not there"),
    "corner 0": (VERTICES + "f 0 1 2\n", "faces that name vertices which are not there"),
    "a corner that is no number": (VERTICES + "f 1 2 x\n", "damaged, cut off"),
    "a vertex of two numbers": ("v 1 2\n", "damaged, cut off"),
    "no vertices": ("o nothing\nf 1 2 3\n", "no points in it"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_load_points_refuses_a_broken_obj(case: str) -> None:
    text, expected = BROKEN[case]
    with pytest.raises(MediaError, match=expected):
        load_points(text.encode())
