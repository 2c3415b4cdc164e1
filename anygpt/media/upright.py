"""Decoded frames as a player shows them: upright, not mirrored, with square pixels.

Legend: H height, W width.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

_MATRIX = struct.Struct("=9i")
_MAX_ASPECT = 16  # a pixel that is wider or higher than so many is no pixel of a camera


def pixel_aspect(stream: Any) -> Fraction:
    """How wide a stored pixel is in comparison with its height, by the container or else by the pictures; 1 if odd.

    Source: ITU-T H.264, table E-1; ISO/IEC 14496-12, section 12.1.4.2 ('pasp').
    """
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    if not aspect or not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
        return Fraction(1)
    return Fraction(aspect)


class Orientation(NamedTuple):
    """How stored frames are turned: rows and columns change places, then the picture is mirrored."""

    is_transposed: bool
    is_mirrored_x: bool
    is_mirrored_y: bool


def upright_picture(
    frame: Any,
    reformatter: Any,
    aspect: Fraction,
    orientation: Orientation,
    *,
    max_side_px: int | None,
    max_pixels: int,
    shape: tuple[int, ...] | None = None,
) -> np.ndarray:
    """The frame as uint8 (H, W, 3), the way a player shows it.

    Args:
        frame: libav's decoded frame.
        reformatter: PyAV's `VideoReformatter`; one for all frames of a video, as each has threads of its own.
        aspect: width of a stored pixel over its height; the picture is widened or heightened by it, never narrowed.
        orientation: of the whole video, by `orientation_of`.
        max_side_px: larger pictures are shrunk to this longest side; None keeps their size.
        max_pixels: pictures that `aspect` makes larger than that are shrunk, too.
        shape: what the picture must have, of an earlier one; None lets the frame decide.
    """
    is_transposed, is_mirrored_x, is_mirrored_y = orientation
    if shape is not None:
        height_px, width_px = shape[1::-1] if is_transposed else shape[:2]
    else:
        width, height = float(frame.width * max(aspect, 1)), float(frame.height / min(aspect, 1))
        scale = min(1.0, (max_side_px or math.inf) / max(width, height), math.sqrt(max_pixels / (width * height)))
        width_px, height_px = max(1, round(width * scale)), max(1, round(height * scale))
    size = {"width": width_px, "height": height_px}
    rgb_HW3 = reformatter.reformat(frame, **size, format="rgb24", interpolation="AREA").to_ndarray()
    if is_transposed:
        rgb_HW3 = rgb_HW3.transpose(1, 0, 2)
    return np.ascontiguousarray(rgb_HW3[:: -1 if is_mirrored_y else 1, :: -1 if is_mirrored_x else 1])


def orientation_of(frame: Any) -> Orientation:
    """How a video's frames are turned, by its first one.

    It must not be asked of every frame: PyAV's frames whose side data were looked at refer to themselves, and their
    memory is only freed much later.
    The display matrix takes a stored point (x, y) to (a x + c y, b x + d y); any one becomes the nearest of eight.
    Source: ISO/IEC 14496-12, section 6.2.2.
    """
    a, b, c, d = _display_matrix(frame)
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, c < 0, b < 0)
    return Orientation(False, a < 0, d < 0)


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """(a, b, c, d) of the frame's display matrix, that of no change without one."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except (ValueError, IndexError):  # PyAV stumbles over side data that it has no name for
        quarter_turns = round(frame.rotation / 90) % 4
        return ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))[quarter_turns]
    if matrix is None or matrix.buffer_size < _MATRIX.size:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = _MATRIX.unpack_from(bytes(matrix))
    return a, b, c, d
