"""PLY files: text or binary, points or meshes, with any columns and elements in any order.

Source: G. Turk, "The PLY Polygon File Format" (1994).

Legend: V vertices, F faces.
"""

from __future__ import annotations

import re

import numpy as np

from anygpt.errors import MediaError
from anygpt.media.meshes import Mesh
from anygpt.media.ply_rows import Element, Property, Rows, binary_rows, text_rows
from anygpt.media.point_columns import named_colours
from anygpt.media.point_limits import PointLimits, check_count, check_rows
from anygpt.media.sources import one_line
from anygpt.media.text_rows import line_count, lines_of

_HEAD_BYTES = 65_536
_KINDS = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_END_OF_HEAD = re.compile(rb"end_header[ \t]*(\r\n|\n|\r|$)")


def is_ply(data: bytes) -> bool:
    """Whether the content is a PLY file, perhaps behind blank lines."""
    return data[:256].lstrip().startswith(b"ply")


def read_ply(data: bytes, name: str, limits: PointLimits) -> Mesh:
    """The vertices and faces of a PLY, with their colours under any usual name.

    Raises:
        MediaError: if its header is broken, over a limit, or promises more than is there.
        ValueError, IndexError: if its rows are broken.
    """
    order, elements, start = _header(data, name)
    counts = {one_line(element.name): element.count for element in elements}
    check_count(counts["vertex"], name, limits)
    check_rows(counts, len(data) - start if order else line_count(data, start), name, limits)
    lines, at = lines_of(data, start, ()), start
    read: dict[str, Rows] = {}
    for element in elements:
        if order:
            rows, at = binary_rows(data, at, element, order, name)
        else:
            rows = text_rows(lines, element, name)
        read.setdefault(element.name, rows)
    return _mesh(read["vertex"], read.get("face", Rows()), name)


def _mesh(vertices: Rows, faces: Rows, name: str) -> Mesh:
    columns = vertices.columns
    missing = [axis for axis in "xyz" if axis not in columns]
    missing += [part for part in ("green", "blue") if "red" in columns and part not in columns]
    if missing:
        raise MediaError(
            f"{name}: vertices without {', '.join(missing)} given, expected x y z, or x y z red green blue"
        )
    face_rgb = named_colours(faces.columns, name) if len(faces.faces_F3) else None
    return Mesh(
        np.stack([columns[axis] for axis in "xyz"], axis=1),
        faces.faces_F3,
        vertex_rgb_V3=named_colours(columns, name),
        face_rgb_F3=None if face_rgb is None else face_rgb[faces.origins_F],
    )


def _header(data: bytes, name: str) -> tuple[str, list[Element], int]:
    """The order of bytes (none in a text), the elements, and where their rows start."""
    end = _END_OF_HEAD.search(data, 0, _HEAD_BYTES)
    layout, elements = "", list[Element]()
    for line in data[: end.start() if end else 0].decode("latin-1").splitlines():
        match line.split():
            case ["format", word, *_]:
                layout = word
            case ["element", word, count]:
                elements.append(Element(word, int(count)))
            case ["property", "list", length_kind, kind, word]:
                elements[-1].properties.append(Property(word, _KINDS[kind], _KINDS[length_kind]))
            case ["property", kind, word]:
                elements[-1].properties.append(Property(word, _KINDS[kind]))
    if end is None or not any(element.name == "vertex" for element in elements):
        raise MediaError(f"{name}: a PLY header without an end or vertices given, expected both; export it again")
    if layout not in _ORDERS or any(element.count < 0 for element in elements):
        counts = ", ".join(f"{element.count} {element.name}" for element in elements)
        raise MediaError(
            f"{name}: a PLY of format {one_line(layout)!r} with {one_line(counts)} given, expected ascii, "
            "binary_little_endian or binary_big_endian and no less than 0 rows; export it again"
        )
    return _ORDERS[layout], elements, end.end()
