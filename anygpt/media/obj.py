"""OBJ files: vertices, perhaps with colours, and faces. Materials lie in other files, which are never looked for.

Source: Wavefront, "Advanced Visualizer" manual, appendix B1; colours behind the coordinates are MeshLab's addition.

Legend: V vertices, F faces, C columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from anygpt.media.meshes import Mesh, Polygons
from anygpt.media.point_columns import unit_colours
from anygpt.media.point_limits import PointLimits, check_at_most, check_count
from anygpt.media.text_rows import lines_of, numbers_of, with_newlines

_WORDS = (
    *(b"v", b"vn", b"vt", b"vp", b"f", b"l", b"p", b"o", b"g", b"s", b"mg"),
    *(b"mtllib", b"usemtl", b"usemap", b"maplib", b"cstype", b"deg", b"call", b"csh"),
)
_VERTEX_LINES, _FACE_LINES = (re.compile(rb"^[ \t]*" + word + rb"[ \t]", re.MULTILINE) for word in (b"v", b"f"))


def is_obj(first_line: bytes) -> bool:
    """Whether a text is an OBJ file whose first line that is no comment is this one."""
    return bool(first_line) and first_line.split(maxsplit=1)[0] in _WORDS


def read_obj(data: bytes, name: str, limits: PointLimits) -> Mesh:
    """The vertices and faces of an OBJ, with the colours of its vertices.

    Raises:
        MediaError: if it is over a limit or has no vertices.
        ValueError, IndexError: if its rows are broken.
    """
    data = with_newlines(data)
    if b"\\" in data:  # lines that go on
        data = data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    vertices, faces = (sum(1 for _ in lines.finditer(data)) for lines in (_VERTEX_LINES, _FACE_LINES))
    check_at_most(vertices, name, limits, "vertices")
    check_at_most(faces, name, limits, "faces")
    check_count(vertices, name, limits)
    try:
        rows_VC, faces_F3 = _rows(data, None)
    except ValueError:  # of different lengths: some have colours, which count for nothing then
        rows_VC, faces_F3 = _rows(data, [0, 1, 2])
    colours_V3 = _colours(rows_VC[:, 3:])
    return Mesh(rows_VC[:, :3], faces_F3, vertex_rgb_V3=None if colours_V3 is None else unit_colours(colours_V3, name))


def _colours(further_VC: np.ndarray) -> np.ndarray | None:
    """(V, 3) of what stands behind x y z: nothing, a weight, colours, a weight and colours, or colours and opacity."""
    has_weight = further_VC.shape[1] == 4 and (further_VC[:, 0] == 1).all() and not (further_VC[:, 3] == 1).all()
    if further_VC.shape[1] not in (3, 4):
        return None
    return further_VC[:, 1:] if has_weight else further_VC[:, :3]


def _rows(data: bytes, columns: list[int] | None) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of all vertices (V, C), or those in the given places, and all faces as triangles (F, 3).

    A negative corner counts back from the last vertex before it; "1/2/3" is vertex 1.
    """
    polygons = Polygons()

    def vertex_lines() -> Iterator[bytes]:
        vertices = 0
        for line in lines_of(data):
            word = line[:2].rstrip()
            if word == b"v":
                vertices += 1
                yield line[1:]
            elif word == b"f":
                words = line[1:].split()
                corners = [int(word.partition(b"/")[0]) for word in words] if b"/" in line else list(map(int, words))
                polygons.add([corner - 1 if corner > 0 else vertices + corner if corner else -1 for corner in corners])

    return numbers_of(vertex_lines(), None, columns, at_least=3), polygons.triangles()[0]
