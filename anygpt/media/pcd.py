"""PCD files of the Point Cloud Library: text, binary or compressed.

Source: Point Cloud Library, "The PCD file format" 0.7; M. Lehmann, LibLZF.

Legend: N points.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from anygpt.errors import MediaError
from anygpt.media.meshes import NO_FACES, Mesh
from anygpt.media.point_columns import named_colours
from anygpt.media.point_limits import PointLimits, check_count, check_rows, check_there, check_unpacked
from anygpt.media.sources import one_line
from anygpt.media.text_rows import line_count, lines_of, numbers_of

_HEAD_BYTES = 65_536
_DATA = re.compile(rb"^DATA[ \t]+(\w+)[ \t]*\r?\n", re.MULTILINE)
_KINDS = {"F": "f", "U": "u", "I": "i"}


@dataclass(frozen=True)
class _Field:
    """A column group: its name, numpy's code for a value, and how many values it has."""

    name: str
    kind: str
    count: int


def is_pcd(data: bytes) -> bool:
    """Whether the content is a PCD file."""
    head = data[:_HEAD_BYTES]
    return re.search(rb"^(VERSION|FIELDS)\b", head, re.MULTILINE) is not None and _DATA.search(head) is not None


def read_pcd(data: bytes, name: str, limits: PointLimits) -> Mesh:
    """The points of a PCD, without those of no measurement (NaN), with their colours.

    Raises:
        MediaError: if its header is broken, over a limit, or promises more than is there.
        ValueError: if its rows are broken.
    """
    end = _DATA.search(data, 0, _HEAD_BYTES)
    assert end is not None  # by is_pcd
    fields, points = _header(data[: end.start()], name)
    check_count(points, name, limits)
    layout = end[1].decode("latin-1").lower()
    dtype = np.dtype([(str(at), one.kind, (one.count,)) for at, one in enumerate(fields)])
    if layout == "ascii":
        check_rows({"points": points}, line_count(data, end.end()), name, limits)
        columns = _text_columns(data, end.end(), fields, points, name)
    elif layout == "binary":
        check_there((len(data) - end.end()) // dtype.itemsize, points, "points", name)
        records = np.frombuffer(data, dtype, points, end.end())
        columns = {one.name: records[str(at)][:, 0] for at, one in enumerate(fields)}
    elif layout == "binary_compressed":
        check_unpacked(points * dtype.itemsize, "DATA", name, limits)
        columns = _compressed_columns(data[end.end() :], fields, points, dtype.itemsize, name)
    else:
        raise MediaError(f"{name}: a PCD of {one_line(layout)!r} given, expected ascii, binary or binary_compressed")
    missing = [axis for axis in "xyz" if axis not in columns]
    if missing:
        raise MediaError(f"{name}: points without {', '.join(missing)} given, expected x y z; export it again")
    xyz_N3 = np.stack([columns[axis] for axis in "xyz"], axis=1)
    is_there_N = np.isfinite(xyz_N3).all(axis=1)
    rgb_N3 = named_colours({part: values_N[is_there_N] for part, values_N in columns.items()}, name)
    return Mesh(xyz_N3[is_there_N], NO_FACES, vertex_rgb_V3=rgb_N3)


def _header(head: bytes, name: str) -> tuple[list[_Field], int]:
    """The fields and how many points there are."""
    said: dict[str, list[str]] = {}
    for line in lines_of(head):
        key, *words = line.decode("latin-1").split()
        said.setdefault(key.upper(), words)
    names = said.get("FIELDS", said.get("COLUMNS", []))
    sizes, types = said.get("SIZE", ["4"] * len(names)), said.get("TYPE", ["F"] * len(names))
    counts = said.get("COUNT", ["1"] * len(names))
    if not names or not len(names) == len(sizes) == len(types) == len(counts):
        raise MediaError(f"{name}: a PCD header whose FIELDS, SIZE, TYPE and COUNT do not fit given; export it again")
    fields = [
        _Field(part, "<" + _KINDS[kind] + size, int(count))
        for part, kind, size, count in zip(names, types, sizes, counts, strict=True)
    ]
    if min(one.count for one in fields) < 0:
        raise MediaError(f"{name}: a PCD field of less than 0 values given, expected 1 or more; export it again")
    width, height = (int(said.get(key, ["1"])[0]) for key in ("WIDTH", "HEIGHT"))
    return [one for one in fields if one.count], int(said.get("POINTS", [str(width * height)])[0])


def _text_columns(data: bytes, start: int, fields: list[_Field], points: int, name: str) -> dict[str, np.ndarray]:
    """The first value of each field of a text (N,), in the field's type if that is one of 32 bits or less."""
    firsts = np.cumsum([0, *(one.count for one in fields)])
    rows = numbers_of(lines_of(data, start), points, [int(first) for first in firsts[:-1]])
    check_there(len(rows), points, "points", name)
    return {
        one.name: rows[:, at] if one.name in "xyz" else rows[:, at].astype(one.kind) for at, one in enumerate(fields)
    }


def _compressed_columns(
    data: bytes, fields: list[_Field], points: int, point_bytes: int, name: str
) -> dict[str, np.ndarray]:
    """The first value of each field (N,); compressed fields lie one behind the other."""
    packed_bytes, unpacked_bytes = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4))
    check_there(len(data) - 8, packed_bytes, "compressed bytes", name)
    if unpacked_bytes != points * point_bytes:
        raise MediaError(
            f"{name}: {unpacked_bytes:,} bytes of {points:,} points of {point_bytes:,} bytes given, expected them all; "
            "save or send it again"
        )
    content = _unpacked(memoryview(data)[8 : 8 + packed_bytes], unpacked_bytes)
    columns, at = {}, 0
    for one in fields:
        values_NC = np.frombuffer(content, one.kind, points * one.count, at).reshape(points, one.count)
        columns[one.name], at = values_NC[:, 0], at + values_NC.nbytes
    return columns


def _unpacked(packed: memoryview, size: int) -> bytearray:
    """LZF: runs of new bytes, and repetitions of earlier ones.

    Raises:
        ValueError: if it does not unpack to `size` bytes.
    """
    content, at = bytearray(), 0
    while at < len(packed) and len(content) <= size:
        control, at = packed[at], at + 1
        if control < 32:
            content += packed[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length, at = length + packed[at], at + 1
        back = ((control & 31) << 8) + packed[at] + 1
        at, length = at + 1, length + 2
        start = len(content) - back
        if start < 0:
            raise ValueError("a repetition of bytes before the first")
        repeated = content[start : start + length]
        content += (repeated * (-(-length // len(repeated))))[:length]
    if len(content) != size:
        raise ValueError(f"{len(content):,} bytes unpacked, {size:,} promised")
    return content
