"""PLY files as programs write them: any order, type and name of columns, untidy headers; checked against trimesh.

Legend: V vertices, F faces.
"""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import trimesh

from anygpt.errors import MediaError
from anygpt.media import PointLimits, load_points
from anygpt.media.ply import read_ply
from tests.anygpt.media.test_points import mesh_file

XYZ_V3 = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 4]])
RGB_V3 = np.array([[255, 0, 51], [0, 255, 0], [0, 0, 255], [102, 102, 102]])
MAP_PLACE_3 = np.array([455_000.0, 5_412_000.0, 210.0])  # a house in UTM metres


def lines(rows_VC: np.ndarray, separator: str = " ", digits: int = 6) -> str:
    return "".join(separator.join(f"{value:.{digits}f}" for value in row) + "\n" for row in rows_VC)


TEXT = lines(XYZ_V3, digits=0)
KINDS = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}


def ply(fields: dict[str, tuple[str, np.ndarray]], order: str = "<", before: str = "", body: bytes = b"") -> bytes:
    """A binary PLY of vertices with such fields (name → type, values), behind another element if one is given."""
    layout = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    head = f"ply\nformat {layout} 1.0\n{before}element vertex {len(XYZ_V3)}\n"
    head += "".join(f"property {kind} {name}\n" for name, (kind, _) in fields.items()) + "end_header\n"
    pack = struct.Struct(order + "".join(KINDS[kind] for kind, _ in fields.values()))
    whole = [[value if KINDS[kind] in "fd" else int(value) for value in values] for kind, values in fields.values()]
    return head.encode() + body + b"".join(pack.pack(*row) for row in zip(*whole, strict=True))


def with_colours(names: str, kind: str, values_V3: np.ndarray) -> bytes:
    """The four vertices with colours under three names."""
    fields = {axis: ("float", XYZ_V3[:, at]) for at, axis in enumerate("xyz")}
    return ply(fields | {name: (kind, values_V3[:, at]) for at, name in enumerate(names.split())})


def text_ply(body: str = TEXT, head: str = "", faces: str = "", fields: str = "float x,float y,float z") -> str:
    properties = "".join(f"property {field}\n" for field in fields.split(","))
    return f"ply\nformat ascii 1.0\n{head}element vertex 4\n{properties}{faces}end_header\n{body}"


PLAIN = {axis: ("float", XYZ_V3[:, at]) for at, axis in enumerate("xyz")}
FACES = "element face 1\nproperty list uchar int vertex_indices\n"
UNTIDY = {
    "binary": ply(PLAIN),
    "big-endian": ply(PLAIN, order=">"),
    "doubles": ply({axis: ("double", values) for axis, (_, values) in PLAIN.items()}),
    "shorts": ply({axis: ("short", values) for axis, (_, values) in PLAIN.items()}),
    "other columns between": ply({"nx": ("float", XYZ_V3[:, 1]), **PLAIN, "label": ("uchar", XYZ_V3[:, 2])}),
    "columns the other way round": ply(dict(reversed(PLAIN.items()))),
    "bytes behind the end": ply(PLAIN) + b"\r\n</body>" * 30,
    "a header with CRLF": ply(PLAIN).replace(b"\n", b"\r\n", 8),
    "blanks behind the words of the header": ply(PLAIN).replace(b"end_header\n", b"end_header \n"),
    "comments": ply(PLAIN).replace(b"element", b"comment made by element vertex 9 \nobj_info x\nelement", 1),
    "an element before": ply(PLAIN, before="element camera 2\nproperty double f\n", body=bytes(16)),
    "an element with lists before": ply(
        PLAIN, before="element strip 2\nproperty list uchar short at\n", body=struct.pack("<BhhB", 2, 7, 8, 0)
    ),
    "text": text_ply().encode(),
    "text with CRLF": text_ply().replace("\n", "\r\n").encode(),
    "text with CR": text_ply().replace("\n", "\r").encode(),
    "text behind a byte order mark": b"\xef\xbb\xbf" + text_ply().encode(),
    "text behind blank lines": b"\n\r\n" + text_ply().encode(),
    "text with blank lines": text_ply("\n" + TEXT.replace("\n", "\n\n")).encode(),
    "text with further numbers": text_ply(TEXT.replace("\n", " 7 7\n")).encode(),
    "text with lines behind the end": text_ply(TEXT + "made by hand\n").encode(),
    "text of an element before": text_ply("5\n6\n" + TEXT, head="element a 2\nproperty int b\n").encode(),
    "text of an element with lists before": text_ply(
        "2 5 5\n0\n" + TEXT, head="element a 2\nproperty list uchar int b\n"
    ).encode(),
    "text with lists in the rows": text_ply(
        TEXT.replace("\n", " 2 9 9 5\n"), fields="float x,float y,float z,list uchar int a,int b"
    ).encode(),
}


@pytest.mark.parametrize("case", UNTIDY)
def test_load_points_reads_the_vertices_of_an_untidy_ply(case: str) -> None:
    cloud = load_points(UNTIDY[case])
    assert np.array_equal(cloud.xyz, XYZ_V3.astype(np.float32))
    assert cloud.rgb is None


NAMES = ["red green blue", "r g b", "R G B", "Red Green Blue", "diffuse_red diffuse_green diffuse_blue"]
NAMES += ["scalar_R scalar_G scalar_B", "scalar_Red scalar_Green scalar_Blue", "vertex_red vertex_green vertex_blue"]
SCALES = {"uchar": 1, "ushort": 257, "int": 1, "float": 1 / 255, "double": 1}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("kind", SCALES)
def test_load_points_takes_colours_under_any_usual_name_and_type(names: str, kind: str) -> None:
    cloud = load_points(with_colours(names, kind, SCALES[kind] * RGB_V3))
    assert np.allclose(cloud.rgb, RGB_V3 / 255, atol=1e-6)


def test_load_points_takes_dark_bytes_for_dark() -> None:
    assert load_points(with_colours("red green blue", "uchar", np.ones((4, 3)))).rgb.max() == np.float32(1 / 255)


def test_load_points_takes_the_colours_of_gaussian_splats() -> None:
    weights_V3 = (RGB_V3 / 255 - 0.5) * np.sqrt(4 * np.pi)  # of the constant spherical harmonic
    cloud = load_points(with_colours("f_dc_0 f_dc_1 f_dc_2", "float", weights_V3))
    assert np.allclose(cloud.rgb, RGB_V3 / 255, atol=1e-6)


@pytest.mark.parametrize("kind", ["uint", "float"])
def test_load_points_takes_colours_that_are_packed_into_one_number(kind: str) -> None:
    packed_V = (RGB_V3 << [16, 8, 0]).sum(axis=1).astype(np.uint32)
    values_V = packed_V if kind == "uint" else packed_V.view(np.float32).astype(float)
    assert np.allclose(load_points(ply({**PLAIN, "rgb": (kind, values_V)})).rgb, RGB_V3 / 255, atol=1e-6)


def test_load_points_takes_no_normals_for_colours() -> None:
    assert load_points(with_colours("nx ny nz", "float", XYZ_V3)).rgb is None


def test_load_points_refuses_named_colours_out_of_range() -> None:
    with pytest.raises(MediaError, match="colours from 0 to 300 given, expected 0 to 255 or 0 to 1; scale them"):
        load_points(with_colours("red green blue", "float", np.full((4, 3), [0, 1.5, 300])))


@pytest.mark.parametrize("options", [{}, {"encoding": "ascii"}])
@pytest.mark.parametrize("coloured", ["vertices", "faces", "nothing"])
def test_read_ply_agrees_with_trimesh(options: dict, coloured: str) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=2)
    colours = np.random.default_rng(0).integers(0, 256, (len(mesh.faces), 4)).astype(np.uint8)
    if coloured == "vertices":
        mesh.visual.vertex_colors = colours[: len(mesh.vertices)]
    elif coloured == "faces":
        mesh.visual.face_colors = colours
    data = mesh_file(mesh, "ply", **options)
    expected = trimesh.load_mesh(io.BytesIO(data), file_type="ply", process=False)
    read = read_ply(data, "points", PointLimits())
    assert np.allclose(read.vertices_V3, expected.vertices, atol=1e-7)
    assert np.array_equal(read.faces_F3, expected.faces)
    assert (read.vertex_rgb_V3 is None) == (coloured != "vertices")
    assert (read.face_rgb_F3 is None) == (coloured != "faces")
    if coloured == "vertices":
        assert np.allclose(read.vertex_rgb_V3, colours[: len(mesh.vertices), :3] / 255, atol=1e-6)
    if coloured == "faces":
        assert np.allclose(read.face_rgb_F3, colours[:, :3] / 255, atol=1e-6)


POLYGONS = ((0, 1, 2), (0, 1, 2, 3), (1, 2, 3), (3, 2), (3, 2, 1, 0, 1))
TRIANGLES = [(0, 1, 2), (0, 1, 2), (0, 2, 3), (1, 2, 3), (3, 2, 1), (3, 1, 0), (3, 0, 1)]
FACE_HEAD = "element face 5\nproperty uchar flags\nproperty list uchar int vertex_index\nproperty uchar red\n"
FACE_HEAD += "property uchar green\nproperty uchar blue\nproperty list uchar float texcoord\n"


def test_read_ply_cuts_polygons_of_any_size_into_triangles_and_keeps_their_colours() -> None:
    in_text = "".join(f"9 {len(p)} {' '.join(map(str, p))} {10 * k} 0 0 1 0.5\n" for k, p in enumerate(POLYGONS))
    in_bytes = b"".join(
        struct.pack(f"<BB{len(p)}iBBBBf", 9, len(p), *p, 10 * k, 0, 0, 1, 0.5) for k, p in enumerate(POLYGONS)
    )
    binary = ply(PLAIN).replace(b"end_header\n", FACE_HEAD.encode() + b"end_header\n") + in_bytes
    for data in (text_ply(TEXT + in_text, faces=FACE_HEAD).encode(), binary):
        mesh = read_ply(data, "points", PointLimits())
        order = np.lexsort(mesh.faces_F3.T[::-1], axis=0)
        wanted = sorted(TRIANGLES)
        assert [tuple(face) for face in mesh.faces_F3[order]] == wanted
        of_polygon = {(0, 1, 2): {0, 1}, (0, 2, 3): {1}, (1, 2, 3): {2}}
        for face, rgb in zip(mesh.faces_F3, mesh.face_rgb_F3, strict=True):
            assert round(rgb[0] * 255 / 10) in of_polygon.get(tuple(face), {4})


@pytest.mark.parametrize("kind", ["double", "text"])
def test_load_points_keeps_the_shape_of_points_in_map_coordinates(kind: str) -> None:
    near_V3 = np.random.default_rng(0).normal(size=(4, 3))
    far_V3 = near_V3 + MAP_PLACE_3
    if kind == "text":
        data = text_ply(lines(far_V3)).encode()
    else:
        data = ply({axis: ("double", far_V3[:, at]) for at, axis in enumerate("xyz")})
    xyz = load_points(data).xyz
    assert np.allclose(xyz - xyz.mean(axis=0), near_V3 - near_V3.mean(axis=0), atol=1e-5)


BROKEN = {
    "rows that are cut off": (ply(PLAIN)[:-1], "cut off, 3 of 4 rows of 'vertex' are there"),
    "text that is cut off": (text_ply(TEXT[:8]).encode(), "its header promises 4 rows where there is room for 2"),
    "faces that are cut off": (
        ply(PLAIN).replace(b"end_header\n", FACES.encode() + b"end_header\n") + struct.pack("<Bii", 3, 0, 1),
        "cut off, 0 of 1 rows of 'face' are there",
    ),
    "a list as long as a file": (
        ply(PLAIN).replace(b"end_header\n", b"element a 1\nproperty list uint int b\nend_header\n") + b"\xff" * 8,
        "damaged, cut off",
    ),
    "an unknown format": (ply(PLAIN).replace(b"little", b"middle"), "a PLY of format 'binary_middle_endian'"),
    "an unknown type": (ply(PLAIN).replace(b"float x", b"complex x"), "damaged, cut off"),
    "fewer than no rows": (text_ply().replace("vertex 4", "vertex -4").encode(), "-4 vertex given"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_load_points_refuses_a_broken_ply(case: str) -> None:
    data, expected = BROKEN[case]
    with pytest.raises(MediaError) as raised:
        load_points(data)
    assert expected in str(raised.value)
    assert str(raised.value).isprintable()
