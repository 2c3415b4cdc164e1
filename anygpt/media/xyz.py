"""Point clouds in text: a point a line, with or without a first line that names or counts them.

Legend: N points, C columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from anygpt.errors import MediaError
from anygpt.media.point_columns import check_columns, cloud_of, cloud_of_rows, named_colours
from anygpt.media.point_limits import PointLimits, check_at_most, check_count
from anygpt.media.text_rows import line_count, lines_of, numbers_of
from anygpt.media.values import PointCloud

_HEAD_BYTES = 65_536
_HEAD_LINES = 100
_COMMENT_MARKS = (b"#", b"//")
_DECIMAL_COMMAS = re.compile(
    rb"^[^#/\n]*?\d,\d+[ \t]*;|^[ \t]*(?:[-+]?\d+,\d+[ \t]+){2,}[-+]?\d+,\d+\s*$", re.MULTILINE
)
_NUMBER = re.compile(r"[-+]?(\d|\.\d|nan\b|inf\b)", re.IGNORECASE)


def is_xyz(data: bytes) -> bool:
    """Whether the content is a text whose first line of more than a comment is numbers, or names a line of them."""
    head = data[:_HEAD_BYTES]
    if b"\0" in head:
        return False
    return _head_of(data) is not None or _is_count(next(_plain(data), b""))


def read_xyz(data: bytes, name: str, limits: PointLimits) -> PointCloud:
    """The points of a text: columns by their names if the first line or a comment above it has them, else by place.

    Raises:
        MediaError: if it is over a limit or its columns are no coordinates and colours.
        ValueError: if a row is broken.
    """
    check_at_most(line_count(data.rstrip()), name, limits, "lines")
    head = _head_of(data)
    if head is None:
        raise MediaError(f"{name}: no row of x y z within the first lines given, expected numbers; export it again")
    names = head.names or _commented_names(data, head.columns)
    rows_NC = numbers_of(islice(_plain(data), head.lines, None), None)
    check_count(len(rows_NC), name, limits)
    if {"x", "y", "z"} <= set(names):
        by_name = dict(zip(reversed(names), rows_NC.T[::-1], strict=True))
        xyz_N3 = np.stack([by_name[axis] for axis in "xyz"], axis=1)
        return cloud_of(xyz_N3, named_colours(by_name, name), name)
    check_columns(head.columns, name)
    return cloud_of_rows(rows_NC, name, limits)


@dataclass(frozen=True)
class _Head:
    """What stands before the first point: so many lines, with the names of the columns or none."""

    lines: int
    columns: int
    names: list[str]


def _head_of(data: bytes) -> _Head | None:
    """What stands before the first line of numbers: a count of the points, names, both or nothing; None otherwise."""
    lines, names = 0, list[str]()
    for line in islice(_plain(data), 3):
        columns = len(line.split())
        if _is_count(line) and not lines:
            lines += 1
        elif _are_numbers(line):
            return _Head(lines, columns, names) if columns >= 3 and len(names) in (0, columns) else None
        elif names:
            return None
        else:
            lines, names = lines + 1, _names(line)
            if data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b",", b";", b"\t")):
                names.insert(0, "")  # as pandas writes the column of its numbers
    return None


def _plain(data: bytes) -> Iterator[bytes]:
    """The lines with blanks between their words and points in their numbers, whatever stands there.

    "1,5;2,5;3,5" and "1,5 2,5 3,5" have commas in their numbers, "1,2,3" has them between.
    """
    has_decimal_commas = _DECIMAL_COMMAS.search(data[:_HEAD_BYTES]) is not None
    table = bytes.maketrans(b',;\t"', b".   " if has_decimal_commas else b"    ")
    plain = (line.translate(table).strip() for line in lines_of(data, comments=_COMMENT_MARKS))
    return (line for line in plain if line)


def _is_count(line: bytes) -> bool:
    return line.isdigit()


def _are_numbers(line: bytes) -> bool:
    return bool(line) and all(_NUMBER.match(word) for word in line.decode("latin-1").split())


def _names(line: bytes) -> list[str]:
    return [word.strip("'\"[]()").lower() for word in line.decode("latin-1").split()]


def _commented_names(data: bytes, columns: int) -> list[str]:
    """The names in a comment at the start that has as many words as there are columns, x y z among them; else none."""
    for line in data[:_HEAD_BYTES].splitlines()[:_HEAD_LINES]:
        if not line.strip().startswith(_COMMENT_MARKS):
            break
        names = _names(re.sub(rb"[,;]", b" ", line.strip().lstrip(b"#/")))
        if len(names) == columns and {"x", "y", "z"} <= set(names):
            return names
    return []
