"""JPEG files: how often their pixels are gone over, whether all scans are there, and only what decoding needs of them.

Source: ITU-T T.81, annexes B and G.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from anygpt.errors import MediaError

_FRAME_HEADERS = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_ARITHMETIC = range(0xC9, 0xD0)  # frame headers of arithmetic coding, which takes 100 times as long; 0xCC is a table
_TABLES = (0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF)
_RESTARTS = range(0xD0, 0xD8)
_START, _END, _SCAN, _JFIF, _EXIF, _ADOBE = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xEE
_MAX_SEGMENTS = 100_000
_END_OF_IMAGE = b"\xff\xd9"
# Entropy-coded bits that differ from the zeros which a decoder makes up for missing ones, in several ways: any one of
# them could happen to mean "nothing more here" in the codes of the picture.
_OTHER_BITS = (b"\x55" * 64, b"\xaa" * 64, b"\x6c\xd2" * 64, bytes(251 - 7 * index % 251 for index in range(192)))


@dataclass(frozen=True)
class TidyJpeg:
    """The first picture of a JPEG file.

    Attributes:
        content: tables, headers and scans, with the mark of the end; no thumbnails, profiles or comments.
        exif: its EXIF data, empty without.
        other_ends: none if the mark of the end was there. Else the same with other bits in the place of those that may
            be missing: all decode to the same pixels if none are.
    """

    content: bytes
    exif: bytes
    other_ends: tuple[bytes, ...] = ()


def tidy_jpeg(data: bytes, name: str, *, max_scans: int) -> TidyJpeg:
    """Walk over the file's segments without decoding any pixels.

    Raises:
        MediaError: if there are more scans than `max_scans`, some are missing, or they are arithmetic-coded.
    """
    pieces, seen, exif = [b"\xff\xd8"], set[int](), b""
    scans, progress, has_end = 0, _Progress(), False
    for marker, at, end in _segments(data, name):
        segment = data[at + 2 : end]
        has_end = marker == _END
        if marker == _EXIF and segment.startswith(b"Exif\0\0"):
            exif = exif or segment
        elif marker in _FRAME_HEADERS:
            if marker in _ARITHMETIC:
                raise MediaError(f"{name}: an arithmetic-coded JPEG given, expected a Huffman-coded one; save it again")
            progress.begin(segment)
        elif marker == _SCAN:
            scans += 1
            if scans > max_scans:
                raise MediaError(
                    f"{name}: {scans:,} scans or more given, expected at most {max_scans:,}; save it again as a "
                    "baseline JPEG or raise max_scans"
                )
            progress.add(segment)
            end = _end_of_scan(data, end)
        if _is_needed(marker, segment, seen):
            seen.add(marker)
            pieces.append(b"\xff" + bytes([marker]) + data[at:end])
    if not scans:
        return TidyJpeg(data, exif)
    content = b"".join(pieces)
    if has_end:
        return TidyJpeg(content + _END_OF_IMAGE, exif)
    if not progress.is_complete():
        raise cut_off(name)
    restarts = _restarts_to_come(pieces[-1])
    others = tuple(content + bits + b"".join(mark + bits for mark in restarts) + _END_OF_IMAGE for bits in _OTHER_BITS)
    return TidyJpeg(content + _END_OF_IMAGE, exif, others)


def _segments(data: bytes, name: str) -> Iterator[tuple[int, int, int]]:
    """Each segment's marker, where its length stands and where it ends, up to the mark of the end."""
    at = 2
    for _ in range(_MAX_SEGMENTS):
        found = _next_marker(data, at)
        if found is None:
            return
        marker, at = found
        if marker in _RESTARTS or marker in (0x01, _START):
            continue
        end = at if marker == _END else at + max(int.from_bytes(data[at : at + 2], "big"), 2)
        yield marker, at, end
        if marker == _END:
            return
        at = _end_of_scan(data, end) if marker == _SCAN else end
    raise MediaError(f"{name}: more than {_MAX_SEGMENTS:,} segments given, expected a picture; save it again")


def _is_needed(marker: int, segment: bytes, seen: set[int]) -> bool:
    """Whether decoding needs a segment: tables, headers, scans, and the first of those that tell what colours are."""
    if marker in (_JFIF, _ADOBE):
        return marker not in seen and segment.startswith(b"JFIF\0" if marker == _JFIF else b"Adobe")
    return marker in _TABLES or marker in _FRAME_HEADERS or marker == _SCAN


def cut_off(name: str) -> MediaError:
    return MediaError(f"{name}: damaged, cut off inside its scans, expected a complete image; save or send it again")


class _Progress:
    """Which coefficients of which components the scans so far give to their last bit."""

    def __init__(self) -> None:
        self._whole: dict[int, set[int]] = {}

    def begin(self, frame_header: bytes) -> None:
        self._whole = {component: set() for component in frame_header[6::3]}

    def add(self, scan_header: bytes) -> None:
        count = scan_header[0] if scan_header else 0
        if len(scan_header) < 4 + 2 * count or scan_header[3 + 2 * count] & 0x0F:  # bits that later scans refine
            return
        first, last = scan_header[1 + 2 * count : 3 + 2 * count]
        for component in scan_header[1 : 1 + 2 * count : 2]:
            self._whole.setdefault(component, set()).update(range(first, last + 1))

    def is_complete(self) -> bool:
        return bool(self._whole) and all(len(given) >= 64 for given in self._whole.values())


def _restarts_to_come(scan: bytes) -> list[bytes]:
    """The restart markers that would follow those of a scan."""
    last = max(((scan.rfind(b"\xff" + bytes([marker])), marker) for marker in _RESTARTS), key=lambda found: found[0])
    following = last[1] + 1 if last[0] >= 0 else _RESTARTS[0]
    return [b"\xff" + bytes([_RESTARTS[(following + index) % 8]]) for index in range(8)]


def _next_marker(data: bytes, at: int) -> tuple[int, int] | None:
    """The next marker and the place behind it; None if there is none any more."""
    at = data.find(b"\xff", at)
    while 0 <= at < len(data) - 1:
        if data[at + 1] not in (0x00, 0xFF):
            return data[at + 1], at + 2
        at = data.find(b"\xff", at + 1)
    return None


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the entropy-coded data that start here end: at the next marker that is no restart, or the file's end."""
    at = data.find(b"\xff", at)
    while 0 <= at < len(data) - 1:
        if data[at + 1] not in (0x00, 0xFF) and data[at + 1] not in _RESTARTS:
            return at
        at = data.find(b"\xff", at + 1)
    return len(data) - data.endswith(b"\xff")
