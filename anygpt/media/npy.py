"""NPY and NPZ files: numpy's arrays, never unpickled.

Source: numpy, "NEP 1: A simple file format for NumPy arrays".

Legend: N points.
"""

from __future__ import annotations

import io
import zipfile
from math import prod

import numpy as np

from anygpt.errors import MediaError
from anygpt.media.point_columns import cloud_of, cloud_of_rows, unit_colours
from anygpt.media.point_limits import PointLimits, check_count, check_unpacked
from anygpt.media.sources import one_line
from anygpt.media.values import PointCloud

_MAX_ZIP_MEMBERS = 64
_POINT_NAMES = ("xyz", "points", "vertices", "coords", "coordinates", "pos", "positions")
_COLOUR_NAMES = ("rgb", "colors", "colours", "color", "colour")


def read_npy(data: bytes, name: str, limits: PointLimits) -> PointCloud:
    """The points of an array (N, 3), or with colours or normals behind them."""
    return cloud_of_rows(_array_of(data, name, limits), name, limits)


def _array_of(data: bytes, name: str, limits: PointLimits) -> np.ndarray:
    """The array of an NPY file, once its header is known to fit the limits and the bytes that follow it."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    if dtype.hasobject or dtype.kind not in "fiu":
        raise MediaError(f"{name}: an array of {dtype} given, expected numbers, as pickled objects are never loaded")
    check_count(shape[0] if shape else 0, name, limits)
    if prod(shape) * dtype.itemsize > len(data) - file.tell():
        raise MediaError(
            f"{name}: a header of {prod(shape) * dtype.itemsize:,} bytes over {len(data) - file.tell():,} given, "
            "expected all of them; save or send it again"
        )
    return np.load(io.BytesIO(data), allow_pickle=False)


def read_npz(data: bytes, name: str, limits: PointLimits) -> PointCloud:
    if data.count(b"PK\x01\x02") > _MAX_ZIP_MEMBERS:  # counted before zipfile makes an object of each
        raise MediaError(f"{name}: more than {_MAX_ZIP_MEMBERS} files in a ZIP given, expected an NPZ of one array")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        members = {name.removesuffix(".npy").lower(): name for name in sizes if name.endswith(".npy")}
        wanted = _wanted(members, name, sizes)
        arrays = []
        for member in wanted:
            check_unpacked(sizes[member], member, name, limits)
            with archive.open(member) as file:  # without a size, read() would unpack more than was promised
                arrays.append(_array_of(file.read(sizes[member]), name, limits))
    if len(arrays) == 1:
        return cloud_of_rows(arrays[0], name, limits)
    (xyz_N3, rgb_N3), (points, colours) = arrays, wanted
    if xyz_N3.ndim != 2 or xyz_N3.shape[1:] != (3,) or rgb_N3.shape != xyz_N3.shape:
        raise MediaError(
            f"{name}: {points} of shape {xyz_N3.shape} and {colours} of shape {rgb_N3.shape} given, expected (N, 3) "
            "both; save one colour for each point"
        )
    return cloud_of(xyz_N3, unit_colours(rgb_N3, name), name)


def _wanted(members: dict[str, str], name: str, sizes: dict[str, int]) -> list[str]:
    """The file of the points, and that of their colours if there is one, by their names; a single array needs none."""
    points = [members[key] for key in _POINT_NAMES if key in members]
    colours = [members[key] for key in _COLOUR_NAMES if key in members]
    if len(points) == 1 and len(colours) <= 1:
        return points + colours
    if len(members) == len(sizes) == 1:
        return list(sizes)
    raise MediaError(
        f"{name}: a ZIP of {one_line(', '.join(sizes)) or 'nothing'} given, expected an NPZ of one array, or of 'xyz' "
        "and perhaps 'rgb'; save it with numpy.savez(file, xyz=..., rgb=...)"
    )
