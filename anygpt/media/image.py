"""Images: anything that may be decoded becomes a plain RGB picture, and a picture becomes a PNG.

Legend: H height, W width.
"""

from __future__ import annotations

import base64
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from struct import error as StructError
from typing import Any, TypeAlias

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from anygpt.errors import ConfigError, MediaError
from anygpt.media.exif import check_directory, lists_too_much, orientation_of
from anygpt.media.foreign import but_what
from anygpt.media.gif import gif_layout, is_gif
from anygpt.media.jpeg import cut_off, tidy_jpeg
from anygpt.media.png import SIGNATURE as PNG_SIGNATURE
from anygpt.media.png import tidy_png
from anygpt.media.saving import check_suffix, write_atomically
from anygpt.media.sources import Source, one_line, read_source, source_name
from anygpt.media.webp import is_webp, tidy_webp, webp_canvas_px

ImageSource: TypeAlias = Source | Image.Image | np.ndarray

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_FORMAT_LIST = "PNG, JPEG, WEBP, GIF, BMP or TIFF"
_PILLOW_MAX_PIXELS = 178_956_970
_TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH = 322, 323
_TURNS = {  # EXIF orientation -> what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OWN_STARTS = (PNG_SIGNATURE, b"\xff\xd8", b"GIF8", b"BM", *_TIFF_STARTS)
_MAX_BLANKS = 64  # before the first byte of a picture, as web programs leak them
_GREY_16_TO_8 = [(level * 255 + 32767) // 65535 for level in range(65536)]


@dataclass(frozen=True)
class ImageLimits:
    """How large an image may be; each limit is checked before the memory it protects is used.

    Attributes:
        max_bytes: most bytes of the file, at least 1.
        max_pixels: most pixels, width times height; at most 178,956,970, above which Pillow itself refuses.
        max_side_px: longest side, at least 1.
        max_scans: most scans of a JPEG, at least 1; every one goes over all pixels. Progressive JPEGs have about ten;
            100 over the most pixels allowed take one or two seconds.
    """

    max_bytes: int = 20 * 1024 * 1024
    max_pixels: int = 50_000_000
    max_side_px: int = 16_384
    max_scans: int = 100

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ConfigError(f"{field.name}: {value!r} given, expected a whole number of at least 1; raise it")
        if self.max_pixels > _PILLOW_MAX_PIXELS:
            raise ConfigError(
                f"max_pixels: {self.max_pixels:,} given, expected at most {_PILLOW_MAX_PIXELS:,}, above which Pillow "
                "refuses to decode; lower it"
            )


DEFAULT_LIMITS = ImageLimits()


def load_image(source: ImageSource, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decode an image into RGB, upright by its EXIF orientation, transparency laid on white.

    The format is told by the content, never by the name. Of an animation the first frame is taken (of a PIL image the
    frame it is at). 16-bit grey is rounded to 8 bits. Metadata and colour profiles are dropped.

    Args:
        source: a path, the file's bytes, a data URL, a PIL image, or a uint8 array (H, W, 3).
        limits: what is refused as too large, before it is read or decoded.
    Returns:
        A new image of mode RGB that shares nothing with the source.
    Raises:
        MediaError: if the source is missing, broken, cut off, over a limit, or no PNG, JPEG, WEBP, GIF, BMP or TIFF.
    """
    if isinstance(source, np.ndarray):
        return _image_from_array(source, limits)
    if isinstance(source, Image.Image):
        name = f"image given as PIL {type(source).__name__}"
        with _pillow_errors_as_media_errors(name, max_pixels=limits.max_pixels):
            _check_opened(source, name, limits)
            return _plain_rgb(source, name)
    data = read_source(source, medium="image", max_bytes=limits.max_bytes)
    name = source_name(source, "image")
    prepared = _prepared(data, name, limits)
    with _pillow_errors_as_media_errors(name, data=data, max_pixels=limits.max_pixels):
        rgb = _decoded(prepared.content, prepared.exif, name, limits)
        # The mark of the end is missing: nothing else is if it makes no difference what is taken to be in its place.
        for other in prepared.other_ends:
            if _decoded(other, prepared.exif, name, limits).tobytes() != rgb.tobytes():
                raise cut_off(name)
    return rgb


@dataclass(frozen=True)
class _Prepared:
    """A file as Pillow is to see it, its EXIF data if they lie apart, and the file with other ends if it has none."""

    content: bytes
    exif: bytes = b""
    other_ends: tuple[bytes, ...] = ()


def _prepared(data: bytes, name: str, limits: ImageLimits) -> _Prepared:
    """What decoding needs of a file, after the checks that must come before Pillow opens it."""
    bare = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if len(data) - len(bare) <= _MAX_BLANKS and (bare.startswith(_OWN_STARTS) or is_webp(bare)):
        data = bare
    if is_gif(data):
        layout = gif_layout(data, max_frames=0)
        _check_size((layout.width_px, layout.height_px), name, limits)  # Pillow allocates the canvas as it opens
        return _Prepared(layout.content if layout.frames else data)
    if is_webp(data):
        _check_size(webp_canvas_px(data), name, limits)  # likewise
        return _Prepared(tidy_webp(data))
    if data.startswith(PNG_SIGNATURE):
        return _Prepared(*tidy_png(data))
    if data.startswith(b"\xff\xd8"):
        jpeg = tidy_jpeg(data, name, max_scans=limits.max_scans)
        return _Prepared(jpeg.content, jpeg.exif, jpeg.other_ends)
    if data.startswith(_TIFF_STARTS):
        check_directory(data, name)
    return _Prepared(data)


def _decoded(content: bytes, exif: bytes, name: str, limits: ImageLimits) -> Image.Image:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        _check_opened(image, name, limits)
        return _plain_rgb(image, name, None if image.format == "TIFF" else exif or _own_exif(image))


def _own_exif(image: Image.Image) -> bytes:
    """The EXIF data that Pillow found in a WebP, or as ImageMagick writes them into a PNG: in hexadecimal."""
    exif, profile = image.info.get("exif"), image.info.get("Raw profile type exif")
    if isinstance(exif, bytes) or not isinstance(profile, str):
        return exif if isinstance(exif, bytes) else b""
    try:
        return bytes.fromhex("".join(profile.split("\n")[3:]))
    except ValueError:
        return b""


def encode_png(image: Image.Image) -> bytes:
    """Encode a picture as a PNG file.

    Args:
        image: any mode that PNG can hold, at least 1 by 1 pixels.
    Returns:
        The file's bytes.
    Raises:
        MediaError: if it is not a PIL image, is empty or has a mode that PNG cannot hold.
    """
    if not isinstance(image, Image.Image):
        raise MediaError(
            f"image to encode: a value of type {type(image).__name__} given, expected a PIL image; "
            "pass an array through load_image first"
        )
    name = f"image to encode of mode {image.mode}"
    if not image.width or not image.height:
        raise MediaError(f"{name}: {image.width} x {image.height} pixels given, expected at least 1 x 1; draw it first")
    buffer = io.BytesIO()
    with _pillow_errors_as_media_errors(name):
        image.save(buffer, format="PNG")
    return buffer.getvalue()


def save_image(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture as a PNG file that appears whole or not at all.

    Args:
        image: as for `encode_png`.
        path: ends in ".png"; a regular file of that name is replaced, the folder must exist.
    Raises:
        MediaError: if the image cannot be encoded or the file cannot be written.
    """
    check_suffix(path, ".png", "image", "images are written as PNG")
    write_atomically(path, encode_png(image), medium="image")


def to_data_url(image: Image.Image) -> str:
    """The picture as "data:image/png;base64,..."; arguments and errors as for `encode_png`."""
    return "data:image/png;base64," + base64.b64encode(encode_png(image)).decode("ascii")


@contextmanager
def _pillow_errors_as_media_errors(
    name: str, *, data: bytes = b"", max_pixels: int = _PILLOW_MAX_PIXELS
) -> Iterator[None]:
    """Turn whatever Pillow raises on a hostile or damaged image into one MediaError, and keep it from warning.

    `data` is the file's content, of which the message shows the start if it is of no known format.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata, which does no harm here, and of size, which is checked here. The filter is
            # narrow since threads share filters before Python 3.14: at worst another thread misses a Pillow warning.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    except MediaError:
        raise
    except UnidentifiedImageError as error:
        kind = "" if data.startswith(_OWN_STARTS) else but_what(data)
        raise MediaError(
            f"{name}: not an image that can be decoded{kind}, it starts with {data[:16]!r}, expected a complete "
            f"{_FORMAT_LIST}; convert it to one of them"
        ) from error
    except Image.DecompressionBombError as error:
        raise MediaError(
            f"{name}: too large ({one_line(str(error))}), expected at most {max_pixels:,} pixels; shrink it"
        ) from error
    except Exception as error:  # Pillow's decoders raise OSError, ValueError, struct.error, KeyError, EOFError, ...
        reason = one_line(str(error)) or type(error).__name__
        raise MediaError(
            f"{name}: damaged, cut off or of an unknown kind ({reason}), expected a complete image; "
            "save or send it again"
        ) from error


def _check_opened(image: Image.Image, name: str, limits: ImageLimits) -> None:
    _check_size(image.size, name, limits)
    tiff_tags = getattr(image, "tag_v2", {})
    if _TIFF_TILE_WIDTH in tiff_tags and _TIFF_TILE_LENGTH in tiff_tags:
        # A TIFF of one pixel may have a tile of a billion, which is decoded whole.
        _check_size((tiff_tags[_TIFF_TILE_WIDTH], tiff_tags[_TIFF_TILE_LENGTH]), f"{name}, its TIFF tiles", limits)


def _check_size(size_px: tuple[int, int], name: str, limits: ImageLimits) -> None:
    width_px, height_px = size_px
    given = f"{name}: {width_px:,} x {height_px:,} pixels given"
    if width_px < 1 or height_px < 1:
        raise MediaError(f"{given}, expected at least 1 x 1; save or send it again")
    if max(width_px, height_px) > limits.max_side_px:
        raise MediaError(f"{given}, expected sides of at most {limits.max_side_px:,}; shrink it or raise max_side_px")
    if width_px * height_px > limits.max_pixels:
        raise MediaError(
            f"{given}, {width_px * height_px:,} in all, expected at most {limits.max_pixels:,}; "
            "shrink it or raise max_pixels"
        )


def _plain_rgb(image: Image.Image, name: str, exif: bytes | None = None) -> Image.Image:
    """The image as new RGB pixels, upright by these EXIF data or, without any, by what Pillow knows of it."""
    image.load()
    rgb = _flatten(image, name)
    turn = _TURNS.get(_orientation(image) if exif is None else orientation_of(exif))
    if turn is not None:
        rgb = rgb.transpose(turn)
    rgb.info = {}
    return rgb


def _orientation(image: Image.Image) -> Any:
    """The EXIF orientation, normally 1 to 8; 1 (upright) without one or where the EXIF data are damaged."""
    exif = image.info.get("exif")
    if isinstance(exif, bytes) and lists_too_much(exif):
        return orientation_of(exif)
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, StructError):
        return 1


def _flatten(image: Image.Image, name: str) -> Image.Image:
    """The image as new RGB pixels: deep grey rounded to 8 bits, transparency laid on white."""
    if image.mode == "F":
        raise MediaError(
            f"{name}: floating-point pixels (mode F) given, expected whole numbers; scale them to 0..255 and save again"
        )
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _grey_from_16_bits(image, name).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    rgb = Image.new("RGB", rgba.size, "white")
    rgb.paste(rgba, mask=rgba.getchannel("A"))
    return rgb


def _grey_from_16_bits(image: Image.Image, name: str) -> Image.Image:
    """Grey of 0..65535 as mode L, 65535 becoming 255; a transparent level becomes white."""
    levels = image.convert("I")
    extrema: Any = levels.getextrema()
    if extrema[0] < 0 or extrema[1] > 65535:
        raise MediaError(
            f"{name}: grey levels {extrema[0]} to {extrema[1]} given, expected 0 to 65535; "
            "scale them to 8 or 16 bits and save again"
        )
    table = list(_GREY_16_TO_8)
    transparent_level = image.info.get("transparency")
    if isinstance(transparent_level, int) and 0 <= transparent_level <= 65535:
        table[transparent_level] = 255
    grey = levels.point(table, "L")
    grey.info = {}
    return grey


def _image_from_array(array_HW3: np.ndarray, limits: ImageLimits) -> Image.Image:
    given = f"image array: {array_HW3.dtype} of shape {array_HW3.shape} given"
    if array_HW3.dtype != np.uint8 or array_HW3.ndim != 3 or array_HW3.shape[2] != 3:
        raise MediaError(f"{given}, expected uint8 of shape (H, W, 3); convert it")
    height_px, width_px, _ = array_HW3.shape
    _check_size((width_px, height_px), "image array", limits)
    return Image.fromarray(np.ascontiguousarray(array_HW3))
