"""Read attributes back from pictures by plain image processing, without learned weights.

A picture is one shape on an even ground. Its soft coverage gives the centroid and the outline r(angle), which is
compared with the outlines of the four shapes; the colour is the hue of the shape's core. What is not clear is None.

Legend: H height, W width, A angles, R radii, S shapes, L levels of softness, K corners. Lengths are in pixels of a
picture 64 wide, y grows downwards, angles go clockwise from straight up.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from anygpt.errors import MediaError
from pipelines.tiny.world.images import CENTRES_PX, RADIUS_PX, SIZE_PX, outline_K2
from pipelines.tiny.world.readings import Reading, name_hue
from pipelines.tiny.world.scenes import POSITIONS, SHAPES

MIN_CONTRAST = 50.0  # distance between shape and ground in 8-bit RGB
VISIBLE = 0.25  # of the contrast: what differs less, such as noise and the ripples of a codec, is not a thing
MAX_STRAY_PX = 20.0  # coverage apart from the shape, as an area: a fifth of the smallest shape
MAX_IMPURITY = 0.1  # share of the shape's area that is in other colours
MAX_CUT_PX = 10.0  # length of the picture's border that the shape may cover
MIN_SOLIDITY = 0.85  # mean coverage of the inner 0.7 of the shape

# Rms distance of two outlines of mean square 1: half of that to the next shape and less.
MAX_MISFIT = {"circle": 0.05, "square": 0.06, "triangle": 0.1, "star": 0.1}
MAX_MISFIT_RATIO = 0.7  # between the best shape and the next one
SOFTNESS_PX = (0.0, 0.4, 0.8, 1.2)  # blur that an outline may have seen
MAX_CIRCLE_HAZE = 0.27  # softer than that, anything looks round: haze = 1 - ∑ coverage² / ∑ coverage

VALUE_RANGE = (0.5, 1.3)  # of the shape, relative to the ground's
MAX_OFF_CENTRE_PX = 5.0  # per axis
RADIUS_RANGE_PX = (5.5, 21.0)

_ANGLES_A = np.arange(120) * 2 * np.pi / 120
_RADII_R = np.arange(0.25, 30.0, 0.5)
_CORE_PX = 24  # area that is well inside even the smallest shape
_EDGE_PX = 3  # how far soft edges reach out of the half-covered region


@dataclass(frozen=True)
class Measurement:
    """The one thing in a picture: where it is, and what it is where that is clear.

    `centre_px` is (x, y); `radius_px` is the radius as `images.py` has it, None without a shape.
    """

    centre_px: tuple[float, float]
    shape: str | None
    radius_px: float | None
    colour: str | None


def read_image(image: Image.Image | np.ndarray) -> Reading:
    """Read shape, colour, size and position from a square picture.

    Args:
        image: a picture of any size and mode, or (H, W, 3) uint8 sRGB.
    Returns:
        The reading; None for what is not clear, and for everything where there is not exactly one thing.
    Raises:
        MediaError: if an array is not (H, W, 3) uint8.
    """
    measured = measure_shape(image)
    if measured is None:
        return Reading()
    return Reading(measured.shape, measured.colour, name_size(measured.radius_px), name_position(measured.centre_px))


def measure_shape(image: Image.Image | np.ndarray) -> Measurement | None:
    """Measure the thing in a square picture, wherever it is; arguments and errors as for `read_image`.

    Returns:
        The measurement; None where the picture is blank, not square, or shows something else than one solid thing.
    """
    picture = _as_image(image)
    if picture.width != picture.height:
        return None
    resample = Image.Resampling.BOX if picture.width > SIZE_PX else Image.Resampling.BILINEAR
    pixels_HW3 = np.asarray(picture.resize((SIZE_PX, SIZE_PX), resample), dtype=np.float64)
    ground_3 = np.median(_border(pixels_HW3), axis=0)
    core_3 = _core_colour(pixels_HW3, ground_3)
    coverage_HW = _coverage(pixels_HW3, ground_3, core_3)
    if coverage_HW is None:
        return None
    y_px, x_px = (float(middle) + 0.5 for middle in ndimage.center_of_mass(coverage_HW))
    outline_A, solidity = _outline(coverage_HW, x_px, y_px)
    if solidity < MIN_SOLIDITY:
        return None
    area = float(coverage_HW.sum())
    shape = _name_shape(outline_A, haze=1.0 - float((coverage_HW**2).sum()) / area)
    radius_px = None
    if shape is not None:
        radius_px = math.sqrt(area / (math.pi * np.mean(_unit_outline(shape) ** 2)))
    return Measurement((x_px, y_px), shape, radius_px, _name_colour(core_3, ground_3))


def name_size(radius_px: float | None) -> str | None:
    """The size of a drawn shape of this radius; None if it is far from both sizes, or unknown."""
    if radius_px is None or not RADIUS_RANGE_PX[0] <= radius_px <= RADIUS_RANGE_PX[1]:
        return None
    return "small" if radius_px < math.sqrt(RADIUS_PX["small"] * RADIUS_PX["large"]) else "large"


def name_position(centre_px: tuple[float, float]) -> str | None:
    """The position nearest to a centre (x, y); None if it is too far from all nine."""
    cells = []
    for middle in centre_px:
        offsets = [abs(middle - centre) for centre in CENTRES_PX]
        if min(offsets) > MAX_OFF_CENTRE_PX:
            return None
        cells.append(offsets.index(min(offsets)))
    column, row = cells
    return POSITIONS[row * len(CENTRES_PX) + column]


def _as_image(image: Image.Image | np.ndarray) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise MediaError(f"picture: got {image.dtype} of shape {image.shape}, expected uint8 of shape (H, W, 3)")
    return Image.fromarray(image)


def _border(values: np.ndarray) -> np.ndarray:
    """The outermost pixels of (H, W, ...) as (4 H - 4, ...)."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def _core_colour(pixels_HW3: np.ndarray, ground_3: np.ndarray) -> np.ndarray:
    """The typical colour of the pixels that are farthest from the ground."""
    distance_HW = np.linalg.norm(pixels_HW3 - ground_3, axis=-1)
    far = np.sort(distance_HW, axis=None)[-_CORE_PX:].mean()
    return np.median(pixels_HW3[distance_HW >= 0.8 * far], axis=0)


def _coverage(pixels_HW3: np.ndarray, ground_3: np.ndarray, core_3: np.ndarray) -> np.ndarray | None:
    """How far each pixel has gone from the ground's colour to the core's, in [0, 1]; None without one clear thing."""
    contrast = float(np.linalg.norm(core_3 - ground_3))
    if contrast < MIN_CONTRAST:
        return None
    change_HW3, axis_3 = (pixels_HW3 - ground_3) / contrast, (core_3 - ground_3) / contrast
    coverage_HW = np.clip(change_HW3 @ axis_3, 0.0, 1.0)
    regions_HW, count = ndimage.label(coverage_HW > 0.5)
    if count == 0:
        return None
    main_HW = regions_HW == 1 + np.argmax(np.bincount(regions_HW.ravel())[1:])
    near_HW = ndimage.binary_dilation(main_HW, iterations=_EDGE_PX)
    stray_HW = np.linalg.norm(change_HW3, axis=-1) * ~near_HW
    impurity_HW = np.linalg.norm(change_HW3 - coverage_HW[..., None] * axis_3, axis=-1) * main_HW
    coverage_HW = coverage_HW * near_HW
    if stray_HW[stray_HW > VISIBLE].sum() > MAX_STRAY_PX or _border(coverage_HW).sum() > MAX_CUT_PX:
        return None
    if impurity_HW[impurity_HW > VISIBLE].sum() > MAX_IMPURITY * coverage_HW.sum():
        return None
    return coverage_HW


def _outline(coverage_HW: np.ndarray, x_px: float, y_px: float) -> tuple[np.ndarray, float]:
    """Outline r(angle) around a centre, (A,), and the mean coverage of its inner part.

    A solid sector of radius r covers r²/2 per radian, so r = sqrt(2 ∫ coverage · radius d radius), soft edges or not.
    """
    x_RA = x_px + np.outer(_RADII_R, np.sin(_ANGLES_A))
    y_RA = y_px - np.outer(_RADII_R, np.cos(_ANGLES_A))
    coverage_RA = ndimage.map_coordinates(coverage_HW, [y_RA - 0.5, x_RA - 0.5], order=1, mode="constant")
    weights_R1 = (_RADII_R * (_RADII_R[1] - _RADII_R[0]))[:, None]
    outline_A = np.sqrt(2.0 * (coverage_RA * weights_R1).sum(axis=0))
    inner_RA = weights_R1 * (_RADII_R[:, None] < np.maximum(0.7 * outline_A, 0.5))
    return outline_A, float((coverage_RA * inner_RA).sum() / inner_RA.sum())


@functools.cache
def _unit_outline(shape: str) -> np.ndarray:
    """Outline r(angle), (A,), of a shape of radius 1."""
    if shape == "circle":
        return np.ones_like(_ANGLES_A)
    corners_K2 = outline_K2(shape, 1.0)
    along = np.linspace(0.0, 1.0, 500, endpoint=False)[:, None, None]
    x, y = ((1.0 - along) * corners_K2 + along * np.roll(corners_K2, -1, axis=0)).reshape(-1, 2).T
    return np.interp(_ANGLES_A, np.arctan2(x, -y), np.hypot(x, y), period=2 * np.pi)


def _soft_outlines_SLA(radius_px: float) -> np.ndarray:
    """The outlines of all shapes of this rms radius at several levels of softness, each of mean square 1."""
    squares_SA = np.stack([_unit_outline(shape) ** 2 for shape in SHAPES])
    squares_SA /= squares_SA.mean(axis=1, keepdims=True)
    steps_per_px = len(_ANGLES_A) / (2 * np.pi * radius_px)
    # Blur acts on areas, hence on squares.
    levels = [ndimage.gaussian_filter1d(squares_SA, px * steps_per_px, mode="wrap") for px in SOFTNESS_PX[1:]]
    return np.sqrt(np.stack([squares_SA, *levels], axis=1))


def _name_shape(outline_A: np.ndarray, haze: float) -> str | None:
    """The shape whose outline fits well, and much better than any other's."""
    radius_px = math.sqrt(np.mean(outline_A**2))
    misfit_SLA = _soft_outlines_SLA(radius_px) - outline_A / radius_px
    misfit_S = np.sqrt(np.mean(misfit_SLA**2, axis=-1)).min(axis=1)
    best, second = np.argsort(misfit_S)[:2]
    shape = SHAPES[best]
    if misfit_S[best] > min(MAX_MISFIT[shape], MAX_MISFIT_RATIO * misfit_S[second]):
        return None
    return None if shape == "circle" and haze > MAX_CIRCLE_HAZE else shape


def _name_colour(core_3: np.ndarray, ground_3: np.ndarray) -> str | None:
    """The colour of the core's hue; None if the core is dark or glaring beside the ground."""
    relative_value = float(core_3.max()) / float(ground_3.max())
    return name_hue(core_3) if VALUE_RANGE[0] <= relative_value <= VALUE_RANGE[1] else None
