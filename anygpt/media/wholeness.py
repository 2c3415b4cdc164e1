"""Whether a sound or video file ends before what it needs: told by its pieces' sizes, not by headers of the whole.

Headers of whole files lie: durations that are clock times, sizes that a recorder never went back to fill in, junk at
the end. A piece that begins and is not all there is another matter: then the file was cut off on its way.
"""

from __future__ import annotations

from collections.abc import Iterator

from anygpt.errors import MediaError

_MAX_PIECES = 2_000_000  # so many are looked at; no file of a sensible size has more
_EBML_SEGMENT, _EBML_CLUSTER, _EBML_BLOCK, _EBML_BLOCK_GROUP = 0x18538067, 0x1F43B675, 0xA3, 0xA0
_EBML_INSIDE_CLUSTERS = (0xE7, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, 0x5854, 0xEC, 0xBF)


def check_whole(data: bytes, demuxer: str, name: str) -> None:
    """Refuse a file whose last piece is not all there.

    Args:
        data: the file.
        demuxer: libav's name of its kind; MP3 and the like have no pieces to go by and pass.
        name: what the message calls the file.
    Raises:
        MediaError: if it is cut off.
    """
    missing = {"ogg": _cut_page, "matroska": _cut_cluster, "mov": _cut_box, "aiff": _cut_chunk, "caf": _cut_chunk}
    piece = missing[demuxer](data) if demuxer in missing else None
    if piece is not None:
        raise MediaError(f"{name}: damaged, cut off inside {piece}, expected a complete file; save or send it again")


def _cut_page(data: bytes) -> str | None:
    """An OGG page that is not all there while the sound has not ended; what follows the end does not count.

    Source: RFC 3533, section 6.
    """
    at = 0
    open_streams: set[bytes] = set()
    for _ in range(_MAX_PIECES):
        at = data.find(b"OggS", at)
        if at < 0:
            return None
        flags, serial, segments = data[at + 5 : at + 6], data[at + 14 : at + 18], data[at + 26 : at + 27]
        end = at + 27 + (segments[0] + sum(data[at + 27 : at + 27 + segments[0]]) if segments else 0)
        if len(data) < max(end, at + 28):
            return "a page" if open_streams or at == 0 else None
        (open_streams.discard if flags[0] & 4 else open_streams.add)(serial)
        at = end
    return None


def _cut_chunk(data: bytes) -> str | None:
    """The samples of an AIFF or CAF, if they are not all there; CAF's size of -1 means "up to the end".

    Source: Audio Interchange File Format 1.3; Apple Core Audio Format Specification 1.0.
    """
    is_caf = data.startswith(b"caff")
    at, size_bytes, wanted = (8, 8, b"data") if is_caf else (12, 4, b"SSND")
    for _ in range(_MAX_PIECES):
        head_end = at + 4 + size_bytes
        if len(data) < head_end:
            return None
        size = int.from_bytes(data[at + 4 : head_end], "big", signed=is_caf)
        if data[at : at + 4] == wanted:
            return "its samples" if head_end + size > len(data) else None
        if size < 0:
            return None
        at = head_end + size + (0 if is_caf else size % 2)
    return None


def _cut_box(data: bytes) -> str | None:
    """A box of the index, or the media of a fragment; whether the media of a plain MP4 are there its index tells.

    Source: ISO/IEC 14496-12, section 4.2.
    """
    is_fragmented = False
    for kind, at, size in _boxes(data):
        is_fragmented |= kind == b"moof"
        if at + size > len(data) and (kind in (b"moov", b"moof") or (kind == b"mdat" and is_fragmented)):
            return f"its box {kind.decode()!r}"
    return None


def media_box_is_cut(data: bytes) -> bool:
    """Whether an MP4 ends inside the box that holds its media."""
    return any(kind == b"mdat" and at + size > len(data) for kind, at, size in _boxes(data))


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind, place and size of each outermost box of an MP4."""
    at = 0
    for _ in range(_MAX_PIECES):
        if at + 8 > len(data):
            return
        size, head_bytes = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head_bytes = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif size == 0:
            size = len(data) - at
        if size < head_bytes:
            return
        yield data[at + 4 : at + 8], at, size
        at += size


def _cut_cluster(data: bytes) -> str | None:
    """A cluster or block of a WebM or MKV that is not all there; the size of the whole is not asked for.

    Source: RFC 8794 (EBML), section 4 to 6; RFC 9559 (Matroska), section 5.
    """
    at = inside = 0  # inside: 1 in the segment, 2 in a cluster whose size is unknown
    for _ in range(_MAX_PIECES):
        element = _ebml_element(data, at)
        if element is None:
            return None
        kind, start, size = element
        if inside == 2 and kind not in _EBML_INSIDE_CLUSTERS:
            inside = 1
        if kind == _EBML_SEGMENT:
            at, inside = start, 1
        elif kind == _EBML_CLUSTER and size is None:
            at, inside = start, 2
        elif size is None:
            return None
        elif start + size > len(data):
            is_needed = kind in (_EBML_CLUSTER, _EBML_BLOCK, _EBML_BLOCK_GROUP)
            return {_EBML_CLUSTER: "a cluster"}.get(kind, "a block") if inside and is_needed else None
        else:
            at = start + size
    return None


def _ebml_element(data: bytes, at: int) -> tuple[int, int, int | None] | None:
    """An element's id, where its content starts and its size (None: unknown); None where there is none."""
    id_bytes = _vint_bytes(data, at, 4)
    size_bytes = _vint_bytes(data, at + id_bytes, 8) if id_bytes else 0
    start = at + id_bytes + size_bytes
    if not size_bytes or start > len(data):
        return None
    size = int.from_bytes(data[at + id_bytes : start], "big") & ((1 << 7 * size_bytes) - 1)
    return (
        int.from_bytes(data[at : at + id_bytes], "big"),
        start,
        None if size == (1 << 7 * size_bytes) - 1 else size,
    )


def _vint_bytes(data: bytes, at: int, most: int) -> int:
    """How many bytes the number takes that starts here, by its leading zeros; 0 if it is none."""
    count = 9 - data[at].bit_length() if at < len(data) else 0
    return count if 0 < count <= most else 0
