"""Images that are refused: broken, hostile and oversized ones, each with one line and before memory is used."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, WebPImagePlugin

from anygpt.errors import MediaError
from anygpt.media import ImageLimits, load_image


def picture(width: int = 20, height: int = 24) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(file_format: str, image: Image.Image | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, file_format, **options)
    return buffer.getvalue()


def refusal(source, limits: ImageLimits | None = None) -> str:
    """The message with which the image is refused, after checking that it is one printable line."""
    with pytest.raises(MediaError) as raised:
        load_image(source, limits or ImageLimits())
    message = str(raised.value)
    assert message.startswith("image")
    assert message.isprintable()
    assert len(message) < 700
    return message


def pixels_unless_refused(data: bytes) -> np.ndarray | None:
    """The decoded pixels (H, W, 3), or None if they were refused as they should be; other errors pass through."""
    try:
        return np.asarray(load_image(data))
    except MediaError:
        refusal(data)
        return None


def images_allocated() -> int:
    """How many pixel buffers Pillow has allocated in this process so far."""
    return Image.core.get_stats()["new_count"]


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_claiming(width: int, height: int, *, bits: int = 8, colour: int = 2, idat: bytes = b"\0") -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(idat)) + png_chunk(b"IEND", b"")


def patched(data: bytes, at: int, layout: str, *values: int) -> bytes:
    return data[:at] + struct.pack(layout, *values) + data[at + struct.calcsize(layout) :]


def jpeg_claiming(width: int, height: int) -> bytes:
    data = encoded("JPEG")
    return patched(data, data.index(b"\xff\xc0") + 5, ">HH", height, width)


def webp_extended_claiming(width: int, height: int) -> bytes:
    frames = [picture(), picture().rotate(180)]
    data = encoded("WEBP", frames[0], save_all=True, append_images=frames[1:])
    assert data[12:16] == b"VP8X"
    return data[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[30:]


def webp_lossless_claiming(width: int, height: int) -> bytes:
    data = encoded("WEBP", lossless=True)
    assert data[12:16] == b"VP8L"
    return patched(data, 21, "<I", (width - 1) | (height - 1) << 14)


def gif_frame_claiming(width: int, height: int) -> bytes:
    """A GIF whose screen is small and whose first frame is not, drawn so that Pillow would clear its ground."""
    data = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0) + b"!\xf9\x04\x04\0\0\0\0"
    return data + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0;"


def tiff(width: int, height: int, tile: tuple[int, int] | None = None) -> bytes:
    """A deflated grey TIFF of one strip, or of one tile of its own (width, height)."""
    content = zlib.compress(bytes(100))
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1}
    tags |= {322: tile[0], 323: tile[1], 324: 0, 325: len(content)} if tile else {273: 0, 278: 1, 279: len(content)}
    tags[324 if tile else 273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + content


BROKEN = {
    "empty": (b"", "empty, 0 bytes"),
    "zeros": (bytes(1000), "starts with b'\\x00"),
    "text": (b"just some\ntext", "starts with b'just some\\ntext'"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "starts with b'<svg xmlns=\"http"),
    "html": (b"<!DOCTYPE html><html></html>", "starts with b'<!DOCTYPE html>"),
    "pdf": (b"%PDF-1.7\n%%EOF", "expected a complete PNG, JPEG, WEBP, GIF, BMP or TIFF; convert it"),
    "postscript": (encoded("EPS"), "starts with b'%!PS-Adobe-3.0"),
    "zip": (b"PK\x03\x04" + bytes(100), "starts with b'PK"),
    "icon": (encoded("ICO"), "expected a complete PNG"),
    "portable pixmap": (encoded("PPM"), "starts with b'P6"),
    "targa": (encoded("TGA"), "expected a complete PNG"),
    "wave": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), "starts with b'RIFF"),
    "png signature alone": (b"\x89PNG\r\n\x1a\n", "starts with b'\\x89PNG"),
    "png without a header": (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IEND", b""), "expected a complete"),
    "png of no size": (png_claiming(0, 0), "expected a complete"),
    "png of no height": (png_claiming(5, 0), "expected a complete"),
    "png without pixels": (png_claiming(20, 24), "damaged, cut off"),
    "png with a wrong checksum": (patched(encoded("PNG"), 29, ">I", 0), "expected a complete"),
    "png of an unknown depth": (png_claiming(5, 5, bits=7), "expected a complete"),
    "png with damaged pixels": (patched(encoded("PNG"), 200, ">Q", 0), "damaged, cut off"),
    "png with a text bomb": (
        encoded("PNG")[:33] + png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26))) + encoded("PNG")[33:],
        "too large",
    ),
    "jpeg start alone": (b"\xff\xd8\xff", "starts with b'\\xff\\xd8\\xff'"),
    "jpeg without tables": (b"\xff\xd8" + jpeg_claiming(20, 24)[jpeg_claiming(20, 24).index(b"\xff\xc0") :], "damaged"),
    "jpeg of no size": (jpeg_claiming(0, 0), "expected"),
    "gif header alone": (b"GIF89a\x05\0\x05\0\0\0\0", "expected a complete"),
    "gif of no size": (patched(encoded("GIF"), 6, "<HH", 0, 0), "0 x 0 pixels given, expected at least 1 x 1"),
    "gif without a frame": (b"GIF89a\x05\0\x05\0\0\0\0;", "expected a complete"),
    "webp header alone": (b"RIFF\x24\0\0\0WEBPVP8 " + bytes(20), "expected"),
    "webp of no size": (patched(encoded("WEBP"), 26, "<HH", 0, 0), "0 x 0 pixels given"),
    "bmp header alone": (encoded("BMP")[:14], "expected a complete"),
    "bmp of no size": (patched(encoded("BMP"), 18, "<ii", 0, 0), "expected"),
    "bmp of an unknown depth": (patched(encoded("BMP"), 28, "<H", 7), "damaged, cut off or of an unknown kind"),
    "tiff header alone": (b"II*\0\x08\0\0\0", "expected a complete"),
    "tiff that points at itself": (b"II*\0\0\0\0\0", "expected a complete"),
    "tiff of no size": (tiff(0, 0), "expected"),
    "tiff with damaged pixels": (tiff(20, 24)[:-5] + b"wrong", "damaged, cut off"),
    "tiff of floats": (
        encoded("TIFF", Image.new("F", (2, 2))),
        "floating-point pixels (mode F) given, expected whole numbers; scale them",
    ),
    "tiff of negative levels": (
        encoded("TIFF", Image.fromarray(np.array([[-5, 9]], dtype=np.int32))),
        "grey levels -5 to 9 given, expected 0 to 65535",
    ),
    "tiff of 32-bit levels": (
        encoded("TIFF", Image.fromarray(np.array([[0, 65536]], dtype=np.int32))),
        "grey levels 0 to 65536 given, expected 0 to 65535",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_load_image_refuses_broken_files_in_one_line(tmp_path: Path, case: str) -> None:
    data, expected = BROKEN[case]
    path = tmp_path / "ho\nstile\x1b[31m\u2028.png"
    path.write_bytes(data)
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    for source in (path, data, url):
        assert expected in refusal(source)
    assert r"ho\nstile\x1b[31m\u2028.png'" in refusal(path)


# Each is at most a few kilobytes; decoded, each would take megabytes to gigabytes.
OVERSIZED = {
    "png of 10 gigapixels": (png_claiming(100_000, 100_000), "10000000000 pixels"),
    "png of the largest size": (png_claiming(2**31 - 1, 2**31 - 1), "too large"),
    "png just over the limit": (png_claiming(10_000, 5_001), "50,010,000 in all, expected at most 50,000,000"),
    "png of one long row": (png_claiming(16_385, 1), "16,385 x 1 pixels given, expected sides of at most 16,384"),
    "png of one high column": (png_claiming(1, 20_000), "expected sides of at most 16,384"),
    "png of grey": (png_claiming(16_000, 16_000, bits=1, colour=0), "256000000 pixels"),
    "jpeg of 4 gigapixels": (jpeg_claiming(65_535, 65_535), "too large"),
    "jpeg over the limit": (jpeg_claiming(10_000, 10_000), "100,000,000 in all"),
    "gif of 4 gigapixels": (patched(encoded("GIF"), 6, "<HH", 65_535, 65_535), "65,535 x 65,535 pixels given"),
    "gif over the limit": (patched(encoded("GIF"), 6, "<HH", 10_000, 10_000), "100,000,000 in all"),
    "gif with a frame of 4 gigapixels": (gif_frame_claiming(65_535, 65_535), "too large"),
    "animated webp of 4 gigapixels": (webp_extended_claiming(65_536, 65_536), "65,536 x 65,536 pixels given"),
    "animated webp over the limit": (webp_extended_claiming(10_000, 10_000), "100,000,000 in all"),
    "lossless webp over the limit": (webp_lossless_claiming(16_384, 16_384), "268,435,456 in all"),
    "lossy webp over the limit": (patched(encoded("WEBP"), 26, "<HH", 16_383, 16_383), "268,402,689 in all"),
    "bmp over the limit": (patched(encoded("BMP"), 18, "<ii", 10_000, 10_000), "100,000,000 in all"),
    "bmp upside down": (patched(encoded("BMP"), 18, "<ii", 10_000, -10_000), "100,000,000 in all"),
    "tiff of the largest size": (tiff(2**32 - 1, 2**32 - 1), "expected at most 50,000,000 pixels; shrink it"),
    "tiff over the limit": (tiff(10_000, 10_000), "100,000,000 in all"),
    "tiff with a tile over the limit": (tiff(1, 1, tile=(16_384, 16_384)), "its TIFF tiles: 16,384 x 16,384 pixels"),
}


@pytest.mark.parametrize("case", OVERSIZED)
def test_load_image_refuses_oversized_images_before_decoding(monkeypatch, case: str) -> None:
    data, expected = OVERSIZED[case]
    assert len(data) < 10_000
    monkeypatch.setattr(WebPImagePlugin._webp, "WebPAnimDecoder", None)  # allocates its canvas when it is made
    allocated_before = images_allocated()
    assert expected in refusal(data)
    assert images_allocated() == allocated_before


def test_load_image_refuses_an_oversized_pil_image_before_decoding(monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with Image.open(io.BytesIO(png_claiming(100_000, 100_000))) as image:
        allocated_before = images_allocated()
        assert "100,000 x 100,000 pixels given" in refusal(image)
        assert images_allocated() == allocated_before


CUT_FILES = {
    "PNG": {},
    "JPEG": {},
    "progressive JPEG": {"progressive": True},
    "WEBP": {},
    "lossless WEBP": {"lossless": True},
    "GIF": {},
    "BMP": {},
    "TIFF": {},
    "lzw TIFF": {"compression": "tiff_lzw"},
    "packbits TIFF": {"compression": "packbits"},
}


@pytest.mark.parametrize("case", CUT_FILES)
def test_load_image_never_invents_the_pixels_of_a_cut_file(case: str) -> None:
    data = encoded(case.split()[-1], picture(10, 12), **CUT_FILES[case])
    whole_HW3 = np.asarray(load_image(data))
    refused = 0
    for byte_count in range(1, len(data)):
        pixels_HW3 = pixels_unless_refused(data[:byte_count])
        if pixels_HW3 is None:
            refused += 1
        else:  # all the pixels were there, only the end mark is missing
            assert np.array_equal(pixels_HW3, whole_HW3)
    assert refused >= len(data) - 21


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_load_image_raises_nothing_but_media_errors_on_random_damage(file_format: str) -> None:
    data = encoded(file_format, picture(10, 12))
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        for at in random.integers(0, min(len(data), random.choice([60, len(data)])), 4):
            damaged[at] = random.integers(0, 256)
        pixels_unless_refused(bytes(damaged))


BROKEN_VALUES = {
    "None": (None, "NoneType given"),
    "a number": (3.5, "float given"),
    "a file object": (io.BytesIO(encoded("PNG")), "BytesIO given"),
    "an address": ("https://example.com/cat.png", "addresses are never fetched"),
    "a PIL image of no width": (Image.new("RGB", (0, 5)), "0 x 5 pixels given"),
    "a PIL image of no height": (Image.new("RGB", (5, 0)), "5 x 0 pixels given"),
    "a long PIL image": (Image.new("1", (20_000, 1)), "20,000 x 1 pixels given"),
    "a PIL image of floats": (Image.new("F", (2, 2)), "floating-point pixels"),
    "an array of floats": (np.zeros((2, 2, 3)), "float64 of shape (2, 2, 3) given, expected uint8 of shape (H, W, 3)"),
    "an array of channels first": (np.zeros((3, 2, 2), dtype=np.uint8), "shape (3, 2, 2) given"),
    "an array of grey": (np.zeros((2, 2), dtype=np.uint8), "shape (2, 2) given"),
    "an array with alpha": (np.zeros((2, 2, 4), dtype=np.uint8), "shape (2, 2, 4) given"),
    "an array of no height": (np.zeros((0, 2, 3), dtype=np.uint8), "2 x 0 pixels given"),
    "a high array": (np.zeros((20_000, 1, 3), dtype=np.uint8), "1 x 20,000 pixels given"),
    "an array of objects": (np.array([["a"]], dtype=object), "object of shape (1, 1) given"),
}


@pytest.mark.parametrize("case", BROKEN_VALUES)
def test_load_image_refuses_other_values_in_one_line(case: str) -> None:
    source, expected = BROKEN_VALUES[case]
    assert expected in refusal(source)


def test_load_image_refuses_a_closed_pil_image_and_a_cut_lazy_one() -> None:
    closed = Image.open(io.BytesIO(encoded("PNG")))
    closed.close()
    assert "PIL PngImageFile: damaged, cut off" in refusal(closed)
    with Image.open(io.BytesIO(encoded("JPEG")[:-100])) as cut:
        assert "PIL JpegImageFile: damaged, cut off" in refusal(cut)


def test_load_image_applies_the_given_limits() -> None:
    data = encoded("PNG", picture(20, 24))
    assert "expected at most 10; shrink it or raise max_bytes" in refusal(data, ImageLimits(max_bytes=10))
    assert "480 in all, expected at most 479; shrink it or raise max_pixels" in refusal(
        data, ImageLimits(max_pixels=479)
    )
    assert "expected sides of at most 23; shrink it or raise max_side_px" in refusal(data, ImageLimits(max_side_px=23))


def test_load_image_decodes_a_file_of_any_suffix_but_no_other_content(tmp_path: Path) -> None:
    (tmp_path / "really-a-png.jpg").write_bytes(encoded("PNG"))
    (tmp_path / "really-text.png").write_text("text")
    assert load_image(tmp_path / "really-a-png.jpg").size == (20, 24)
    assert "really-text.png'" in refusal(tmp_path / "really-text.png")
