"""Rows of a PLY file: plain columns, and lists of corners as triangles.

Legend: N rows, F faces, K corners.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from anygpt.media.meshes import NO_FACES, Polygons, triangles_of
from anygpt.media.point_limits import check_there
from anygpt.media.text_rows import numbers_of

CORNERS = ("vertex_indices", "vertex_index")
_BYTES = {kind: np.dtype(kind).itemsize for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")}


@dataclass(frozen=True)
class Property:
    """A column: its name, numpy's code for a value without the order of its bytes, and that for a list's length."""

    name: str
    kind: str
    length_kind: str | None = None


@dataclass
class Element:
    """A kind of rows."""

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)

    @property
    def lists(self) -> list[int]:
        """Which properties are lists."""
        return [place for place, one in enumerate(self.properties) if one.length_kind is not None]

    def dtype(self, order: str, lengths: Sequence[int] = ()) -> np.dtype:
        """Of a row whose lists are so long; fields are called by their number, as names may come twice."""
        fields: list[Any] = []
        lengths_to_come = iter(lengths)
        for place, one in enumerate(self.properties):
            if one.length_kind is None:
                fields.append((str(place), order + one.kind))
            else:
                fields.append((f"{place} length", order + one.length_kind))
                fields.append((str(place), order + one.kind, (next(lengths_to_come),)))
        return np.dtype(fields)


@dataclass
class Rows:
    """What was read of an element.

    Attributes:
        columns: each plain property (N,) by its name; of two of a name the first.
        faces_F3, origins_F: the lists of corners as triangles, and the row that each came from.
    """

    columns: dict[str, np.ndarray] = field(default_factory=dict)
    faces_F3: np.ndarray = field(default_factory=lambda: NO_FACES)
    origins_F: np.ndarray = field(default_factory=lambda: NO_FACES[:, 0])


def text_rows(lines: Iterator[bytes], element: Element, name: str) -> Rows:
    """The next rows of a text.

    Raises:
        MediaError: if they are not all there.
        ValueError, IndexError: if they are broken.
    """
    kinds = [one.kind for one in element.properties]
    if not element.lists:
        numbers_NC = numbers_of(lines, element.count, list(range(len(kinds))))
        check_there(len(numbers_NC), element.count, element.name, name)
        named = zip(element.properties, numbers_NC.T, strict=True)
        return Rows(_first_of_each((one.name, _as_promised(values_N, one.kind)) for one, values_N in named))
    polygons, count = Polygons(), 0
    plain = {place: array("d") for place in range(len(kinds)) if place not in element.lists}
    for line in islice(lines, element.count):
        words, at, count = line.split(), 0, count + 1
        for place, one in enumerate(element.properties):
            if one.length_kind is None:
                plain[place].append(float(words[at]))
                at += 1
                continue
            end = at + 1 + int(words[at])
            if not at < end <= len(words):
                raise ValueError(f"a list of {words[at].decode('latin-1')} with {len(words) - at - 1} items")
            if one.name in CORNERS:
                polygons.add([int(word) for word in words[at + 1 : end]])
            at = end
    check_there(count, element.count, element.name, name)
    columns = (
        (element.properties[place].name, _as_promised(np.frombuffer(values), kinds[place]))
        for place, values in plain.items()
    )
    return Rows(_first_of_each(columns), *polygons.triangles())


def binary_rows(data: bytes, at: int, element: Element, order: str, name: str) -> tuple[Rows, int]:
    """The rows that start at a place, and where the next ones start.

    Args:
        data: the whole file.
        at: where the rows start.
        element: what they are like.
        order: of their bytes, "<" or ">".
        name: what messages call the file.
    Raises:
        MediaError: if they are not all there.
    """
    groups, end = _even_rows(data, at, element, order, name)
    if groups is None:
        groups, end = _uneven_rows(data, at, element, order, name)
    columns: dict[str, np.ndarray] = {}
    polygons = []
    for place, one in enumerate(element.properties):
        if one.length_kind is not None:
            if one.name in CORNERS:
                polygons = [(records[str(place)].astype(np.int64), numbers_R) for records, numbers_R in groups]
        elif one.name not in columns:
            columns[one.name] = np.empty(element.count, one.kind)
            for records, numbers_R in groups:
                columns[one.name][numbers_R] = records[str(place)]
    return Rows(columns, *triangles_of(polygons)), end


_Groups = list[tuple[np.ndarray, np.ndarray]]  # records of one layout, and the rows that they are


def _even_rows(data: bytes, at: int, element: Element, order: str, name: str) -> tuple[_Groups | None, int]:
    """All rows as one group, if their lists are as long as those of the first row; else None."""
    if not element.count:
        return [], at
    lengths = _lengths_at(data, at, element, order)
    dtype = element.dtype(order, lengths)
    there = (len(data) - at) // max(dtype.itemsize, 1)
    if there < element.count:
        if not element.lists:
            check_there(there, element.count, element.name, name)
        return None, at
    records = np.frombuffer(data, dtype, element.count, at)
    for place, length in zip(element.lists, lengths, strict=True):
        if (records[f"{place} length"] != length).any():
            return None, at
    return [(records, np.arange(element.count))], at + records.nbytes


def _uneven_rows(data: bytes, at: int, element: Element, order: str, name: str) -> tuple[_Groups, int]:
    """The rows in groups of those whose lists are equally long."""
    starts: dict[tuple[int, ...], array[int]] = {}
    numbers: dict[tuple[int, ...], array[int]] = {}
    row_bytes: dict[tuple[int, ...], int] = {}
    for number in range(element.count):
        lengths = _lengths_at(data, at, element, order)
        if lengths not in row_bytes:
            row_bytes[lengths] = element.dtype(order, lengths).itemsize
        if at + row_bytes[lengths] > len(data):
            check_there(number, element.count, element.name, name)
        starts.setdefault(lengths, array("q")).append(at)
        numbers.setdefault(lengths, array("q")).append(number)
        at += row_bytes[lengths]
    content = np.frombuffer(data, np.uint8)
    groups = []
    for lengths, starts_R in starts.items():
        places = np.frombuffer(starts_R, np.int64)[:, None] + np.arange(row_bytes[lengths])
        records = np.ascontiguousarray(content[places]).view(element.dtype(order, lengths))[:, 0]
        groups.append((records, np.frombuffer(numbers[lengths], np.int64)))
    return groups, at


def _lengths_at(data: bytes, at: int, element: Element, order: str) -> tuple[int, ...]:
    """How long the lists of the row are that starts here; what lies behind the end counts as none."""
    lengths = []
    for one in element.properties:
        if one.length_kind is None:
            at += _BYTES[one.kind]
        else:
            width = _BYTES[one.length_kind]
            length = int.from_bytes(data[at : at + width], "little" if order == "<" else "big")
            if length > len(data):
                raise ValueError(f"a list of {length:,} items in {len(data):,} bytes")
            lengths.append(length)
            at += width + length * _BYTES[one.kind]
    return tuple(lengths)


def _first_of_each(columns: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns by name; of several of one name the first."""
    first: dict[str, np.ndarray] = {}
    for name, values_N in columns:
        first.setdefault(name, values_N)
    return first


def _as_promised(values_N: np.ndarray, kind: str) -> np.ndarray:
    """Numbers of a text in the type that the header gives them, where that holds them; coordinates stay exact."""
    if kind == "f8" or not len(values_N) or not np.isfinite(values_N).all():
        return values_N
    if kind == "f4":
        return values_N
    limits = np.iinfo(kind)
    fits = limits.min <= values_N.min() and values_N.max() <= limits.max and not (values_N % 1).any()
    return values_N.astype(kind) if fits else values_N
