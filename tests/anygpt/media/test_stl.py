"""STL files in binary and text, also a binary one that begins like a text; checked against trimesh.

Legend: F faces.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest
import trimesh

from anygpt.errors import MediaError
from anygpt.media import PointLimits, load_points
from anygpt.media.stl import read_stl
from tests.anygpt.media.test_points import mesh_file

SPHERE = trimesh.creation.icosphere(subdivisions=1)
BINARY, TEXT = mesh_file(SPHERE, "stl"), mesh_file(SPHERE, "stl_ascii")
UNTIDY = {
    "binary": BINARY,
    "text": TEXT,
    "binary that begins with the word solid": b"solid exported by a printer".ljust(80) + BINARY[80:],
    "binary of solid, with bytes behind the end": b"solid x".ljust(80, b"\0") + BINARY[80:] + b"junk",
    "text with CRLF": TEXT.replace(b"\n", b"\r\n"),
    "text in capitals": TEXT.upper(),
    "text behind a byte order mark and a blank line": b"\xef\xbb\xbf\n" + TEXT,
    "text with a long name": TEXT.replace(b"solid", b"solid " + b"a name " * 20, 1),
}


@pytest.mark.parametrize("case", UNTIDY)
def test_load_points_samples_an_stl_on_its_surface(case: str) -> None:
    read = read_stl(UNTIDY[case].removeprefix(b"\xef\xbb\xbf"), "points", PointLimits())
    assert np.allclose(read.vertices_V3[read.faces_F3], SPHERE.triangles, atol=1e-6)
    cloud = load_points(UNTIDY[case], num_points=500)
    _, distances, _ = trimesh.proximity.closest_point_naive(SPHERE, cloud.xyz)
    assert cloud.xyz.shape == (500, 3)
    assert distances.max() < 1e-5


BROKEN = {
    "binary that is cut off": (b"solid x".ljust(80, b"\0") + BINARY[80:-60], "rows of 'faces' are there, expected all"),
    "text that is cut off": (TEXT[: len(TEXT) * 2 // 3], "cut off inside its facets"),
    "text without its last word": (TEXT.replace(b"endsolid", b""), "cut off inside its facets"),
    "text of no facets": (b"solid nothing\nendsolid nothing\n", "no points in it"),
    "a billion faces": (
        b"solid x".ljust(80, b"\0") + struct.pack("<I", 10**9) + bytes(100),
        "1,000,000,000 faces given",
    ),
    "text of words": (b"solid x\nfacet normal 0 0 1\nvertex a b c\nendsolid\n", "damaged, cut off"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_load_points_refuses_a_broken_stl(case: str) -> None:
    data, expected = BROKEN[case]
    with pytest.raises(MediaError) as raised:
        load_points(data)
    assert expected in str(raised.value)
