"""OFF files of every kin, with untidy headers; checked against trimesh."""

from __future__ import annotations

import io

import numpy as np
import pytest
import trimesh

from anygpt.errors import MediaError
from anygpt.media import PointLimits, load_points
from anygpt.media.off import read_off
from tests.anygpt.media.test_ply import MAP_PLACE_3, lines
from tests.anygpt.media.test_points import mesh_file

VERTICES = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (102, 102, 102)]
ROWS = "".join("{} {} {}\n".format(*vertex) for vertex in VERTICES)
COLOURED = "".join("{} {} {} {} {} {} 255\n".format(*v, *c) for v, c in zip(VERTICES, COLOURS, strict=True))
FRACTIONS = "".join(
    "{} {} {} {:.6f} {:.6f} {:.6f} 1\n".format(*v, *np.array(c) / 255) for v, c in zip(VERTICES, COLOURS, strict=True)
)
WITH_NORMALS = "".join("{} {} {} 0 0 1\n".format(*vertex) for vertex in VERTICES)
FACES = "3 0 1 2\n3 0 2 3\n"

UNTIDY = {
    "tidy": f"OFF\n4 2 0\n{ROWS}{FACES}",
    "counts that follow the word without a blank": f"OFF4 2 0\n{ROWS}{FACES}",
    "small letters": f"off\n4 2 0\n{ROWS}{FACES}",
    "counts on the line of the word": f"OFF 4 2 0\n{ROWS}{FACES}",
    "counts without edges": f"OFF\n4 2\n{ROWS}{FACES}",
    "comments": f"# made by hand\nOFF # so\n# and so\n4 2 0 # counts\n{ROWS}# faces\n{FACES}",
    "blank lines": f"\n\nOFF\n\n4 2 0\n\n{ROWS}\n{FACES}\n\n",
    "CRLF": f"OFF\n4 2 0\n{ROWS}{FACES}".replace("\n", "\r\n"),
    "CR": f"OFF\n4 2 0\n{ROWS}{FACES}".replace("\n", "\r"),
    "a byte order mark": f"\ufeffOFF4 2 0\n{ROWS}{FACES}",
    "lines behind the end": f"OFF\n4 2 0\n{ROWS}{FACES}made by hand\n",
    "normals": f"NOFF\n4 2 0\n{WITH_NORMALS}{FACES}",
    "normals without a blank": f"NOFF4 2 0\n{WITH_NORMALS}{FACES}",
    "places in a texture": f"STOFF\n4 2 0\n{ROWS.replace(chr(10), ' 0.5 0.5' + chr(10))}{FACES}",
    "weights": f"4OFF\n4 2 0\n{''.join(f'{2 * x} {2 * y} {2 * z} 2{chr(10)}' for x, y, z in VERTICES)}{FACES}",
    "a polygon": f"OFF\n4 1 0\n{ROWS}4 0 1 2 3\n",
    "a number of a colour": f"OFF\n4 2 0\n{ROWS}3 0 1 2 7\n3 0 2 3 7\n",
    "rows of different lengths": f"OFF\n4 2 0\n{ROWS.replace('1 1 0', '1 1 0 9 9 9')}{FACES}",
}


@pytest.mark.parametrize("case", UNTIDY)
def test_read_off_reads_an_untidy_file(case: str) -> None:
    data = UNTIDY[case].encode()
    mesh = read_off(data.removeprefix(b"\xef\xbb\xbf"), "points", PointLimits())
    assert np.array_equal(mesh.vertices_V3, VERTICES)
    assert mesh.faces_F3.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.vertex_rgb_V3 is None
    assert mesh.face_rgb_F3 is None
    cloud = load_points(data, num_points=50)
    assert (cloud.xyz.shape, cloud.rgb) == ((50, 3), None)


@pytest.mark.parametrize(
    "text", [f"COFF\n4 0 0\n{COLOURED}", f"COFF4 0 0\n{FRACTIONS}", f"OFF\n4 0 0\n{COLOURED}", f"OFF4 0\n{FRACTIONS}"]
)
def test_load_points_takes_the_colours_of_vertices(text: str) -> None:
    cloud = load_points(text.encode())
    assert np.array_equal(cloud.xyz, VERTICES)
    assert np.allclose(cloud.rgb, np.array(COLOURS) / 255, atol=1e-5)


def test_load_points_takes_the_colours_behind_normals() -> None:
    rows = "".join("{} {} {} 0 0 1 {} {} {} 255\n".format(*v, *c) for v, c in zip(VERTICES, COLOURS, strict=True))
    assert np.allclose(load_points(f"CNOFF\n4 0 0\n{rows}".encode()).rgb, np.array(COLOURS) / 255)


@pytest.mark.parametrize("colours", ["255 0 0\n", "255 0 0 255\n", "1.0 0.0 0.0 0.5\n"])
def test_load_points_takes_the_colours_of_faces(colours: str) -> None:
    cloud = load_points(f"OFF\n4 2 0\n{ROWS}{FACES.replace(chr(10), ' ' + colours)}".encode(), num_points=50)
    assert np.array_equal(cloud.rgb, np.tile([1, 0, 0], (50, 1)))


def test_read_off_agrees_with_trimesh() -> None:
    data = mesh_file(trimesh.creation.icosphere(subdivisions=2), "off")
    expected = trimesh.load_mesh(io.BytesIO(data), file_type="off", process=False)
    mesh = read_off(data, "points", PointLimits())
    assert np.array_equal(mesh.vertices_V3, expected.vertices)
    assert np.array_equal(mesh.faces_F3, expected.faces)


def test_load_points_keeps_the_shape_of_a_mesh_in_map_coordinates() -> None:
    cloud = load_points(f"OFF4 2 0\n{lines(np.array(VERTICES) + MAP_PLACE_3)}{FACES}".encode(), num_points=2000)
    assert np.ptp(cloud.xyz, axis=0) == pytest.approx([1, 1, 0], abs=0.02)
    assert len(np.unique(cloud.xyz[:, 1])) > 1900
    assert np.abs(cloud.xyz).max() <= 0.5


BROKEN = {
    "no counts": ("OFF\nmany\n", "an OFF header without counts given, expected vertices and faces"),
    "one count": ("OFF8\n0 0 0\n", "an OFF header without counts given"),
    "two million vertices too many": (
        "OFF\n7000000 1 0\n0 0 0\n",
        "7,000,000 rows of 'vertices' given, expected at most",
    ),
    "vertices that are cut off": (f"OFF\n4 2 0\n{ROWS[:12]}", "its header promises 6 rows where there is room for"),
    "a face that is cut off": (f"OFF\n4 2 0\n{ROWS}3 0 1 2\n3 0\n", "damaged, cut off"),
    "a corner that is no number": (f"OFF\n4 2 0\n{ROWS}3 0 1 2\n3 0 1 x\n", "damaged, cut off"),
    "a corner that is not there": (f"OFF\n4 2 0\n{ROWS}3 0 1 2\n3 0 1 9\n", "faces that name vertices which are not"),
    "bytes instead of text": ("OFF BINARY\n4 2 0\n", "an OFF of b'OFF BINARY' given, expected text of 3 dimensions"),
    "more dimensions": ("nOFF\n5\n4 2 0\n", "an OFF of b'nOFF' given, expected text of 3 dimensions"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_load_points_refuses_a_broken_off(case: str) -> None:
    text, expected = BROKEN[case]
    with pytest.raises(MediaError) as raised:
        load_points(text.encode())
    assert expected in str(raised.value)
    assert str(raised.value).isprintable()
