"""GIF files: how many frames they have and where the last whole one ends, without decoding any.

Source: GIF89a specification, sections 17 to 23.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SIGNATURES = (b"GIF87a", b"GIF89a")
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_MAX_GAPS = 10_000


@dataclass(frozen=True)
class GifLayout:
    """What a GIF's blocks tell.

    Attributes:
        width_px, height_px: of the canvas, which every frame is drawn on.
        frames: whole frames, or `max_frames` + 1 where there are more than were counted.
        end: where the last of them ends, in bytes.
        gaps: places of zeros that some writers leave between blocks.
        ends_inside_frame: True if a further one begins and is not all there.
    """

    width_px: int
    height_px: int
    frames: int
    end: int
    gaps: tuple[int, ...]
    ends_inside_frame: bool


def is_gif(data: bytes) -> bool:
    """Whether the content is a GIF with a canvas."""
    return data.startswith(_SIGNATURES) and len(data) >= 10


def gif_layout(data: bytes, *, max_frames: int) -> GifLayout:
    """Walk over a GIF's blocks up to its last frame, or until there are more than `max_frames`."""
    width_px, height_px = struct.unpack_from("<HH", data, 6)
    at = 13 + _table_bytes(data, 10)
    frames, end, is_cut = 0, at, False
    gaps: list[int] = []
    while at < len(data) and frames <= max_frames:
        if data[at] == _IMAGE:
            at = _end_of_sub_blocks(data, at + 11 + _table_bytes(data, at + 9))
            is_cut = at > len(data)
            frames, end = (frames, end) if is_cut else (frames + 1, at)
        elif data[at] == _EXTENSION:
            at = _end_of_sub_blocks(data, at + 2)
        elif not data[at] and len(gaps) < _MAX_GAPS:
            gaps.append(at)
            at += 1
        else:  # the trailer, or bytes that belong to nothing
            break
    return GifLayout(width_px, height_px, frames, end, tuple(gap for gap in gaps if gap < end), is_cut)


def tidy_gif(data: bytes, layout: GifLayout) -> bytes:
    """The frames of a GIF and the mark of the end, without what stands between and behind them."""
    starts, ends = [0, *(gap + 1 for gap in layout.gaps)], [*layout.gaps, layout.end]
    pieces = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    return b"".join((*pieces, bytes([_TRAILER])))


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
