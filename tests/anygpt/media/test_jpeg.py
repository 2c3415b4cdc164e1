"""JPEG files as they come: junk around them, no mark of the end, too many scans.

Legend: H height, W width.
"""

from __future__ import annotations

import io
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from anygpt.errors import MediaError
from anygpt.media import ImageLimits, load_image

ORIENTATION_TAG = 0x0112


def smooth(width: int = 48, height: int = 33) -> Image.Image:
    """Colours that JPEG hardly changes."""
    y_HW, x_HW = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([4 * x_HW, 5 * y_HW, 255 - 3 * x_HW], axis=-1).clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image | None = None, kind: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    (image or smooth()).save(buffer, kind, **{"quality": 95, "subsampling": 0, **options})
    return buffer.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(content)) + content


def behind_start(data: bytes, *segments: bytes) -> bytes:
    return data[:2] + b"".join(segments) + data[2:]


def exif(orientation: int = 6, entries: int = 1, bytes_each: int = 0) -> bytes:
    """EXIF data with so many entries that all point at the same bytes, and the orientation as the last one."""
    listed = [struct.pack("<HHII", tag + 1, 7, bytes_each, 8) for tag in range(entries - 1)]
    listed.append(struct.pack("<HHIHH", ORIENTATION_TAG, 3, 1, orientation, 0))
    content = b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + b"".join(listed) + bytes(4)
    return b"Exif\0\0" + content + bytes(max(bytes_each - len(content), 0))


def many_scans(count: int, width: int, height: int) -> bytes:
    """A progressive JPEG that goes so many times over all its pixels; a scan of them takes some tens of bytes."""
    blocks = -(-width // 8) * -(-height // 8)
    data = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64)
    data += segment(0xC2, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0))
    data += segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0")  # the one code of brightness: as the block before
    data += segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0")  # and of detail: none in the next 16,384 and more
    data += segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-blocks // 8))
    runs = -(-blocks // 16_384)
    return data + (segment(0xDA, b"\1\1\0\1\x3f\0") + bytes(-(-15 * runs // 8))) * (count - 1) + b"\xff\xd9"


WHOLE = {
    "bytes behind the end": jpeg() + b"\r\n</body>" * 30,
    "another start behind the end": jpeg() + b"\xff\xd8\xff\xe0junk",
    "two ends": jpeg() + b"\xff\xd9",
    "no end": jpeg()[:-2],
    "half an end": jpeg()[:-1],
    "zeros for the end": jpeg()[:-2] + bytes(512),
    "filling bytes between segments": jpeg()[:2] + b"\xff\xff\xff" + jpeg()[2:],
    "a line break before": b"\r\n" + jpeg(),
    "a byte order mark before": b"\xef\xbb\xbf" + jpeg(),
    "many comments": behind_start(jpeg(), segment(0xFE, b"abc") * 3000),
    "broken EXIF data": behind_start(jpeg(), segment(0xE1, b"Exif\0\0IIxxxxxx")),
}


@pytest.mark.parametrize("case", WHOLE)
def test_load_image_reads_a_whole_jpeg(case: str) -> None:
    expected = Image.open(io.BytesIO(jpeg())).convert("RGB")
    assert np.array_equal(np.asarray(load_image(WHOLE[case])), np.asarray(expected))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}, {"subsampling": 2}])
def test_load_image_reads_a_jpeg_without_an_end_only_if_all_its_pixels_are_there(options: dict) -> None:
    data = jpeg(**options)
    whole = load_image(data).tobytes()
    assert load_image(data[:-2]).tobytes() == whole
    read = 0
    for end in range(len(data) - 300, len(data) - 3):
        try:
            pixels = load_image(data[:end]).tobytes()
        except MediaError as error:
            assert "damaged, cut off" in str(error)
        else:
            assert pixels == whole
            read += 1
    assert read <= 2


def test_load_image_takes_the_first_picture_of_several() -> None:
    expected = Image.open(io.BytesIO(jpeg())).convert("RGB")
    several = jpeg(kind="MPO", save_all=True, append_images=[smooth().rotate(180)])
    assert several.count(b"\xff\xd8\xff") == 2
    assert np.array_equal(np.asarray(load_image(several)), np.asarray(expected))


def test_load_image_reads_inks_and_brightness_alone() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.allclose(load_image(jpeg(red)), (255, 0, 0), atol=4)
    assert np.allclose(load_image(jpeg(Image.new("L", (16, 16), 77))), 77, atol=2)


def test_load_image_reads_plain_red_green_and_blue() -> None:
    """By Adobe's segment, or by the components' names where there is neither that one nor JFIF's."""
    data = jpeg(Image.new("RGB", (16, 16), (200, 40, 90)), keep_rgb=True)
    assert b"Adobe" in data
    assert np.allclose(load_image(data), (200, 40, 90), atol=3)


@pytest.mark.parametrize("orientation", [1, 2, 6])
def test_load_image_turns_by_exif_data_among_other_segments(orientation: int) -> None:
    data = behind_start(jpeg(), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), segment(0xE1, exif(orientation)))
    upright = {1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 6: Image.Transpose.ROTATE_270}[orientation]
    expected = Image.open(io.BytesIO(jpeg())).convert("RGB")
    assert load_image(data).tobytes() == (expected if upright is None else expected.transpose(upright)).tobytes()


def test_load_image_reads_the_orientation_alone_of_exif_data_that_list_300_mb() -> None:
    data = behind_start(jpeg(), segment(0xE1, exif(6, entries=5000, bytes_each=65_000)))
    load_image(data)
    tracemalloc.start()
    image = load_image(data)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert image.size == (33, 48)
    assert peak_bytes < 5_000_000


def test_load_image_refuses_a_jpeg_of_many_scans_before_it_decodes_any() -> None:
    data = many_scans(101, 8000, 6000)
    assert len(data) < 110_000
    allocated = Image.core.get_stats()["new_count"]
    with pytest.raises(MediaError, match="101 scans or more given, expected at most 100; save it again as a baseline"):
        load_image(data)
    assert Image.core.get_stats()["new_count"] == allocated


def test_load_image_holds_jpegs_to_the_given_number_of_scans() -> None:
    assert load_image(many_scans(10, 64, 64)).size == (64, 64)
    with pytest.raises(MediaError, match=r"10 scans or more given, expected at most 9; .* or raise max_scans"):
        load_image(many_scans(10, 64, 64), ImageLimits(max_scans=9))
    assert load_image(jpeg(progressive=True)).size == smooth().size


@pytest.mark.parametrize("marker", [0xC9, 0xCA, 0xCD])
def test_arithmetic_coding_is_refused(marker):
    """A few kilobytes of it took a minute to decode."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    data = buffer.getvalue().replace(b"\xff\xc0", bytes([0xFF, marker]), 1)
    with pytest.raises(MediaError, match="an arithmetic-coded JPEG given, expected a Huffman-coded one; save it again"):
        load_image(data)
