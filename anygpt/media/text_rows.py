"""Rows of numbers in text: lines without comments and blanks, read into arrays.

Legend: N rows, C columns.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np


def with_newlines(data: bytes, start: int = 0) -> bytes:
    """The text with line feeds, if its lines end in carriage returns alone from a place on, as old Macs wrote them."""
    return data.replace(b"\r", b"\n") if data.find(b"\n", start) < 0 else data


def lines_of(data: bytes, start: int = 0, comments: Sequence[bytes] = (b"#",)) -> Iterator[bytes]:
    """The lines from a place on that hold more than a comment, without comments and the blanks around them.

    Args:
        data: a text, with lines that end in any usual way.
        start: where to begin.
        comments: the marks that begin one.
    """
    file = io.BytesIO(with_newlines(data, start))
    file.seek(start)
    for line in file:
        for mark in comments:
            if mark in line:
                line = line.partition(mark)[0]
        line = line.strip()
        if line:
            yield line


def numbers_of(
    lines: Iterator[bytes], count: int | None, columns: list[int] | None = None, *, at_least: int = 1
) -> np.ndarray:
    """The next `count` lines, or all, as float64 (N, C): their words, or those in the given places.

    Raises:
        ValueError: if a word is no number, a line has fewer than `at_least` or not as many as the first.
    """
    chosen = lines if count is None else islice(lines, count)
    first = next(chosen, None)
    if first is None:
        return np.zeros((0, len(columns or [])))

    def all_of_them() -> Iterator[str]:
        yield first.decode("latin-1")
        yield from (line.decode("latin-1") for line in chosen)

    rows_NC = np.loadtxt(all_of_them(), ndmin=2, usecols=columns, comments=None)
    if rows_NC.shape[1] < at_least:
        raise ValueError(f"rows of {rows_NC.shape[1]} numbers, expected {at_least}")
    return rows_NC


def line_count(data: bytes, start: int = 0) -> int:
    """How many lines there are from a place on, at most."""
    return max(data.count(b"\n", start), data.count(b"\r", start)) + 1
