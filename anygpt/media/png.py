"""PNG files: what is needed of one, without chunks that damage or weigh it down.

Source: Portable Network Graphics (third edition), sections 5.3 to 5.6 and 13.
"""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def tidy_png(data: bytes) -> tuple[bytes, bytes]:
    """A PNG without damaged chunks that may be left out, without its EXIF data and without what follows the end.

    Returns:
        The file, and its EXIF data (empty without).
    """
    pieces, exif, at = [SIGNATURE], b"", len(SIGNATURE)
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + size
        if end > len(data):
            break
        may_be_left_out = bool(kind[0] & 0x20)
        if not may_be_left_out:
            pieces.append(data[at:end])
        elif zlib.crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big"):
            if kind == b"eXIf":
                exif = exif or data[at + 8 : end - 4]
            else:
                pieces.append(data[at:end])
        at = end
        if kind == b"IEND":
            return b"".join(pieces), exif
    return b"".join((*pieces, data[at:])), exif
