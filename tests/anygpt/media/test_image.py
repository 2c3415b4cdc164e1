"""Images that decode: every format, mode and orientation to the RGB pixels that it must have.

Legend: H height, W width.
"""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anygpt.errors import ConfigError, MediaError
from anygpt.media import ImageLimits, encode_png, load_image, save_image, to_data_url

LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "BMP": {}, "TIFF": {}}
ORIENTATION_TAG = 0x0112
UPRIGHT = {  # what a viewer does to the stored pixels, by the EXIF 2.32 table of orientations
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


def random_pixels(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def pixels_of(source, limits: ImageLimits | None = None) -> np.ndarray:
    image = load_image(source, limits or ImageLimits())
    assert type(image) is Image.Image
    assert image.mode == "RGB"
    assert image.info == {}
    return np.asarray(image)


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    return exif


@pytest.mark.parametrize("file_format", LOSSLESS)
def test_load_image_gives_the_same_pixels_from_every_kind_of_source(tmp_path: Path, file_format: str) -> None:
    pixels_HW3 = random_pixels(5, 7)
    data = encoded(Image.fromarray(pixels_HW3), file_format, **LOSSLESS[file_format])
    path = tmp_path / "the name says nothing.txt"
    path.write_bytes(data)
    url = f"data:image/{file_format.lower()};base64,{base64.b64encode(data).decode()}"
    for source in (path, str(path), data, bytearray(data), url, Image.open(io.BytesIO(data)), pixels_HW3):
        assert np.array_equal(pixels_of(source), pixels_HW3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 100}])
def test_load_image_decodes_jpeg(options: dict) -> None:
    pixels_HW3 = np.full((16, 24, 3), (200, 100, 50), dtype=np.uint8)
    assert np.allclose(pixels_of(encoded(Image.fromarray(pixels_HW3), "JPEG", **options)), pixels_HW3, atol=3)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_load_image_decodes_compressed_tiff(compression: str) -> None:
    pixels_HW3 = random_pixels(5, 7)
    assert np.array_equal(pixels_of(encoded(Image.fromarray(pixels_HW3), "TIFF", compression=compression)), pixels_HW3)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_load_image_turns_upright(file_format: str, orientation: int) -> None:
    stored_HW3 = random_pixels(3, 5)
    options = {**LOSSLESS[file_format], "exif": with_orientation(orientation)}
    data = encoded(Image.fromarray(stored_HW3), file_format, **options)
    assert np.array_equal(pixels_of(data), UPRIGHT[orientation](stored_HW3))
    assert np.array_equal(pixels_of(Image.open(io.BytesIO(data))), UPRIGHT[orientation](stored_HW3))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_load_image_turns_photos_upright(orientation: int) -> None:
    stored_HW3 = random_pixels(2, 3).repeat(16, axis=0).repeat(16, axis=1)
    data = encoded(Image.fromarray(stored_HW3), "JPEG", quality=100, subsampling=0, exif=with_orientation(orientation))
    assert np.allclose(pixels_of(data), UPRIGHT[orientation](stored_HW3), atol=6)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_load_image_leaves_an_unknown_orientation(orientation: int) -> None:
    stored_HW3 = random_pixels(3, 5)
    assert np.array_equal(
        pixels_of(encoded(Image.fromarray(stored_HW3), "PNG", exif=with_orientation(orientation))), stored_HW3
    )


def test_load_image_takes_the_orientation_that_a_pil_image_was_given() -> None:
    stored_HW3 = random_pixels(3, 5)
    image = Image.fromarray(stored_HW3)
    image.getexif()[ORIENTATION_TAG] = 6
    assert np.array_equal(pixels_of(image), UPRIGHT[6](stored_HW3))


@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\1" * 20],
)
def test_load_image_decodes_despite_broken_metadata(exif: bytes) -> None:
    assert pixels_of(encoded(Image.new("RGB", (8, 8), "white"), "JPEG", exif=exif)).min() == 255


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_load_image_lays_alpha_on_white(mode: str) -> None:
    layers_HWC = random_pixels(4, 6, len(mode)).astype(np.float64)
    layers_HWC[0, :, -1], layers_HWC[1, :, -1] = 0, 255
    colour_HWC, alpha_HW1 = layers_HWC[..., :-1], layers_HWC[..., -1:] / 255
    expected_HW3 = np.broadcast_to(colour_HWC * alpha_HW1 + 255 * (1 - alpha_HW1), (4, 6, 3))
    pixels_HW3 = pixels_of(encoded(Image.fromarray(layers_HWC.astype(np.uint8), mode), "PNG"))
    assert np.abs(pixels_HW3 - expected_HW3).max() <= 0.5 + 1e-9
    assert (pixels_HW3[0] == 255).all()
    assert np.array_equal(pixels_HW3[1], np.broadcast_to(colour_HWC[1], (6, 3)))


@pytest.mark.parametrize("mode", ["RGBa", "La", "PA"])
def test_load_image_lays_the_rarer_alpha_modes_of_pil_on_white(mode: str) -> None:
    image = Image.new("RGBA", (1, 1), (10, 20, 30, 0))
    if mode == "La":
        image = image.convert("LA")
    assert pixels_of(image.convert(mode)).min() == 255


def palette_image() -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    return image


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "TIFF"])
def test_load_image_resolves_a_palette(file_format: str) -> None:
    assert pixels_of(encoded(palette_image(), file_format)).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_load_image_makes_a_transparent_palette_entry_white(file_format: str) -> None:
    data = encoded(palette_image(), file_format, transparency=1)
    assert pixels_of(data).tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]


def test_load_image_blends_a_half_transparent_palette() -> None:
    data = encoded(palette_image(), "PNG", transparency=bytes([0, 51, 255]))
    assert pixels_of(data).tolist() == [[[255, 255, 255], [204, 255, 204], [0, 0, 255]]]


@pytest.mark.parametrize(("mode", "key"), [("L", 7), ("RGB", (7, 7, 7))])
def test_load_image_makes_the_transparent_colour_of_a_png_white(mode: str, key) -> None:
    image = Image.fromarray(np.array([[7, 8]], dtype=np.uint8)).convert(mode)
    assert pixels_of(encoded(image, "PNG", transparency=key))[0, :, 0].tolist() == [255, 8]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_load_image_rounds_every_16_bit_grey_level(file_format: str) -> None:
    levels_HW = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels_HW3 = pixels_of(encoded(Image.fromarray(levels_HW), file_format))
    assert np.array_equal(pixels_HW3, np.rint(levels_HW / 257)[..., None].repeat(3, axis=-1))


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B", "I;16L"])
def test_load_image_takes_every_16_bit_mode_of_pil(mode: str) -> None:
    image = Image.new(mode, (3, 1))
    for column, level in enumerate((0, 257 * 7, 65535)):
        image.putpixel((column, 0), level)
    assert pixels_of(image)[0].tolist() == [[0] * 3, [7] * 3, [255] * 3]
    assert pixels_of(encoded(image, "TIFF"))[0].tolist() == [[0] * 3, [7] * 3, [255] * 3]


def test_load_image_makes_the_transparent_level_of_16_bit_grey_white() -> None:
    data = encoded(Image.fromarray(np.array([[257, 258, 514]], dtype=np.uint16)), "PNG", transparency=258)
    assert pixels_of(data)[0, :, 0].tolist() == [1, 255, 2]


def test_load_image_converts_cmyk() -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert (pixels_of(encoded(red, "TIFF")) == (255, 0, 0)).all()
    assert np.allclose(pixels_of(encoded(red, "JPEG")), (255, 0, 0), atol=4)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_load_image_converts_one_bit(file_format: str) -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert pixels_of(encoded(image, file_format)).tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize("mode", ["HSV", "YCbCr", "LAB", "RGBX", "L"])
def test_load_image_converts_the_other_modes_of_pil(mode: str) -> None:
    assert pixels_of(Image.new(mode, (2, 3))).shape == (3, 2, 3)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_load_image_takes_the_first_frame(file_format: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    options = {**LOSSLESS.get(file_format, {}), "save_all": True, "append_images": frames[1:]}
    assert (pixels_of(encoded(frames[0], file_format, **options)) == (255, 0, 0)).all()


def test_load_image_takes_the_frame_that_a_pil_image_is_at() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    with Image.open(io.BytesIO(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))) as animation:
        animation.seek(2)
        assert (pixels_of(animation) == (0, 0, 255)).all()


def test_load_image_shares_nothing_with_its_source() -> None:
    image, array_HW3 = Image.new("RGB", (2, 2)), np.zeros((2, 2, 3), dtype=np.uint8)
    for source in (image, array_HW3):
        load_image(source).putpixel((0, 0), (9, 9, 9))
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert array_HW3.max() == 0


def test_load_image_accepts_what_just_fits_the_limits() -> None:
    data = encoded(Image.fromarray(random_pixels(4, 6)), "PNG")
    assert pixels_of(data, ImageLimits(max_bytes=len(data), max_pixels=24, max_side_px=6)).shape == (4, 6, 3)


def test_image_limits_have_safe_defaults() -> None:
    assert ImageLimits() == ImageLimits(max_bytes=20 * 1024 * 1024, max_pixels=50_000_000, max_side_px=16384)


@pytest.mark.parametrize("name", ["max_bytes", "max_pixels", "max_side_px"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "9", None, True])
def test_image_limits_refuse_impossible_values(name: str, value) -> None:
    with pytest.raises(ConfigError, match=f"{name}: .* given, expected a whole number of at least 1"):
        ImageLimits(**{name: value})


def test_image_limits_refuse_more_pixels_than_pillow_decodes() -> None:
    with pytest.raises(ConfigError, match="max_pixels: 178,956,971 given, expected at most 178,956,970"):
        ImageLimits(max_pixels=178_956_971)


def test_png_round_trips_through_bytes_a_file_and_a_data_url(tmp_path: Path) -> None:
    image = Image.fromarray(random_pixels(5, 7))
    save_image(image, tmp_path / "a.PNG")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.PNG"]
    for source in (encode_png(image), tmp_path / "a.PNG", to_data_url(image)):
        assert np.array_equal(pixels_of(source), np.asarray(image))
    assert (tmp_path / "a.PNG").read_bytes() == encode_png(image)
    assert to_data_url(image).startswith("data:image/png;base64,iVBORw0KGgo")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (None, "NoneType given, expected a PIL image"),
        (np.zeros((2, 2, 3), dtype=np.uint8), "ndarray given, expected a PIL image"),
        (Image.new("RGB", (0, 3)), "0 x 3 pixels given"),
        (Image.new("CMYK", (2, 2)), "mode CMYK"),
    ],
)
def test_encode_png_refuses_in_one_line(image, expected: str) -> None:
    with pytest.raises(MediaError, match=expected) as raised:
        encode_png(image)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("name", ["a.jpg", "a", "png", "a.png\n", "", b"a.png", None])
def test_save_image_refuses_names_that_are_not_png(tmp_path: Path, monkeypatch, name) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match=r"expected a path that ends in '\.png'") as raised:
        save_image(Image.new("RGB", (2, 2)), name)
    assert str(raised.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_importing_media_loads_no_torch() -> None:
    code = "import sys, anygpt.media; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
