"""Columns of numbers become points: which of them are colours, at what scale, and in what place 32 bits can hold them.

Legend: N points, C columns.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anygpt.errors import MediaError
from anygpt.media.point_limits import PointLimits, check_count
from anygpt.media.values import PointCloud

# Of the cloud's size: coordinates that 32-bit floats would move by more than this are moved to the origin first.
_MOST_LOST = 1e-5
_COLOUR_PREFIXES = ("diffuse_", "scalar_", "ambient_", "vertex_", "color_", "colour_", "col_", "rgb_")
_COLOUR_NAMES = (("red", "green", "blue"), ("r", "g", "b"))
_SPHERICAL_HARMONICS = ("f_dc_0", "f_dc_1", "f_dc_2")  # of Gaussian splats
_ZEROTH_HARMONIC = 0.28209479177387814  # 1 / (2 sqrt(pi))
_PACKED_NAMES = ("rgb", "rgba")
_LENGTH_TOLERANCE = 0.005
_EXPECTED_COLUMNS = "x y z, or x y z r g b, or these with nx ny nz, or x y z intensity r g b"


def cloud_of(xyz_N3: np.ndarray, rgb_N3: np.ndarray | None, name: str) -> PointCloud:
    """The value, colours 0..1 already. Points without a place (NaN, as scanners write them, or infinite) are left out.

    Where 32 bits would lose the shape (a house in map coordinates, 5,000 km from their origin), the middle of the box
    that holds the points is subtracted first; elsewhere coordinates stay as they are.
    """
    are_there_N = np.isfinite(xyz_N3).all(axis=1)
    if not are_there_N.all():
        xyz_N3, rgb_N3 = xyz_N3[are_there_N], None if rgb_N3 is None else rgb_N3[are_there_N]
    with np.errstate(all="ignore"):
        points_N3 = np.ascontiguousarray(xyz_N3, dtype=np.float32)
        if len(xyz_N3) and not np.can_cast(xyz_N3.dtype, np.float32):
            exact_N3 = xyz_N3.astype(np.float64, copy=False)
            least_3, most_3 = exact_N3.min(axis=0), exact_N3.max(axis=0)
            size = float((most_3 - least_3).max())
            if np.isfinite(size) and float(np.abs(exact_N3 - points_N3).max()) > _MOST_LOST * size > 0.0:
                points_N3 = np.ascontiguousarray(exact_N3 - (least_3 + most_3) / 2, dtype=np.float32)
    if not len(points_N3) or not np.isfinite(points_N3).all():
        raise MediaError(
            f"{name}: coordinates that are no finite numbers (NaN, or beyond 32-bit floats) given, expected numbers; "
            "export the points again"
        )
    return PointCloud(points_N3, None if rgb_N3 is None else np.ascontiguousarray(rgb_N3, dtype=np.float32))


def cloud_of_rows(rows_NC: np.ndarray, name: str, limits: PointLimits) -> PointCloud:
    """Points of columns without names: x y z first, then colours or normals, told apart by their values.

    Three columns are normals, which are left out, if some are negative and none is beyond -1..1, or if they are
    fractions and of length 1; else they are colours. Of seven columns the last may be opacity or curvature, or the
    fourth intensity.
    """
    if rows_NC.ndim != 2 or rows_NC.shape[1] not in (3, 6, 7, 9) or rows_NC.dtype.kind not in "fiu":
        raise MediaError(
            f"{name}: {rows_NC.dtype} of shape {rows_NC.shape} given, expected numbers of shape (N, 3) or, with "
            f"colours, (N, 6): {_EXPECTED_COLUMNS}; {_way(rows_NC)}"
        )
    check_count(len(rows_NC), name, limits)
    rows_NC = placed_rows(rows_NC)
    colours_N3 = colour_columns(rows_NC[:, 3:])
    return cloud_of(rows_NC[:, :3], None if colours_N3 is None else unit_colours(colours_N3, name), name)


def placed_rows(rows_NC: np.ndarray) -> np.ndarray:
    """The rows whose first three numbers are a place; all of them where none is, so that they are refused later."""
    are_there_N = np.isfinite(rows_NC[:, :3]).all(axis=1)
    return rows_NC[are_there_N] if are_there_N.any() and not are_there_N.all() else rows_NC


def _way(rows: np.ndarray) -> str:
    if rows.ndim == 2 and rows.shape[0] in (3, 6):
        return "transpose it (.T)"
    return "save its columns as an array of numbers of two dimensions"


def check_columns(columns: int, name: str) -> None:
    """Refuse rows of a number of columns that says nothing about what they hold."""
    if columns not in (3, 6, 7, 9):
        raise MediaError(
            f"{name}: rows of {columns} numbers given, expected {_EXPECTED_COLUMNS}; drop the others or name all "
            "columns in the first line"
        )


def named_colours(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
    """(N, 3) in 0..1 of the columns that are colours by their names, whatever case and prefix those have, or None."""
    by_name = {column.lower().strip(): values_N for column, values_N in columns.items()}
    for prefix in ("", *_COLOUR_PREFIXES):
        for names in _COLOUR_NAMES:
            if all(prefix + part in by_name for part in names):
                colours = [by_name[prefix + part] for part in names]
                are_bytes = all(values_N.dtype == np.uint8 for values_N in colours)
                return unit_colours(np.stack(colours, axis=1), name, are_bytes=are_bytes, may_be_deep=True)
    if all(part in by_name for part in _SPHERICAL_HARMONICS):
        weights_N3 = np.stack([by_name[part] for part in _SPHERICAL_HARMONICS], axis=1)
        return np.clip(0.5 + _ZEROTH_HARMONIC * weights_N3, 0.0, 1.0)
    packed_N = next((by_name[part] for part in _PACKED_NAMES if part in by_name), None)
    return None if packed_N is None else _unpacked(packed_N)


def unit_colours(
    colours_N3: np.ndarray, name: str, *, are_bytes: bool = False, may_be_deep: bool = False
) -> np.ndarray:
    """Colours as 0..1: bytes and values of which one is above 1 are 0..255; whole numbers above may be 0..65535.

    Raises:
        MediaError: if they are outside these ranges.
    """
    least, most = colours_N3.min(), colours_N3.max()
    full = 255.0 if are_bytes or colours_N3.dtype == np.uint8 or most > 1 else 1.0
    if may_be_deep and 255 < most <= 65_535 and not (colours_N3 % 1).any():
        full = 65_535.0
    if not (least >= 0 and most <= max(full, 255.0)):  # written so that NaN is refused as well
        raise MediaError(f"{name}: colours from {least:g} to {most:g} given, expected 0 to 255 or 0 to 1; scale them")
    return colours_N3.astype(np.float32) / np.float32(full)


def colour_columns(further_NC: np.ndarray) -> np.ndarray | None:
    """(N, 3) of the 3, 4 or 6 columns behind x y z that are colours, told by their values, or None."""
    columns = further_NC.shape[1]
    if columns not in (3, 4, 6) or not len(further_NC):
        return None
    first_N3 = further_NC[:, :3]
    if not _are_normals(first_N3):
        is_intensity = columns == 4 and not _is_opacity(further_NC[:, 3]) and _may_be_colours(further_NC[:, 1:])
        return further_NC[:, 1:] if is_intensity else first_N3
    return further_NC[:, 3:] if columns == 6 else None  # a fourth column behind normals is curvature


def _is_opacity(values_N: np.ndarray) -> bool:
    return values_N[0] in (1, 255) and bool((values_N == values_N[0]).all())


def _are_normals(values_N3: np.ndarray) -> bool:
    """Whether three columns are directions and not colours."""
    values_N3 = values_N3.astype(np.float64)
    least, most = values_N3.min(), values_N3.max()
    if not (least >= -1 - _LENGTH_TOLERANCE and most <= 1 + _LENGTH_TOLERANCE):
        return False
    if least < 0:
        return True
    lengths_N = np.linalg.norm(values_N3, axis=1)
    lengths_N = lengths_N[lengths_N > 0]
    are_fractions = bool((values_N3 % 1).any())
    return are_fractions and bool((np.abs(lengths_N - 1) <= _LENGTH_TOLERANCE).all())


def _may_be_colours(values_N3: np.ndarray) -> bool:
    return bool(values_N3.min() >= 0 and values_N3.max() <= 255)


def _unpacked(packed_N: np.ndarray) -> np.ndarray:
    """(N, 3) in 0..1 of colours that are packed as 0xRRGGBB, in whole numbers or in the bits of 32-bit floats.

    Source: Point Cloud Library, "The PCD file format", on the field rgb.
    """
    is_number = packed_N.dtype.kind in "iu" or (packed_N.dtype.itemsize == 8 and not (packed_N % 1).any())
    bits_N = packed_N.astype(np.int64).astype(np.uint32) if is_number else packed_N.astype(np.float32).view(np.uint32)
    return np.stack([bits_N >> shift & 0xFF for shift in (16, 8, 0)], axis=1) / 255.0
