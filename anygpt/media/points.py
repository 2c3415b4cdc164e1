"""Point clouds: arrays, scans and meshes become coloured points, and points become a PLY file.

Legend: N points.
"""

from __future__ import annotations

import os
from typing import TypeAlias

import numpy as np

from anygpt.errors import ConfigError, MediaError
from anygpt.media.containers import errors_as_media_errors
from anygpt.media.foreign import but_what
from anygpt.media.glb import read_glb
from anygpt.media.meshes import cloud_of_meshes
from anygpt.media.npy import read_npy, read_npz
from anygpt.media.obj import is_obj, read_obj
from anygpt.media.off import is_off, read_off
from anygpt.media.pcd import is_pcd, read_pcd
from anygpt.media.ply import is_ply, read_ply
from anygpt.media.point_columns import cloud_of_rows
from anygpt.media.point_limits import PointLimits, check_count
from anygpt.media.saving import check_suffix, write_atomically
from anygpt.media.sources import Source, read_source, source_name
from anygpt.media.stl import is_stl, read_stl
from anygpt.media.text_rows import lines_of
from anygpt.media.values import PointCloud
from anygpt.media.xyz import is_xyz, read_xyz

PointSource: TypeAlias = Source | PointCloud | np.ndarray

_KINDS = "PLY, OBJ, OFF, STL, GLB, PCD, XYZ text of 3, 6, 7 or 9 columns, NPY or NPZ"
_HEAD_BYTES = 65_536
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CLOUDS = {"npy": read_npy, "npz": read_npz, "xyz": read_xyz}
_MESHES = {"ply": read_ply, "obj": read_obj, "off": read_off, "stl": read_stl, "pcd": read_pcd}
DEFAULT_LIMITS = PointLimits()


def load_points(
    source: PointSource, limits: PointLimits = DEFAULT_LIMITS, *, num_points: int = 10_000, seed: int = 0
) -> PointCloud:
    """Read a point cloud, or sample one on the surface of a mesh.

    The format is told by the content, never by the name. Of a cloud of more than `num_points` a uniform choice is
    kept, in the file's order; a smaller one is kept whole. A mesh gives exactly `num_points`, uniform by area; one
    without faces is a cloud. Colours come from the points, vertices or faces, or a GLB's texture or base colour; PLY,
    PCD and texts that name their columns may call them red, r, diffuse_red, scalar_Red, f_dc_0, rgb and so on. Columns
    without names are told by their values (`point_columns.cloud_of_rows`); colours may be 0..255 or, where none is
    above 1, 0..1. Where 32-bit floats would lose the shape of points far from the origin, as in map coordinates, the
    middle of their box is subtracted; elsewhere coordinates stay as they are.

    Args:
        source: a path, the file's bytes, a data URL "data:model/...", a PointCloud, or an array (N, 3), (N, 6), (N, 7)
            or (N, 9). An NPZ holds one such array, or `xyz` (N, 3) and perhaps `rgb` (N, 3).
        limits: what is refused as too large, before it is read or decoded.
        num_points: most points of the result, at least 1.
        seed: of the choice of points, at least 0.
    Returns:
        Between 1 and `num_points` points.
    Raises:
        MediaError: if the source is missing, broken, over a limit, without points, refers to other files, or is no
            PLY, OBJ, OFF, STL, GLB, PCD, XYZ, NPY or NPZ.
        MissingExtraError: if the extra `media` is not installed, for GLB.
    """
    for option, value, least in (("num_points", num_points, 1), ("seed", seed, 0)):
        if type(value) is not int or value < least:
            raise ConfigError(f"{option}: {value!r} given, expected a whole number of at least {least}; raise it")
    rng = np.random.default_rng(seed)
    if isinstance(source, PointCloud):
        check_count(len(source.xyz), "points", limits)
        return _thinned(source, num_points, rng)
    if isinstance(source, np.ndarray):
        return _thinned(cloud_of_rows(source, "points array", limits), num_points, rng)
    is_url = isinstance(source, str) and source[:5].lower() == "data:"
    data = read_source(source, medium="model" if is_url else "points", max_bytes=limits.max_bytes)
    name = source_name(source, "points")
    # Overflow and the like end in values that are not finite, which are refused.
    with errors_as_media_errors(name), np.errstate(all="ignore"):
        cloud = _read_cloud(data.removeprefix(_BYTE_ORDER_MARK), name, limits, num_points, rng)
        return _thinned(cloud, num_points, rng)


def _read_cloud(data: bytes, name: str, limits: PointLimits, num_points: int, rng: np.random.Generator) -> PointCloud:
    """All points of a file of any kind, or `num_points` on its surface."""
    kind = _kind_of(data)
    if kind in _CLOUDS:
        return _CLOUDS[kind](data, name, limits)
    if kind in _MESHES:
        return cloud_of_meshes([_MESHES[kind](data, name, limits)], name, limits, num_points, rng)
    if kind == "glb":
        return cloud_of_meshes(read_glb(data, name, limits), name, limits, num_points, rng)
    raise MediaError(
        f"{name}: no points that can be read{but_what(data)}, it starts with {data[:16]!r}, expected {_KINDS}; "
        "convert it to one of them"
    )


def encode_ply(cloud: PointCloud) -> bytes:
    """Encode points as a PLY file: binary little-endian, float coordinates, uchar colours if there are any.

    Raises:
        MediaError: if it is not a PointCloud.
    """
    if not isinstance(cloud, PointCloud):
        raise MediaError(
            f"points to encode: a value of type {type(cloud).__name__} given, expected a PointCloud; make one"
        )
    fields: list[tuple[str, str]] = [(axis, "<f4") for axis in "xyz"]
    if cloud.rgb is not None:
        fields += [(colour, "u1") for colour in ("red", "green", "blue")]
    rows = np.empty(len(cloud.xyz), dtype=fields)
    for column, axis in enumerate("xyz"):
        rows[axis] = cloud.xyz[:, column]
    if cloud.rgb is not None:
        for column, colour in enumerate(("red", "green", "blue")):
            rows[colour] = np.rint(cloud.rgb[:, column] * 255.0)
    properties = [f"property {'uchar' if kind == 'u1' else 'float'} {field}" for field, kind in fields]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}", *properties, "end_header", ""]
    return "\n".join(header).encode("ascii") + rows.tobytes()


def save_points(cloud: PointCloud, path: str | os.PathLike[str]) -> None:
    """Write points as a PLY file that appears whole or not at all.

    Args:
        cloud: as for `encode_ply`.
        path: ends in ".ply"; a regular file of that name is replaced, the folder must exist.
    Raises:
        MediaError: if the cloud cannot be encoded or the file cannot be written.
    """
    check_suffix(path, ".ply", "points", "points are written as PLY")
    write_atomically(path, encode_ply(cloud), medium="points")


def _kind_of(data: bytes) -> str | None:
    """The format that the content calls for, by its first bytes or the first line that is no comment."""
    for magic, kind in ((b"glTF", "glb"), (b"\x93NUMPY", "npy"), (b"PK\x03\x04", "npz")):
        if data.startswith(magic):
            return kind
    for kind, is_it in (("ply", is_ply), ("stl", is_stl), ("pcd", is_pcd)):
        if is_it(data):
            return kind
    head = data[:_HEAD_BYTES]
    first_line = next(lines_of(head), b"") if b"\0" not in head else b""
    if is_off(first_line):
        return "off"
    if is_obj(first_line):
        return "obj"
    return "xyz" if is_xyz(data) else None


def _thinned(cloud: PointCloud, num_points: int, rng: np.random.Generator) -> PointCloud:
    if len(cloud.xyz) <= num_points:
        return cloud
    chosen = np.sort(rng.choice(len(cloud.xyz), num_points, replace=False))
    return PointCloud(cloud.xyz[chosen], None if cloud.rgb is None else cloud.rgb[chosen])
