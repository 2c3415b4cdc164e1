"""STL files: triangles, in binary or text. A binary one may begin with the word "solid" as a text does.

Source: 3D Systems, "StereoLithography Interface Specification" (1989).

Legend: F faces.
"""

from __future__ import annotations

import numpy as np

from anygpt.errors import MediaError
from anygpt.media.meshes import Mesh
from anygpt.media.point_limits import PointLimits, check_at_most, check_count, check_there
from anygpt.media.text_rows import lines_of, numbers_of

_HEAD_BYTES = 84
_FACE = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])


def is_stl(data: bytes) -> bool:
    """Whether the content is an STL file: a text of facets, or as long as its count of binary ones says."""
    head = data[:1024].lstrip()
    is_long_enough = len(data) >= _HEAD_BYTES + _FACE.itemsize
    if is_long_enough and _HEAD_BYTES + _FACE.itemsize * _binary_count(data) == len(data):
        return True
    return head[:5].lower() == b"solid" and len(head) > 5 and head[5:6].isspace()


def read_stl(data: bytes, name: str, limits: PointLimits) -> Mesh:
    """The triangles of an STL, each with corners of its own.

    Raises:
        MediaError: if it is cut off, over a limit or has no triangles.
        ValueError: if a text's rows are broken.
    """
    corners_C3 = _text_corners(data, name, limits) if _is_text(data) else _binary_corners(data, name, limits)
    check_count(len(corners_C3), name, limits)
    return Mesh(corners_C3, np.arange(len(corners_C3)).reshape(-1, 3))


def _is_text(data: bytes) -> bool:
    head = data[:4096].lstrip().lower()
    is_exact = len(data) >= _HEAD_BYTES and _HEAD_BYTES + _FACE.itemsize * _binary_count(data) == len(data)
    return not is_exact and b"\0" not in head and (b"facet" in head or b"endsolid" in head)


def _binary_count(data: bytes) -> int:
    return int.from_bytes(data[_HEAD_BYTES - 4 : _HEAD_BYTES], "little")


def _binary_corners(data: bytes, name: str, limits: PointLimits) -> np.ndarray:
    count = _binary_count(data)
    check_at_most(count, name, limits, "faces")
    check_there(max(len(data) - _HEAD_BYTES, 0) // _FACE.itemsize, count, "faces", name)
    return np.frombuffer(data, _FACE, count, _HEAD_BYTES)["corners"].reshape(-1, 3)


def _text_corners(data: bytes, name: str, limits: PointLimits) -> np.ndarray:
    check_at_most(data.lower().count(b"vertex") // 3, name, limits, "faces")
    lines = (line[len(b"vertex") :] for line in lines_of(data) if line[:6].lower() == b"vertex")
    corners_C3 = numbers_of(lines, None, [0, 1, 2])
    if len(corners_C3) % 3 or b"endsolid" not in data[-4096:].lower():
        raise MediaError(f"{name}: damaged, cut off inside its facets, expected a complete file; save or send it again")
    return corners_C3
