"""Orientations and directories, read from their bytes."""

from __future__ import annotations

import io
import struct
import tracemalloc

import pytest
from PIL import Image

from anygpt.errors import MediaError
from anygpt.media import load_image
from anygpt.media.exif import orientation_of
from tests.anygpt.media.test_jpeg import exif


def pillow_exif(orientation: int, order: str) -> bytes:
    data = Image.Exif()
    data.endian = order
    data[0x0112] = orientation
    data[0x010F] = "a camera"
    return data.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_of_reads_what_pillow_writes(orientation: int, order: str) -> None:
    assert orientation_of(pillow_exif(orientation, order)) == orientation
    assert orientation_of(pillow_exif(orientation, order).removeprefix(b"Exif\0\0")) == orientation


DAMAGED = {
    "nothing": b"",
    "a head alone": b"Exif\0\0II*\0",
    "no order of bytes": b"Exif\0\0xx" + bytes(40),
    "a directory beyond the end": b"II*\0\xff\xff\xff\x7f" + bytes(40),
    "a directory that is cut off": b"II*\0\x08\0\0\0\xff\xff" + b"\1" * 20,
    "an orientation of text": b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 0x0112, 2, 1, 6) + bytes(4),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_orientation_of_takes_damaged_data_for_upright(case: str) -> None:
    assert orientation_of(DAMAGED[case]) == 1


def test_load_image_refuses_a_tiff_that_lists_many_times_its_bytes() -> None:
    listing = exif(1, entries=2000, bytes_each=200_000).removeprefix(b"Exif\0\0")
    with pytest.raises(MediaError, match="a list of 399,800,002 bytes in a file of 200,000 given, expected no more"):
        load_image(listing)


def test_load_image_reads_the_orientation_alone_of_a_pil_image_whose_exif_data_list_1_gb() -> None:
    listing = exif(6, entries=2000, bytes_each=500_000)
    buffer = io.BytesIO()
    Image.new("RGB", (12, 9)).save(buffer, "PNG", exif=listing)
    with Image.open(buffer) as image:
        tracemalloc.start()
        upright = load_image(image)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert upright.size == (9, 12)
    assert peak_bytes < 5_000_000


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"big_tiff": True}])
def test_load_image_reads_the_first_of_many_pages(options: dict) -> None:
    pages = [Image.new("RGB", (8, 6), "red"), *(Image.new("RGB", (8, 6)) for _ in range(200))]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:], **options)
    assert load_image(buffer.getvalue()).getcolors() == [(48, (255, 0, 0))]
