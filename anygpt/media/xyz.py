"""Point clouds in text: a point a line, with or without a first line that names or counts them.

Legend: N points, C columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
_NUMBER = re.compile(r"[-+]?(\d|\.\d|nan\b|inf\b)", re.IGNORECASE)


def is_xyz(data: bytes) -> bool:
    """Whether the content is a text whose first line of more than a comment is numbers, or names x, y and z."""
    head = data[:_HEAD_BYTES]
    first = next(_plain(head, head), None) if b"\0" not in head else None
    return first is not None and (_are_numbers(first) or {"x", "y", "z"} <= set(_names(first)))


def read_xyz(data: bytes, name: str, limits: PointLimits) -> PointCloud:
    """The points of a text: columns by their names if the first line or a comment above it has them, else by place.

    Raises:
        MediaError: if it is over a limit or its columns are no coordinates and colours.
        ValueError: if a row is broken.
    """
    check_at_most(line_count(data.rstrip()), name, limits, "lines")
    skipped, first = 0, b""
    names: list[str] = []
    for line in islice(_plain(data, data[:_HEAD_BYTES]), 3):
        if _are_numbers(line) and len(line.split()) > 1:
            first = line
            break
        names = names if _are_numbers(line) else _names(line)  # a single number counts the points
        skipped += 1
    if not first:
        raise MediaError(f"{name}: no row of x y z within the first lines given, expected numbers; export it again")
    columns = len(first.split())
    names = names or _commented_names(data, columns)
    rows_NC = numbers_of(islice(_plain(data, data[:_HEAD_BYTES]), skipped, None), None)
    check_count(len(rows_NC), name, limits)
    if len(names) == columns and {"x", "y", "z"} <= set(names):
        by_name = dict(zip(reversed(names), rows_NC.T[::-1], strict=True))
        xyz_N3 = np.stack([by_name[axis] for axis in "xyz"], axis=1)
        return cloud_of(xyz_N3, named_colours(by_name, name), name)
    check_columns(columns, name)
    return cloud_of_rows(rows_NC, name, limits)


def _plain(data: bytes, head: bytes) -> Iterator[bytes]:
    """The lines with blanks between their words, whatever stands there; "1,5;2,5" has commas in its numbers."""
    with_semicolons = re.search(rb"^[^#\n]*\d,\d+\s*;", head, re.MULTILINE) is not None
    table = bytes.maketrans(b',;\t"', b".   " if with_semicolons else b"    ")
    return (
        line for line in (line.translate(table).strip() for line in lines_of(data, comments=_COMMENT_MARKS)) if line
    )


def _are_numbers(line: bytes) -> bool:
    return all(_NUMBER.match(word) for word in line.decode("latin-1").split())


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
