"""WebP files: the size of their canvas, and the right size of the whole.

Source: WebP container specification (RFC 9649), sections 2.4 to 2.7.
"""

from __future__ import annotations

import struct


def is_webp(data: bytes) -> bool:
    """Whether the content is a WebP picture."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30


def webp_canvas_px(data: bytes) -> tuple[int, int]:
    """The (width, height) that the header claims."""
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width_px, height_px = struct.unpack_from("<HH", data, 26)
    return width_px & 0x3FFF, height_px & 0x3FFF


def tidy_webp(data: bytes) -> bytes:
    """The same picture under the size that its chunks have; as it was if the last of them is not all there."""
    at = 12
    while at + 8 <= len(data) and data[at : at + 4].isascii() and data[at : at + 4].strip(b"\0"):
        (size,) = struct.unpack_from("<I", data, at + 4)
        end = at + 8 + size + size % 2
        if end > len(data) + size % 2:
            return data
        at = end
    at = min(at, len(data))
    return data[:4] + struct.pack("<I", at - 8) + data[8:at]
