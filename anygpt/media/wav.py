"""WAV files: what is needed of one, the format and the samples, as a tidy file that any reader understands.

Recorders and editors leave headers behind that do not fit: sizes that count too much or nothing, chunks without their
byte of padding, a list that is not as long as it says. None of that keeps a sound from being read, so only the samples'
own size decides whether something is missing.
Source: Multimedia Programming Interface and Data Specifications 1.0 (RIFF); EBU Tech 3306 (RF64); Sony Wave64.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np

from anygpt.errors import MediaError

_Order: TypeAlias = Literal["big", "little"]

_PCM, _FLOATS, _EXTENSIBLE = 1, 3, 0xFFFE  # codes of formats
_BYTES_UNKNOWN = 0x7FFF0000  # what recorders into a pipe write is this or more
_MAX_CHUNKS = 10_000  # no sound has so many
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_KNOWN_CHUNKS = (
    *(b"fmt ", b"data", b"fact", b"LIST", b"list", b"bext", b"JUNK", b"junk", b"PEAK", b"cue ", b"smpl", b"inst"),
    *(b"iXML", b"axml", b"id3 ", b"ID3 ", b"PAD ", b"FLLR", b"ds64", b"minf", b"elm1", b"regn", b"umid", b"afsp"),
)


def is_wav(data: bytes) -> bool:
    """Whether the content is a WAV file, also a long one (RF64, BW64, Wave64)."""
    return (data.startswith((b"RIFF", b"RIFX", b"RF64", b"BW64")) and data[8:12] == b"WAVE") or is_wave64(data)


def is_wave64(data: bytes) -> bool:
    """Whether the content is a Wave64 file."""
    return data.startswith(_W64_RIFF) and data[24:28] == b"wave"


def tidy_wav(data: bytes, name: str) -> bytes:
    """The same sound in a little-endian RIFF file of two or three chunks whose sizes are right.

    Raises:
        MediaError: if not all samples that the file promises are there.
    """
    order: _Order = "big" if data.startswith(b"RIFX") else "little"
    kept = {b"fmt ": b"", b"fact": b""}
    samples: bytes | memoryview | None = None
    for kind, at, promised in _wave64_chunks(data) if is_wave64(data) else _chunks(data, order):
        if kind in kept and not kept[kind]:
            kept[kind] = data[at : at + promised]
        elif kind == b"data" and samples is None:
            samples = memoryview(data)[at : at + _size_that_is_there(data, at, promised, name, order)]
        if samples is not None and kept[b"fmt "]:
            break
    riff_bytes = int.from_bytes(data[4:8], order) + 8
    if samples is None and len(data) < riff_bytes < _BYTES_UNKNOWN:
        raise _cut_off(name, len(data), riff_bytes)
    if order == "big" and samples is not None:
        kept, samples = _little_endian(kept, samples)
    kept[b"fmt "] = _with_bits_of_blocks(kept[b"fmt "])
    chunks = [(kind, content) for kind, content in kept.items() if content]
    head = b"".join(kind + struct.pack("<I", len(c)) + c + bytes(len(c) % 2) for kind, c in chunks)
    if samples is not None:
        head += b"data" + struct.pack("<I", len(samples))
    size = 4 + len(head) + (0 if samples is None else len(samples))
    return b"".join((b"RIFF" + struct.pack("<I", size) + b"WAVE", head, samples or b""))


def _little_endian(
    kept: dict[bytes, bytes], samples: bytes | memoryview
) -> tuple[dict[bytes, bytes], bytes | memoryview]:
    """The chunks of a RIFX file of whole numbers or floats with their bytes the other way round."""
    if len(kept[b"fmt "]) < 16:
        return kept, samples
    code, *_, bits = fields = struct.unpack_from(">HHIIHH", kept[b"fmt "])
    width = (bits + 7) // 8
    if code in (_PCM, _FLOATS) and width > 1:
        whole = len(samples) // width * width
        samples = np.frombuffer(samples, np.uint8, whole).reshape(-1, width)[:, ::-1].tobytes()
    return {b"fmt ": struct.pack("<HHIIHH", *fields)}, samples


def _with_bits_of_blocks(fmt: bytes) -> bytes:
    """The format with as many bits as the samples take in the file, where it names fewer: 24 in 4 bytes, say.

    Samples are at the upper end of what they take.
    """
    if len(fmt) < 16:
        return fmt
    code, channels, _, _, block_bytes, bits = struct.unpack_from("<HHIIHH", fmt)
    if code == _EXTENSIBLE and len(fmt) >= 26:
        (code,) = struct.unpack_from("<H", fmt, 24)
    width = block_bytes // channels if channels else 0
    if code != _PCM or block_bytes != width * channels or width <= (bits + 7) // 8:
        return fmt
    return fmt[:14] + struct.pack("<H", 8 * width) + fmt[16:]


def _chunks(data: bytes, order: _Order) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's kind, where its content starts and how many bytes it promises."""
    at, long_bytes, found_samples = 12, 0, False
    for _ in range(_MAX_CHUNKS):
        kind = data[at : at + 4]
        if at + 8 > len(data) or not kind.isascii():
            break
        size = int.from_bytes(data[at + 4 : at + 8], order)
        if kind == b"ds64" and len(data) >= at + 24:
            (long_bytes,) = struct.unpack_from("<Q", data, at + 16)
        if kind == b"data" and size == 0xFFFFFFFF and long_bytes:
            size = long_bytes
        found_samples |= kind == b"data"
        yield kind, at + 8, size
        end = at + 8 + size
        # A chunk of an odd size is followed by a byte of padding, which some writers forget.
        at = end if data[end : end + 4] in _KNOWN_CHUNKS else end + size % 2
    if not found_samples and (found := data.find(b"data", 12)) >= 0:  # a chunk before it was shorter than it says
        yield b"data", found + 8, int.from_bytes(data[found + 4 : found + 8], order)


def _wave64_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """As `_chunks`, in a file whose kinds have 16 bytes and whose sizes have 8 and count their own heads."""
    at = 40
    for _ in range(_MAX_CHUNKS):
        if at + 24 > len(data):
            break
        (size,) = struct.unpack_from("<Q", data, at + 16)
        yield data[at : at + 4], at + 24, max(size - 24, 0)
        at += max(size + -size % 8, 24)


def _size_that_is_there(data: bytes, at: int, promised: int, name: str, order: _Order) -> int:
    """How many bytes of samples there are; what is promised counts, unless the writer did not know it."""
    there = max(len(data) - at, 0)
    is_unknown = promised >= _BYTES_UNKNOWN and promised > there
    if is_unknown or (promised == 0 and data[at : at + 4] not in _KNOWN_CHUNKS):
        return there
    if promised <= there + 1:  # the last byte may be one of padding
        return min(promised, there)
    counts_whole_file = promised in (len(data), len(data) - 8)
    if counts_whole_file or int.from_bytes(data[4:8], order) + 8 == len(data):
        return there
    raise _cut_off(name, len(data), at + promised)


def _cut_off(name: str, there: int, promised: int) -> MediaError:
    return MediaError(
        f"{name}: cut off, {there:,} of {promised:,} bytes are there, expected a complete file; save or send it again"
    )
