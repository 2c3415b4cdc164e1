"""Point clouds: arrays, scans and meshes become coloured points, and points become a PLY file.

trimesh reads PLY, OBJ, OFF and GLB, always from memory and without a resolver, so that a file cannot bring in others.
What it would believe without a look (counts, sizes, references) is checked here before.

Legend: N points, V vertices, F faces, P sampled points, U texture coordinates.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from anygpt.errors import ConfigError, MediaError, MissingExtraError
from anygpt.media.containers import errors_as_media_errors
from anygpt.media.image import FORMATS, load_image
from anygpt.media.limits import check_limits
from anygpt.media.saving import check_suffix, write_atomically
from anygpt.media.sources import Source, one_line, read_source, source_name
from anygpt.media.values import PointCloud

PointSource: TypeAlias = Source | PointCloud | np.ndarray

_KINDS = "PLY, OBJ, OFF, GLB, XYZ text of 3 or 6 columns, NPY or NPZ"
_HEAD_BYTES = 65_536
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_ZIP_MEMBERS = 64
_MAX_GLB_NODES, _MAX_GLB_DEPTH = 10_000, 32
_GLB_ITEM_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_GLB_ITEMS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_OBJ_WORDS = ("v", "vn", "vt", "vp", "f", "l", "p", "o", "g", "s", "mtllib", "usemtl")


@dataclass(frozen=True)
class PointLimits:
    """How large a cloud or mesh may be; each limit is checked before the memory it protects is used.

    Attributes:
        max_bytes: most bytes of the file, at least 1.
        max_points: most points, vertices or faces in the file, at least 1.
    """

    max_bytes: int = 128 * 1024 * 1024
    max_points: int = 5_000_000

    def __post_init__(self) -> None:
        check_limits(self, whole=("max_bytes", "max_points"))


DEFAULT_LIMITS = PointLimits()


def load_points(
    source: PointSource, limits: PointLimits = DEFAULT_LIMITS, *, num_points: int = 10_000, seed: int = 0
) -> PointCloud:
    """Read a point cloud, or sample one on the surface of a mesh.

    The format is told by the content, never by the name. Of a cloud of more than `num_points` a uniform choice is
    kept, in the file's order; a smaller one is kept whole. A mesh gives exactly `num_points`, uniform by area; one
    without faces is a cloud. Colours come from the points, vertices or faces (not in OFF), or a GLB's texture or base
    colour; in arrays and text they may be 0..255 or, where none is above 1, 0..1.

    Args:
        source: a path, the file's bytes, a data URL "data:model/...", a PointCloud, or an array (N, 3) or (N, 6).
            An NPZ holds one such array, or `xyz` (N, 3) and perhaps `rgb` (N, 3).
        limits: what is refused as too large, before it is read or decoded.
        num_points: most points of the result, at least 1.
        seed: of the choice of points, at least 0.
    Returns:
        Between 1 and `num_points` points.
    Raises:
        MediaError: if the source is missing, broken, over a limit, without points, refers to other files, or is no
            PLY, OBJ, OFF, GLB, XYZ, NPY or NPZ.
        MissingExtraError: if the extra `media` is not installed, for PLY, OBJ, OFF and GLB.
    """
    for option, value, least in (("num_points", num_points, 1), ("seed", seed, 0)):
        if type(value) is not int or value < least:
            raise ConfigError(f"{option}: {value!r} given, expected a whole number of at least {least}; raise it")
    rng = np.random.default_rng(seed)
    if isinstance(source, PointCloud):
        _check_count(len(source.xyz), "points", limits)
        return _thinned(source, num_points, rng)
    if isinstance(source, np.ndarray):
        return _thinned(_cloud_from_rows(source, "points array", limits), num_points, rng)
    is_url = isinstance(source, str) and source[:5].lower() == "data:"
    data = read_source(source, medium="model" if is_url else "points", max_bytes=limits.max_bytes)
    name = source_name(source, "points")
    kind = _kind_of(data)
    # Overflow and the like end in values that are not finite, which are refused below.
    with errors_as_media_errors(name), np.errstate(all="ignore"):
        if kind == "npy":
            cloud = _cloud_from_rows(_read_npy(data, name, limits), name, limits)
        elif kind == "npz":
            cloud = _read_npz(data, name, limits)
        elif kind == "xyz":
            cloud = _read_text(data, name, limits)
        elif kind == "ply" and _is_plain_text_ply(data):
            cloud = _read_text_ply(data, name, limits)
        elif kind is not None:
            return _read_with_trimesh(data, kind, name, limits, num_points, rng)
        else:
            raise MediaError(
                f"{name}: no points that can be read, it starts with {data[:16]!r}, expected {_KINDS}; "
                "convert it to one of them"
            )
        return _thinned(cloud, num_points, rng)


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
    """The format that the first bytes, or the first word that is no comment, call for."""
    for magic, kind in ((b"ply", "ply"), (b"glTF", "glb"), (b"\x93NUMPY", "npy"), (b"PK\x03\x04", "npz")):
        if data.startswith(magic):
            return kind
    word = next(iter(_first_row(data)), b"").decode("latin-1")
    if word in ("OFF", "COFF"):
        return "off"
    if word in _OBJ_WORDS:
        return "obj"
    return "xyz" if re.match(r"[-+]?\.?\d", word) else None


def _first_row(data: bytes) -> list[bytes]:
    """The words of a text's first line that is more than a comment; none where there is no such line, or no text."""
    head = data[:_HEAD_BYTES].removeprefix(_BYTE_ORDER_MARK).replace(b",", b" ")
    rows = (line.partition(b"#")[0].split() for line in head.splitlines())
    return next((row for row in rows if row), []) if b"\0" not in head else []


def _check_count(count: int, name: str, limits: PointLimits) -> None:
    _check_at_most(count, name, limits, "points")
    if count < 1:
        raise MediaError(f"{name}: no points in it, expected at least one; export it again")


def _check_at_most(count: int, name: str, limits: PointLimits, what: str) -> None:
    if count > limits.max_points:
        raise MediaError(
            f"{name}: {count:,} {what} given, expected at most {limits.max_points:,}; thin it out or raise max_points"
        )


def _thinned(cloud: PointCloud, num_points: int, rng: np.random.Generator) -> PointCloud:
    if len(cloud.xyz) <= num_points:
        return cloud
    chosen = np.sort(rng.choice(len(cloud.xyz), num_points, replace=False))
    return PointCloud(cloud.xyz[chosen], None if cloud.rgb is None else cloud.rgb[chosen])


def _cloud(xyz_N3: np.ndarray, rgb_N3: np.ndarray | None, name: str) -> PointCloud:
    """The value, colours 0..1 already, after a check that every coordinate is a finite float32."""
    xyz_N3 = np.ascontiguousarray(xyz_N3, dtype=np.float32)
    if not np.isfinite(xyz_N3).all():
        raise MediaError(
            f"{name}: coordinates that are not finite numbers (NaN, or beyond 32-bit floats) given, expected numbers; "
            "remove those points"
        )
    return PointCloud(xyz_N3, None if rgb_N3 is None else np.ascontiguousarray(rgb_N3, dtype=np.float32))


def _cloud_from_rows(rows: np.ndarray, name: str, limits: PointLimits) -> PointCloud:
    if rows.ndim != 2 or rows.shape[1] not in (3, 6) or rows.dtype.kind not in "fiu":
        raise MediaError(
            f"{name}: {rows.dtype} of shape {rows.shape} given, expected numbers of shape (N, 3) or, with colours, "
            "(N, 6); reshape it"
        )
    _check_count(len(rows), name, limits)
    with np.errstate(all="ignore"):
        return _cloud(rows[:, :3], _unit_colours(rows[:, 3:], name) if rows.shape[1] == 6 else None, name)


def _unit_colours(colours_N3: np.ndarray, name: str, *, are_bytes: bool = False) -> np.ndarray:
    """Colours as 0..1: bytes and values of which one is above 1 are taken to be 0..255."""
    least, most = colours_N3.min(), colours_N3.max()
    if not (least >= 0 and most <= 255):  # written so that NaN is refused as well
        raise MediaError(f"{name}: colours from {least:g} to {most:g} given, expected 0 to 255 or 0 to 1; scale them")
    are_bytes = are_bytes or colours_N3.dtype == np.uint8 or most > 1
    return colours_N3.astype(np.float32) / (255.0 if are_bytes else 1.0)


def _read_text(data: bytes, name: str, limits: PointLimits) -> PointCloud:
    columns = len(_first_row(data))
    if columns not in (3, 6):
        raise MediaError(f"{name}: rows of {columns} numbers given, expected x y z, or x y z r g b; drop the others")
    _check_at_most(data.count(b"\n"), name, limits, "lines")
    text = data.removeprefix(_BYTE_ORDER_MARK).replace(b",", b" ")
    return _cloud_from_rows(np.loadtxt(io.BytesIO(text), ndmin=2, encoding="latin-1"), name, limits)


def _is_plain_text_ply(data: bytes) -> bool:
    """Whether a PLY is text and holds nothing but points; trimesh would need half a kilobyte for each of them."""
    head = data[:_HEAD_BYTES].partition(b"end_header")[0]
    is_plain = re.findall(rb"element (\S+)", head) == [b"vertex"] and b"property list" not in head
    return b"format ascii" in head and is_plain


def _read_text_ply(data: bytes, name: str, limits: PointLimits) -> PointCloud:
    _check_ply(data, name, limits)
    head = data[:_HEAD_BYTES].partition(b"end_header")[0]
    kinds = {field: kind for kind, field in re.findall(rb"property (\S+) (\S+)", head)}
    wanted = [b"x", b"y", b"z", *(colour for colour in (b"red", b"green", b"blue") if b"red" in kinds)]
    missing = [field.decode() for field in wanted if field not in kinds]
    if missing:
        raise MediaError(
            f"{name}: vertices without {', '.join(missing)} given, expected x y z, or x y z red green blue"
        )
    columns = [list(kinds).index(field) for field in wanted]
    file = io.BytesIO(data)
    file.seek(len(head))
    file.readline()
    rows = np.loadtxt(file, ndmin=2, usecols=columns, encoding="latin-1")
    if len(wanted) == 3:
        return _cloud(rows, None, name)
    return _cloud(rows[:, :3], _unit_colours(rows[:, 3:], name, are_bytes=kinds[b"red"] in (b"uchar", b"uint8")), name)


def _read_npy(data: bytes, name: str, limits: PointLimits) -> np.ndarray:
    """The array of an NPY file, once its header is known to fit the limits and the bytes that follow it."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    if dtype.hasobject or dtype.kind not in "fiu":
        raise MediaError(f"{name}: an array of {dtype} given, expected numbers, as pickled objects are never loaded")
    _check_count(shape[0] if shape else 0, name, limits)
    if prod(shape) * dtype.itemsize > len(data) - file.tell():
        raise MediaError(
            f"{name}: a header of {prod(shape) * dtype.itemsize:,} bytes over {len(data) - file.tell():,} given, "
            "expected all of them; save or send it again"
        )
    return np.load(io.BytesIO(data), allow_pickle=False)


def _read_npz(data: bytes, name: str, limits: PointLimits) -> PointCloud:
    if data.count(b"PK\x01\x02") > _MAX_ZIP_MEMBERS:  # counted before zipfile makes an object of each
        raise MediaError(f"{name}: more than {_MAX_ZIP_MEMBERS} files in a ZIP given, expected an NPZ of one array")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        wanted = [member for member in sizes if member in ("xyz.npy", "rgb.npy")] or list(sizes)
        wanted.sort(reverse=True)  # xyz before rgb
        if wanted != ["xyz.npy", "rgb.npy"] and not (len(wanted) == 1 and wanted[0].endswith(".npy")):
            raise MediaError(
                f"{name}: a ZIP of {one_line(', '.join(sizes)) or 'nothing'} given, expected an NPZ of one array, or "
                "of 'xyz' and 'rgb'; save it with numpy.savez"
            )
        arrays = []
        for member in wanted:
            max_bytes = 48 * limits.max_points + _HEAD_BYTES
            if sizes[member] > max_bytes:
                raise MediaError(
                    f"{name}: {member!r} unpacks to {sizes[member]:,} bytes, expected at most {max_bytes:,}; "
                    "thin it out or raise max_points"
                )
            with archive.open(member) as file:  # without a size, read() would unpack more than was promised
                arrays.append(_read_npy(file.read(sizes[member]), name, limits))
    cloud = _cloud_from_rows(arrays[0], name, limits)
    if len(arrays) == 1:
        return cloud
    if arrays[1].shape != cloud.xyz.shape:
        raise MediaError(f"{name}: 'rgb' of shape {arrays[1].shape} given, expected {cloud.xyz.shape}; save one each")
    return _cloud(cloud.xyz, _unit_colours(arrays[1], name), name)


def _read_with_trimesh(
    data: bytes, kind: str, name: str, limits: PointLimits, num_points: int, rng: np.random.Generator
) -> PointCloud:
    {"ply": _check_ply, "obj": _check_obj, "off": _check_off, "glb": _check_glb}[kind](data, name, limits)
    try:
        import trimesh
    except ImportError as error:
        raise MissingExtraError(
            "meshes and PLY files need the package 'trimesh', which is missing; pip install 'anygpt[media]'"
        ) from error
    # Materials and textures of a PLY or OBJ lie in other files, which are never looked for.
    options: Any = {"skip_materials": True} if kind in ("ply", "obj") else {}
    scene = trimesh.load_scene(io.BytesIO(data), file_type=kind, process=False, **options)
    surfaces: list[_Surface] = []
    clouds: list[_Surface] = []
    for node in scene.graph.nodes_geometry:
        transform_44, geometry_name = scene.graph[node]
        geometry = scene.geometry[geometry_name]
        vertices_V3 = geometry.vertices @ transform_44[:3, :3].T + transform_44[:3, 3]
        surface = _Surface(vertices_V3, np.asarray(getattr(geometry, "faces", np.zeros((0, 3), int))), geometry.visual)
        (surfaces if len(surface.faces_F3) else clouds).append(surface)
    _check_count(sum(len(part.vertices_V3) for part in (*surfaces, *clouds)), name, limits)
    for part in surfaces:
        part.check(name, limits)
    if any(part.areas_F.any() for part in surfaces):
        parts = _sampled(surfaces, num_points, rng)
    else:
        parts = [(part.vertices_V3, part.vertex_colours()) for part in (*surfaces, *clouds)]
    return _thinned(_joined(parts, name), num_points, rng)


def _joined(parts: list[tuple[np.ndarray, np.ndarray | None]], name: str) -> PointCloud:
    """One cloud of all parts; parts without colours are white among others that have some."""
    rgb_N3 = None
    if any(colours is not None for _, colours in parts):
        rgb_N3 = np.concatenate([np.ones_like(xyz) if colours is None else colours for xyz, colours in parts])
        rgb_N3 = np.clip(rgb_N3, 0.0, 1.0)
    return _cloud(np.concatenate([xyz for xyz, _ in parts]), rgb_N3, name)


def _sampled(
    surfaces: list[_Surface], num_points: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Points (P, 3) on each surface and their colours (P, 3) or None, as many on each as its area calls for."""
    areas = np.array([part.areas_F.sum() for part in surfaces])
    counts = rng.multinomial(num_points, areas / areas.sum())
    return [part.sample(count, rng) for part, count in zip(surfaces, counts, strict=True) if count]


class _Surface:
    """One placed part of a mesh, or a cloud if it has no faces."""

    def __init__(self, vertices_V3: np.ndarray, faces_F3: np.ndarray, visual: Any) -> None:
        self.vertices_V3, self.faces_F3, self.visual = vertices_V3, faces_F3, visual

    def check(self, name: str, limits: PointLimits) -> None:
        """Refuse faces that are too many or name no vertex, and coordinates without a size."""
        _check_at_most(len(self.faces_F3), name, limits, "faces")
        if self.faces_F3.min() < 0 or self.faces_F3.max() >= len(self.vertices_V3):
            raise MediaError(f"{name}: faces that name vertices which are not there given, expected a whole mesh")
        _cloud(self.vertices_V3, None, name)
        corner_F3, second_F3, third_F3 = (self.vertices_V3[self.faces_F3[:, corner]] for corner in range(3))
        self.areas_F = np.linalg.norm(np.cross(second_F3 - corner_F3, third_F3 - corner_F3), axis=1) / 2

    def vertex_colours(self) -> np.ndarray | None:
        """(V, 3) in 0..1, or None."""
        if self.visual.kind != "vertex" or len(self.visual.vertex_colors) != len(self.vertices_V3):
            return None
        return np.asarray(self.visual.vertex_colors)[:, :3] / 255.0

    def sample(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """`count` points (P, 3), uniform by area, and their colours (P, 3) or None.

        Source: Osada et al., "Shape Distributions" (2002), section 4.2.
        """
        ends_F = np.cumsum(self.areas_F)
        chosen_P = np.searchsorted(ends_F, rng.random(count) * ends_F[-1], side="right").clip(max=len(ends_F) - 1)
        root_P, along_P = np.sqrt(rng.random(count)), rng.random(count)
        weights_P3 = np.stack([1 - root_P, root_P * (1 - along_P), root_P * along_P], axis=1)

        def between(values_VC: np.ndarray) -> np.ndarray:
            return np.einsum("pk,pkc->pc", weights_P3, values_VC[self.faces_F3[chosen_P]])

        vertex_colours_V3 = self.vertex_colours()
        if vertex_colours_V3 is not None:
            return between(self.vertices_V3), between(vertex_colours_V3)
        if self.visual.kind == "face":
            return between(self.vertices_V3), self.visual.face_colors[chosen_P, :3] / 255.0
        return between(self.vertices_V3), self._material_colours(count, between)

    def _material_colours(self, count: int, between: Any) -> np.ndarray | None:
        """(P, 3) in 0..1 from the texture (nearest pixel, repeated beyond its edges) or base colour, or None."""
        material = getattr(self.visual, "material", None)
        texture, uv_V2 = getattr(material, "baseColorTexture", None), getattr(self.visual, "uv", None)
        if texture is not None and uv_V2 is not None and texture.format in FORMATS:
            pixels_HW3 = np.asarray(load_image(texture))
            uv_P2 = np.nan_to_num(between(np.asarray(uv_V2, dtype=np.float64))) % 1.0
            row_P = ((1.0 - uv_P2[:, 1]) * pixels_HW3.shape[0]).astype(int).clip(max=pixels_HW3.shape[0] - 1)
            column_P = (uv_P2[:, 0] * pixels_HW3.shape[1]).astype(int).clip(max=pixels_HW3.shape[1] - 1)
            return pixels_HW3[row_P, column_P] / 255.0
        factor = getattr(material, "baseColorFactor", None)
        return None if factor is None else np.tile(np.asarray(factor)[:3] / 255.0, (count, 1))


def _check_ply(data: bytes, name: str, limits: PointLimits) -> None:
    """Refuse a header whose counts are over the limits or more than the bytes that follow."""
    head, found, _ = data[:_HEAD_BYTES].partition(b"end_header")
    rows = {one_line(kind.decode("latin-1")): int(count) for kind, count in re.findall(rb"element (\S+) (\d+)", head)}
    if not found or "vertex" not in rows:
        raise MediaError(f"{name}: a PLY header without an end or vertices given, expected both; export it again")
    _check_count(rows["vertex"], name, limits)
    is_text = b"format ascii" in head
    _check_rows(rows, data.count(b"\n", len(head)) if is_text else len(data) - len(head), name, limits)


def _check_off(data: bytes, name: str, limits: PointLimits) -> None:
    """Refuse counts that are over the limits or more than the lines that follow."""
    found = re.match(rb"\s*C?OFF\s+(\d+)\s+(\d+)", re.sub(rb"#[^\n]*", b"", data[:_HEAD_BYTES]))
    if found is None:
        raise MediaError(f"{name}: an OFF header without counts given, expected vertices and faces; export it again")
    rows = {"vertices": int(found[1]), "faces": int(found[2])}
    _check_rows(rows, data.count(b"\n") + 1, name, limits)


def _check_rows(rows: dict[str, int], there: int, name: str, limits: PointLimits) -> None:
    for kind, count in rows.items():
        _check_at_most(count, name, limits, f"rows of {kind!r}")
    if sum(rows.values()) > there:
        raise MediaError(
            f"{name}: cut off, its header promises {sum(rows.values()):,} rows where there is room for {there:,}, "
            "expected all of them; save or send it again"
        )


def _check_obj(data: bytes, name: str, limits: PointLimits) -> None:
    for word, what in ((b"v", "vertices"), (b"f", "faces")):
        _check_at_most(data.count(b"\n" + word + b" "), name, limits, what)


def _check_glb(data: bytes, name: str, limits: PointLimits) -> None:
    """Refuse other files, more data than the file has, and meshes that are placed or shared too often."""
    (json_bytes,) = struct.unpack_from("<I", data, 12)
    tree = json.loads(data[20 : 20 + json_bytes])
    for entry in (*tree.get("buffers", []), *tree.get("images", [])):
        if not str(entry.get("uri", "data:")).startswith("data:"):
            raise MediaError(
                f"{name}: a reference to the file {one_line(str(entry['uri']))!r} given, expected everything inside; "
                "export it as one GLB with its textures"
            )
    accessors, meshes, nodes = (tree.get(key, []) for key in ("accessors", "meshes", "nodes"))
    claimed = sum(
        item["count"] * _GLB_ITEM_BYTES[item["componentType"]] * _GLB_ITEMS[item["type"]] for item in accessors
    )
    if claimed > 2 * len(data) or any(item["count"] < 0 or "bufferView" not in item for item in accessors):
        raise MediaError(
            f"{name}: {claimed:,} bytes of data promised in {len(data):,}, expected all of them in the file and not "
            "compressed; export it again without Draco"
        )
    _check_tree(nodes, sum(len(mesh["primitives"]) for mesh in meshes), name)
    for key, per_thing, what in (("POSITION", 1, "vertices"), ("indices", 3, "faces")):
        counts = [sum(_primitive_counts(mesh, accessors, key)) for mesh in meshes]
        placed = sum(counts[node["mesh"]] for node in nodes if "mesh" in node)
        _check_at_most(max(sum(counts), placed) // per_thing, name, limits, what)


def _check_tree(nodes: list[Any], pieces: int, name: str) -> None:
    """Refuse nodes that are many, deep, shared or in a circle (trimesh walks from each to the root) or many pieces."""
    parents = {child: index for index, node in enumerate(nodes) for child in node.get("children", [])}
    is_shared = len(parents) < sum(len(node.get("children", [])) for node in nodes)
    is_large = max(len(nodes), pieces) > _MAX_GLB_NODES
    below = [] if is_large else list(parents)  # after n steps up, the nodes that are more than n below a root
    for _ in range(_MAX_GLB_DEPTH):
        below = [parents[node] for node in below if parents[node] in parents]
    if is_shared or is_large or below:
        raise MediaError(
            f"{name}: {len(nodes):,} nodes with {pieces:,} pieces that are too many, too deep or no tree given, "
            f"expected a tree of at most {_MAX_GLB_NODES:,} each, {_MAX_GLB_DEPTH} deep; join its parts"
        )


def _primitive_counts(mesh: Any, accessors: list[Any], key: str) -> Iterable[int]:
    for primitive in mesh["primitives"]:
        at = {**primitive["attributes"], "indices": primitive.get("indices")}.get(key)
        yield 0 if at is None else accessors[at]["count"]
