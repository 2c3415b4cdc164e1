"""GIF files: how many frames they have and whether the last one is all there, without decoding any.

Source: GIF89a specification, sections 17 to 23.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SIGNATURES = (b"GIF87a", b"GIF89a")
_EXTENSION, _IMAGE = 0x21, 0x2C
_CONTROL, _TRAILER = b"\xf9", b";"


@dataclass(frozen=True)
class GifLayout:
    """What a GIF's blocks tell.

    Attributes:
        width_px, height_px: of the canvas, which every frame is drawn on.
        frames: whole frames, or `max_frames` + 1 where there are more than were looked at.
        content: those frames alone as a GIF, without comments, padding and what stands behind the end.
        ends_inside_frame: True if a further one begins and is not all there.
    """

    width_px: int
    height_px: int
    frames: int
    content: bytes
    ends_inside_frame: bool


def is_gif(data: bytes) -> bool:
    """Whether the content is a GIF with a canvas."""
    return data.startswith(_SIGNATURES) and len(data) >= 10


def gif_layout(data: bytes, *, max_frames: int) -> GifLayout:
    """Walk over a GIF's blocks up to its last frame, or until there are more than `max_frames`."""
    width_px, height_px = struct.unpack_from("<HH", data, 6)
    at = 13 + _table_bytes(data, 10)
    content, control = bytearray(data[:at]), b""  # what says how the next frame is drawn
    frames, is_cut = 0, False
    while at < len(data) and frames <= max_frames:
        start, kind = at, data[at]
        if kind == _IMAGE:
            at = _end_of_sub_blocks(data, at + 11 + _table_bytes(data, at + 9))
            is_cut = at > len(data)
            if is_cut:
                break
            content += control + data[start:at]
            frames, control = frames + 1, b""
        elif kind == _EXTENSION:
            at = _end_of_sub_blocks(data, at + 2)
            if data[start + 1 : start + 2] == _CONTROL:
                control = data[start:at]
        elif kind:  # the trailer, or bytes that belong to nothing
            break
        else:  # zeros, which some writers leave between blocks
            at += 1
    return GifLayout(width_px, height_px, frames, bytes(content) + _TRAILER, is_cut)


def _table_bytes(data: bytes, at: int) -> int:
    """Bytes of the colour table that the flags at this place announce."""
    flags = data[at] if at < len(data) else 0
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0


def _end_of_sub_blocks(data: bytes, at: int) -> int:
    """Where a chain of sub-blocks ends, behind its empty last one; beyond the data if that is missing."""
    while at < len(data):
        if not data[at]:
            return at + 1
        at += data[at] + 1
    return len(data) + 1
