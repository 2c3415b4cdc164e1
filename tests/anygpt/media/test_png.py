"""PNG files with damaged or heavy chunks that their pixels do not need.

Legend: H height, W width.
"""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from anygpt.errors import MediaError
from anygpt.media import load_image
from tests.anygpt.media.test_jpeg import exif

PIXELS_HW3 = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)


def png(**options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS_HW3).save(buffer, "PNG", **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes, *, is_damaged: bool = False) -> bytes:
    checksum = zlib.crc32(kind + content) ^ is_damaged
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def behind_header(data: bytes, *chunks: bytes) -> bytes:
    return data[:33] + b"".join(chunks) + data[33:]


WHOLE = {
    "bytes behind the end": png() + b"\r\n</body>" * 30,
    "a line break before": b"\n" + png(),
    "no end": png()[:-12],
    "a damaged text": behind_header(png(), chunk(b"tEXt", b"a\0b", is_damaged=True)),
    "a damaged colour profile": behind_header(png(), chunk(b"iCCP", b"a\0\0" + zlib.compress(b"b"), is_damaged=True)),
    "a damaged gamma": behind_header(png(), chunk(b"gAMA", struct.pack(">I", 45_455), is_damaged=True)),
    "a damaged transparency": behind_header(png(), chunk(b"tRNS", b"\0" * 6, is_damaged=True)),
    "a colour profile that is none": behind_header(png(), chunk(b"iCCP", b"a\0\0no profile")),
    "chunks of no known kind": behind_header(png(), chunk(b"zzZz", b"abc"), chunk(b"caBX", bytes(500))),
}


@pytest.mark.parametrize("case", WHOLE)
def test_load_image_reads_a_png_whose_pixels_are_whole(case: str) -> None:
    assert np.array_equal(np.asarray(load_image(WHOLE[case])), PIXELS_HW3)


def test_load_image_refuses_a_png_whose_header_is_damaged() -> None:
    data = png()
    with pytest.raises(MediaError, match="expected a complete"):
        load_image(data[:29] + b"abcd" + data[33:])


def test_load_image_reads_16_bits_of_each_colour_to_the_nearest_8() -> None:
    levels_HW3 = np.random.default_rng(0).integers(0, 65_536, (3, 5, 3))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels_HW3)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 3, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.abs(np.asarray(load_image(data)) - levels_HW3 / 257).max() <= 1


@pytest.mark.parametrize("before_pixels", [True, False])
def test_load_image_turns_by_exif_data_before_and_behind_the_pixels(before_pixels: bool) -> None:
    content = chunk(b"eXIf", exif(6).removeprefix(b"Exif\0\0"))
    data = behind_header(png(), content) if before_pixels else png()[:-12] + content + png()[-12:]
    assert np.array_equal(np.asarray(load_image(data)), np.rot90(PIXELS_HW3, -1))


def test_load_image_turns_by_exif_data_as_imagemagick_writes_them() -> None:
    digits = exif(8).hex()
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(digits) // 2:8}\n{digits}\n", zip=True)
    assert np.array_equal(np.asarray(load_image(png(pnginfo=text))), np.rot90(PIXELS_HW3, 1))


def test_load_image_reads_the_orientation_alone_of_exif_data_that_list_1_gb() -> None:
    listing = exif(6, entries=2000, bytes_each=500_000).removeprefix(b"Exif\0\0")
    data = behind_header(png(), chunk(b"eXIf", listing))
    tracemalloc.start()
    image = load_image(data)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert image.size == (9, 12)
    assert peak_bytes < 5_000_000


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_load_image_unpacks_no_bomb(kind: bytes) -> None:
    data = behind_header(png(), chunk(kind, b"a\0\0" + zlib.compress(bytes(1 << 26))))
    tracemalloc.start()
    with pytest.raises(MediaError, match="too large"):
        load_image(data)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 5_000_000
