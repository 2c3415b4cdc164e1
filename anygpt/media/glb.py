"""GLB files: binary glTF 2.0, read by trimesh from memory and without a resolver, so that it cannot bring in others.

What trimesh would believe without a look (counts, sizes, references) is checked here before.
Source: Khronos, "glTF 2.0 Specification".

Legend: V vertices, F faces.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from anygpt.errors import MediaError, MissingExtraError
from anygpt.media.image import FORMATS, load_image
from anygpt.media.meshes import NO_FACES, Mesh
from anygpt.media.point_limits import PointLimits, check_at_most
from anygpt.media.sources import one_line

_MAX_NODES, _MAX_DEPTH = 10_000, 32
_ITEM_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_ITEMS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}


def read_glb(data: bytes, name: str, limits: PointLimits) -> list[Mesh]:
    """Every mesh and cloud of a GLB, at its place in the scene, with its colours or its texture.

    Raises:
        MediaError: if it refers to other files, is over a limit or promises more than is there.
        MissingExtraError: if the extra `media` is not installed.
    """
    _check_glb(data, name, limits)
    try:
        import trimesh
    except ImportError as error:
        raise MissingExtraError(
            "GLB files need the package 'trimesh', which is missing; pip install 'anygpt[media]'"
        ) from error
    scene = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False)
    meshes = []
    for node in scene.graph.nodes_geometry:
        transform_44, geometry_name = scene.graph[node]
        geometry = scene.geometry[geometry_name]
        vertices_V3 = geometry.vertices @ transform_44[:3, :3].T + transform_44[:3, 3]
        mesh = Mesh(np.asarray(vertices_V3), np.asarray(getattr(geometry, "faces", NO_FACES)))
        _take_colours(mesh, geometry.visual)
        meshes.append(mesh)
    return meshes


def _take_colours(mesh: Mesh, visual: Any) -> None:
    """Give a mesh the colours that trimesh found: of its vertices, of its faces, or of its material."""
    if visual.kind == "vertex" and len(visual.vertex_colors) == len(mesh.vertices_V3):
        mesh.vertex_rgb_V3 = np.asarray(visual.vertex_colors)[:, :3] / 255.0
    elif visual.kind == "face" and len(visual.face_colors) == len(mesh.faces_F3):
        mesh.face_rgb_F3 = np.asarray(visual.face_colors)[:, :3] / 255.0
    material = getattr(visual, "material", None)
    texture, uv_V2 = getattr(material, "baseColorTexture", None), getattr(visual, "uv", None)
    if texture is not None and uv_V2 is not None and texture.format in FORMATS:
        mesh.texture_HW3, mesh.uv_V2 = np.asarray(load_image(texture)), np.asarray(uv_V2, dtype=np.float64)
    factor = getattr(material, "baseColorFactor", None)
    mesh.base_rgb_3 = None if factor is None else np.asarray(factor)[:3] / 255.0


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
    claimed = sum(item["count"] * _ITEM_BYTES[item["componentType"]] * _ITEMS[item["type"]] for item in accessors)
    if claimed > 2 * len(data) or any(item["count"] < 0 or "bufferView" not in item for item in accessors):
        raise MediaError(
            f"{name}: {claimed:,} bytes of data promised in {len(data):,}, expected all of them in the file and not "
            "compressed; export it again without Draco"
        )
    _check_tree(nodes, sum(len(mesh["primitives"]) for mesh in meshes), name)
    for key, per_thing, what in (("POSITION", 1, "vertices"), ("indices", 3, "faces")):
        counts = [sum(_primitive_counts(mesh, accessors, key)) for mesh in meshes]
        placed = sum(counts[node["mesh"]] for node in nodes if "mesh" in node)
        check_at_most(max(sum(counts), placed) // per_thing, name, limits, what)


def _check_tree(nodes: list[Any], pieces: int, name: str) -> None:
    """Refuse nodes that are many, deep, shared or in a circle (trimesh walks from each to the root) or many pieces."""
    parents = {child: index for index, node in enumerate(nodes) for child in node.get("children", [])}
    is_shared = len(parents) < sum(len(node.get("children", [])) for node in nodes)
    is_large = max(len(nodes), pieces) > _MAX_NODES
    below = [] if is_large else list(parents)  # after n steps up, the nodes that are more than n below a root
    for _ in range(_MAX_DEPTH):
        below = [parents[node] for node in below if parents[node] in parents]
    if is_shared or is_large or below:
        raise MediaError(
            f"{name}: {len(nodes):,} nodes with {pieces:,} pieces that are too many, too deep or no tree given, "
            f"expected a tree of at most {_MAX_NODES:,} each, {_MAX_DEPTH} deep; join its parts"
        )


def _primitive_counts(mesh: Any, accessors: list[Any], key: str) -> Iterable[int]:
    for primitive in mesh["primitives"]:
        at = {**primitive["attributes"], "indices": primitive.get("indices")}.get(key)
        yield 0 if at is None else accessors[at]["count"]
