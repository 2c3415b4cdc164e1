"""OFF files and their kin (COFF, NOFF, STOFF, ...): text of vertices and faces, with colours.

The counts may follow the word without a blank, as in many files of ModelNet40.
Source: Geomview manual, section 4.2.5.

Legend: V vertices, F faces, C columns.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from itertools import islice

import numpy as np

from anygpt.errors import MediaError
from anygpt.media.meshes import Mesh, Polygons
from anygpt.media.point_columns import colour_columns, unit_colours
from anygpt.media.point_limits import PointLimits, check_rows, check_there
from anygpt.media.text_rows import line_count, lines_of, numbers_of

_HEAD = re.compile(rb"(?:ST)?(C)?(N)?(4)?(n)?(?:OFF|off)(?![A-Za-z_])[ \t]*(BINARY)?")


def is_off(first_line: bytes) -> bool:
    """Whether a text is an OFF file whose first line that is no comment is this one."""
    return _HEAD.match(first_line) is not None


def read_off(data: bytes, name: str, limits: PointLimits) -> Mesh:
    """The vertices and faces of an OFF, with their colours.

    Raises:
        MediaError: if its header is broken, over a limit, or promises more than is there.
        ValueError, IndexError: if its rows are broken.
    """
    lines = lines_of(data)
    first = next(lines, b"")
    head = _HEAD.match(first)
    if head is None or head[4] or head[5]:
        raise MediaError(f"{name}: an OFF of {first[:16]!r} given, expected text of 3 dimensions; export it as PLY")
    counts = first[head.end() :].split()
    head_lines = 1 if counts else 2
    counts = (counts or next(lines, b"").split())[:2]
    if len(counts) < 2 or not all(count.isdigit() for count in counts):
        raise MediaError(f"{name}: an OFF header without counts given, expected vertices and faces; export it again")
    vertices, faces = map(int, counts)
    check_rows({"vertices": vertices, "faces": faces}, line_count(data), name, limits)
    try:
        rows_VC = numbers_of(lines, vertices, at_least=3)
    except ValueError:  # of different lengths: some have colours, which count for nothing then
        lines = islice(lines_of(data), head_lines, None)
        rows_VC = numbers_of(lines, vertices, [0, 1, 2])
    check_there(len(rows_VC), vertices, "vertices", name)
    further_VC = rows_VC[:, 3 + (head[3] is not None) + 3 * (head[2] is not None) :]
    colours_V3 = further_VC[:, :3] if head[1] and further_VC.shape[1] >= 3 else colour_columns(further_VC)
    faces_F3, face_rgb_F3 = _faces(lines, faces, name)
    return Mesh(
        rows_VC[:, :3] / rows_VC[:, 3:4] if head[3] else rows_VC[:, :3],
        faces_F3,
        vertex_rgb_V3=None if colours_V3 is None else unit_colours(colours_V3, name),
        face_rgb_F3=face_rgb_F3,
    )


def _faces(lines: Iterator[bytes], count: int, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Triangles (F, 3) and, if every face has one, their colours (F, 3)."""
    polygons, colours, there = Polygons(), array("d"), 0
    for line in islice(lines, count):
        words, there = line.split(), there + 1
        end = 1 + int(words[0])
        if not 0 < end <= len(words):
            raise ValueError(f"a face of {words[0].decode('latin-1')} corners with {len(words) - 1} of them")
        polygons.add([int(word) for word in words[1:end]])
        colours.extend(float(word) for word in words[end : end + 3])
    check_there(there, count, "faces", name)
    faces_F3, origins_F = polygons.triangles()
    if not count or len(colours) != 3 * count:
        return faces_F3, None
    return faces_F3, unit_colours(np.frombuffer(colours).reshape(-1, 3), name)[origins_F]
