"""Point clouds in text: any separators, first lines that name or count, columns of colours and of normals.

Legend: N points.
"""

from __future__ import annotations

import numpy as np
import pytest

from anygpt.errors import MediaError
from anygpt.media import load_points

XYZ_N3 = np.array([[0.5, 1, 2], [3, 4.25, 5], [6, 7, 8]])
RGB_N3 = np.array([[255, 0, 51], [0, 255, 0], [102, 102, 102]])
NORMALS_N3 = np.array([[0, 0, 1], [0.6, 0.8, 0], [-1, 0, 0]])
OPACITY_N, INTENSITY_N, CURVATURE_N = np.full(3, 255), np.array([7, 300, 90]), np.array([0.1, 0.2, 0.3])


def text(*columns: np.ndarray, separator: str = " ", first: str = "", comma: str = ".") -> bytes:
    rows = np.column_stack(columns)
    lines = [separator.join(f"{value:.9g}".replace(".", comma) for value in row) for row in rows]
    return (first + "\n".join(lines) + "\n").encode()


PLAIN = {
    "blanks": text(XYZ_N3),
    "tabs": text(XYZ_N3, separator="\t"),
    "commas": text(XYZ_N3, separator=","),
    "commas and blanks": text(XYZ_N3, separator=", "),
    "semicolons": text(XYZ_N3, separator=";"),
    "semicolons and commas in numbers": text(XYZ_N3, separator=";", comma=","),
    "blanks and commas in numbers": b"0,5 1,0 2,0\n3,0 4,25 5,0\n6,0 7,0 8,0\n",
    "CRLF": text(XYZ_N3).replace(b"\n", b"\r\n"),
    "CR": text(XYZ_N3).replace(b"\n", b"\r"),
    "a byte order mark": b"\xef\xbb\xbf" + text(XYZ_N3),
    "blank lines": b"\n\n" + text(XYZ_N3).replace(b"\n", b"\n\n"),
    "comments": text(XYZ_N3, first="# a scan\n// of a house\n").replace(b"2\n", b"2 # corner\n", 1),
    "a first line of names": text(XYZ_N3, first="x y z\n"),
    "names in capitals with commas": text(XYZ_N3, separator=",", first="X,Y,Z\n"),
    "names in quotation marks": text(XYZ_N3, separator=",", first='"x","y","z"\n'),
    "names as CloudCompare writes them": text(XYZ_N3, first="//X Y Z\n"),
    "names in another order": text(XYZ_N3[:, ::-1], first="z y x\n"),
    "names of another kind": text(XYZ_N3, separator=",", first="Easting,Northing,Height\n"),
    "names with units": text(XYZ_N3, first="X[m] Y[m] Z[m]\n"),
    "a count of the points": text(XYZ_N3, first="3\n"),
    "a count and names": text(XYZ_N3, first="3\nx y z\n"),
}


@pytest.mark.parametrize("case", PLAIN)
def test_load_points_reads_text_of_points(case: str) -> None:
    cloud = load_points(PLAIN[case])
    assert np.array_equal(cloud.xyz, XYZ_N3.astype(np.float32))
    assert cloud.rgb is None


COLOURED = {
    "x y z r g b": text(XYZ_N3, RGB_N3),
    "fractions": text(XYZ_N3, RGB_N3 / 255),
    "opacity behind": text(XYZ_N3, RGB_N3, OPACITY_N),
    "intensity before, as in PTS": text(XYZ_N3, INTENSITY_N, RGB_N3, first="3\n"),
    "normals behind": text(XYZ_N3, RGB_N3, NORMALS_N3),
    "normals before": text(XYZ_N3, NORMALS_N3, RGB_N3),
    "names": text(RGB_N3, INTENSITY_N, XYZ_N3, first="red green blue intensity x y z\n"),
    "names as CloudCompare writes them": text(XYZ_N3, RGB_N3, NORMALS_N3, first="//X Y Z R G B Nx Ny Nz\n"),
    "names in a comment": text(XYZ_N3, CURVATURE_N, RGB_N3, first="# a scan\n# x y z label r g b\n"),
    "a packed number": text(XYZ_N3, (RGB_N3 << [16, 8, 0]).sum(axis=1), first="x y z rgb\n"),
}


@pytest.mark.parametrize("case", COLOURED)
def test_load_points_reads_text_of_coloured_points(case: str) -> None:
    cloud = load_points(COLOURED[case])
    assert np.array_equal(cloud.xyz, XYZ_N3.astype(np.float32))
    assert np.allclose(cloud.rgb, RGB_N3 / 255, atol=1e-4)


NOT_COLOURED = {
    "normals": text(XYZ_N3, NORMALS_N3),
    "normals that all point up and aside": text(XYZ_N3, np.abs(NORMALS_N3[[1, 1, 1]])),
    "normals and curvature": text(XYZ_N3, NORMALS_N3, CURVATURE_N),
    "names": text(XYZ_N3, np.abs(NORMALS_N3), first="x y z nx ny nz\n"),
    "names of other columns": text(XYZ_N3, INTENSITY_N, first="x y z intensity\n"),
}


@pytest.mark.parametrize("case", NOT_COLOURED)
def test_load_points_takes_normals_for_no_colours(case: str) -> None:
    cloud = load_points(NOT_COLOURED[case])
    assert np.array_equal(cloud.xyz, XYZ_N3.astype(np.float32))
    assert cloud.rgb is None


@pytest.mark.parametrize("colour", [(1, 0, 0), (0, 0, 1), (0.5, 0.5, 0.5), (0, 0, 0)])
def test_load_points_takes_colours_for_colours_where_they_could_be_directions(colour: tuple[float, ...]) -> None:
    assert np.allclose(load_points(text(XYZ_N3, np.tile(colour, (3, 1)))).rgb, colour)


REFUSED = {
    "four columns": (text(XYZ_N3, CURVATURE_N), "rows of 4 numbers given, expected x y z, or x y z r g b"),
    "names that lack z": (text(XYZ_N3[:, :2], first="x y\n"), "it starts with"),
    "colours out of range": (text(XYZ_N3, 300 * NORMALS_N3), "colours from -300 to 300 given"),
    "a count alone": (b"3\n", "no row of x y z within the first lines given"),
    "fewer names than columns": (text(XYZ_N3, first="x y\n"), "it starts with"),
    "two lines of words": (text(XYZ_N3, first="a scan\nx y z\n"), "it starts with"),
    "words among numbers": (text(XYZ_N3) + b"and so on\n", "damaged, cut off"),
    "rows of different lengths": (text(XYZ_N3) + b"1 2\n", "the number of columns changed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_load_points_refuses_text_of_other_things(case: str) -> None:
    data, expected = REFUSED[case]
    with pytest.raises(MediaError) as raised:
        load_points(data)
    assert expected in str(raised.value)
    assert str(raised.value).isprintable()
