"""Point clouds and meshes that are read: every format to the points and colours that it must have.

Legend: N points.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from anygpt.errors import ConfigError, MediaError, MissingExtraError
from anygpt.media import PointCloud, PointLimits, encode_ply, load_points, save_points

RED, LIME = (255, 0, 0, 255), (0, 255, 0, 255)


def random_cloud(count: int = 50, coloured: bool = True) -> PointCloud:
    """Coordinates and colours that survive PLY's floats and bytes."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (count, 3)).astype(np.float32) / 255.0
    return PointCloud(rng.random((count, 3), dtype=np.float32), rgb if coloured else None)


def mesh_file(mesh: trimesh.Trimesh | trimesh.PointCloud | trimesh.Scene, kind: str, **options) -> bytes:
    content = mesh.export(file_type=kind, **options)
    return content.encode() if isinstance(content, str) else content


def numpy_file(save: Callable, *arrays: np.ndarray, **named: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)
    return buffer.getvalue()


def edited_glb(change: Callable[[dict], None], mesh: trimesh.Trimesh | None = None) -> bytes:
    """The GLB of a mesh, or of a box, with a change to its JSON."""
    data = mesh_file(mesh or trimesh.creation.box(), "glb")
    (json_bytes,) = struct.unpack_from("<I", data, 12)
    tree = json.loads(data[20 : 20 + json_bytes])
    change(tree)
    text, rest = json.dumps(tree).encode(), data[20 + json_bytes :]
    text += b" " * (-len(text) % 4)
    return data[:8] + struct.pack("<III", 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


def unit_square() -> trimesh.Trimesh:
    corners = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    return trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)


@pytest.mark.parametrize("coloured", [True, False])
def test_ply_round_trips_through_bytes_a_file_and_a_data_url(tmp_path: Path, coloured: bool) -> None:
    cloud = random_cloud(coloured=coloured)
    save_points(cloud, tmp_path / "a.PLY")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.PLY"]
    url = "data:model/ply;base64," + base64.b64encode(encode_ply(cloud)).decode()
    for source in (encode_ply(cloud), tmp_path / "a.PLY", url, cloud):
        loaded = load_points(source)
        assert np.array_equal(loaded.xyz, cloud.xyz)
        assert (loaded.rgb is None) == (not coloured)
        if coloured:
            assert np.array_equal(loaded.rgb, cloud.rgb)


def test_encode_ply_is_as_long_as_its_points() -> None:
    data = encode_ply(random_cloud(50))
    assert data.startswith(b"ply\nformat binary_little_endian 1.0\nelement vertex 50\nproperty float x\n")
    assert len(data) - data.index(b"end_header\n") - len(b"end_header\n") == 50 * 15
    assert trimesh.load_scene(io.BytesIO(data), file_type="ply").bounds.shape == (2, 3)


MESHES = {
    "PLY": ("ply", {}),
    "PLY as text": ("ply", {"encoding": "ascii"}),
    "OBJ": ("obj", {}),
    "OFF": ("off", {}),
    "GLB": ("glb", {}),
}


@pytest.mark.parametrize("case", MESHES)
def test_load_points_samples_a_mesh_on_its_surface_by_area(case: str) -> None:
    kind, options = MESHES[case]
    box = trimesh.creation.box(extents=(1.0, 1.0, 4.0))
    cloud = load_points(mesh_file(box, kind, **options), num_points=4000)
    assert cloud.xyz.shape == (4000, 3)
    assert cloud.rgb is None
    distance_N6 = np.abs(np.abs(cloud.xyz) - (0.5, 0.5, 2.0))
    assert distance_N6.min(axis=1).max() < 1e-6
    on_caps = np.mean(distance_N6[:, 2] < 1e-6)
    assert on_caps == pytest.approx(2 / 18, abs=0.02)


def test_load_points_is_the_same_for_a_seed_and_another_for_another() -> None:
    for data in (mesh_file(trimesh.creation.box(), "ply"), encode_ply(random_cloud())):
        first, again, other = (load_points(data, num_points=20, seed=seed).xyz for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", ["ply", "obj", "glb"])
def test_load_points_blends_the_colours_of_vertices(kind: str) -> None:
    square = unit_square()
    square.visual.vertex_colors = [RED, LIME, LIME, RED]
    cloud = load_points(mesh_file(square, kind), num_points=200)
    assert np.allclose(cloud.rgb[:, 1], cloud.xyz[:, 0], atol=0.01)
    assert np.allclose(cloud.rgb[:, 0], 1 - cloud.xyz[:, 0], atol=0.01)


def test_load_points_takes_the_colours_of_faces() -> None:
    square = unit_square()
    square.visual.face_colors = [RED, LIME]
    cloud = load_points(mesh_file(square, "ply"), num_points=200)
    assert np.array_equal(cloud.rgb[:, 0] == 1.0, cloud.xyz[:, 0] > cloud.xyz[:, 1])


def test_load_points_takes_the_colours_of_a_texture() -> None:
    image = Image.new("RGB", (4, 4), "lime")
    image.paste((255, 0, 0), (0, 0, 2, 4))
    image.paste((0, 0, 255), (0, 0, 4, 1))  # the texture's upper row is the square's upper edge
    square = unit_square()
    square.visual = TextureVisuals(uv=square.vertices[:, :2], material=PBRMaterial(baseColorTexture=image))
    cloud = load_points(mesh_file(square, "glb"), num_points=400)
    x_N, y_N = cloud.xyz[:, 0], cloud.xyz[:, 1]
    assert np.array_equal(cloud.rgb[:, 2] == 1.0, y_N > 0.75)
    assert np.array_equal(cloud.rgb[:, 0] == 1.0, (y_N <= 0.75) & (x_N < 0.5))


def test_load_points_joins_a_scene_of_placed_parts_with_and_without_colours() -> None:
    red, plain = trimesh.creation.box(), trimesh.creation.box()
    red.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=RED))
    scene = trimesh.Scene([red])
    scene.add_geometry(plain, transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    cloud = load_points(mesh_file(scene, "glb"), num_points=500)
    assert np.allclose(cloud.rgb[cloud.xyz[:, 0] < 1], (1, 0, 0))
    assert np.allclose(cloud.rgb[cloud.xyz[:, 0] > 1], (1, 1, 1))
    assert 150 < np.sum(cloud.xyz[:, 0] > 4.4) < 350


@pytest.mark.parametrize("kind", ["ply", "glb"])
@pytest.mark.parametrize("coloured", [True, False])
def test_load_points_takes_a_cloud_that_trimesh_wrote(kind: str, coloured: bool) -> None:
    cloud = random_cloud(20, coloured)
    colours = np.rint(cloud.rgb * 255).astype(np.uint8) if coloured else None
    loaded = load_points(mesh_file(trimesh.PointCloud(cloud.xyz, colors=colours), kind))
    assert np.allclose(loaded.xyz, cloud.xyz)
    assert np.allclose(loaded.rgb, cloud.rgb) if coloured else loaded.rgb is None


WITHOUT_FACES = {
    "OBJ": b"# a scan\nv 0 0 0\nv 1 2 3\n",
    "OFF": b"OFF\n2 0 0\n0 0 0\n1 2 3\n",
    "OFF with comments": b"# a scan\nOFF # so\n# and so\n2 0 0\n0 0 0\n1 2 3\n",
    "XYZ": b"0 0 0\n1 2 3\n",
    "XYZ with commas": b"# x, y, z\n0, 0, 0\n1, 2, 3",
    "XYZ with a byte order mark": b"\xef\xbb\xbf\r\n0\t0\t0\r\n+1e0\t2.\t3\r\n",
}


@pytest.mark.parametrize("case", WITHOUT_FACES)
def test_load_points_takes_vertices_without_faces_as_a_cloud(case: str) -> None:
    cloud = load_points(WITHOUT_FACES[case])
    assert cloud.xyz.tolist() == [[0, 0, 0], [1, 2, 3]]
    assert cloud.rgb is None


def test_load_points_takes_a_mesh_without_area_as_a_cloud() -> None:
    line = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], process=False)
    assert load_points(mesh_file(line, "ply")).xyz[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(("fields", "missing"), [("x y", "z"), ("y", "x, z"), ("x y z red", "green, blue")])
def test_load_points_refuses_a_ply_in_text_that_lacks_a_column(fields: str, missing: str) -> None:
    properties = "".join(f"property float {field}\n" for field in fields.split())
    data = f"ply\nformat ascii 1.0\nelement vertex 1\n{properties}end_header\n1 2 3 4\n".encode()
    with pytest.raises(MediaError, match=f"vertices without {missing} given, expected x y z, or x y z red green"):
        load_points(data)


@pytest.mark.parametrize("colour_kind", ["uchar", "float", None])
def test_load_points_takes_a_ply_in_text_of_points_alone(colour_kind: str | None) -> None:
    fields = ["float x", "float nx", "double z", "float y"]
    fields += [f"{colour_kind} {colour}" for colour in ("red", "green", "blue")] if colour_kind else []
    properties = "".join(f"property {field}\n" for field in fields)
    rows = "1 9 3 2 1 0 0\n4 9 6 5 0 1 0" if colour_kind else "1 9 3 2\n4 9 6 5\n"
    cloud = load_points(f"ply\nformat ascii 1.0\nelement vertex 2\n{properties}end_header\n{rows}".encode())
    assert cloud.xyz.tolist() == [[1, 2, 3], [4, 5, 6]]
    if colour_kind is None:
        assert cloud.rgb is None
    else:
        assert np.allclose(cloud.rgb, np.eye(3)[:2] / (255 if colour_kind == "uchar" else 1))


@pytest.mark.parametrize(
    "colours", [b"255 0 51", b"1 0 0.2", b"255.0 0.0 51.0"], ids=["bytes", "fractions", "bytes with a point"]
)
def test_load_points_takes_text_colours_of_either_scale(colours: bytes) -> None:
    cloud = load_points(b"1 2 3 " + colours + b"\n4 5 6 0 0 0\n")
    assert np.allclose(cloud.rgb, [[1, 0, 0.2], [0, 0, 0]])


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i4", "u1"])
def test_load_points_takes_arrays_of_any_numbers(dtype: str) -> None:
    rows_N6 = np.array([[1, 2, 3, 255, 0, 51], [4, 5, 6, 0, 0, 0]]).astype(dtype)
    files = [numpy_file(np.save, rows_N6), numpy_file(np.savez, rows_N6), numpy_file(np.savez_compressed, a=rows_N6)]
    files.append(numpy_file(np.savez, xyz=rows_N6[:, :3], rgb=rows_N6[:, 3:], other=np.zeros(3)))
    files.append(numpy_file(np.save, np.asfortranarray(rows_N6)))
    for source in (*files, rows_N6):
        cloud = load_points(source)
        assert cloud.xyz.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert np.allclose(cloud.rgb, [[1, 0, 0.2], [0, 0, 0]])


def test_load_points_takes_the_single_array_xyz() -> None:
    assert load_points(numpy_file(np.savez, xyz=np.ones((4, 3)))).rgb is None


def test_load_points_keeps_a_uniform_choice_of_a_large_cloud_in_order() -> None:
    cloud = PointCloud(np.arange(3000, dtype=np.float32).reshape(-1, 3), np.zeros((1000, 3), np.float32))
    for source in (cloud, encode_ply(cloud)):
        thinned = load_points(source, num_points=100)
        assert thinned.xyz.shape == thinned.rgb.shape == (100, 3)
        assert (np.diff(thinned.xyz[:, 0]) > 0).all()
        assert 1200 < thinned.xyz[:, 0].mean() < 1800


SCAN_OF_MILLIONS = """
import resource, sys
import numpy as np, trimesh
from anygpt.media import load_points
rows = np.zeros(2_000_000, [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("r", "u1"), ("g", "u1"), ("b", "u1")])
rows["x"], rows["r"] = np.arange(2_000_000), 255
names = ["float x", "float y", "float z", "uchar red", "uchar green", "uchar blue"]
head = ["ply", "format binary_little_endian 1.0", "element vertex 2000000", *("property " + name for name in names)]
data = ("\\n".join(head) + "\\nend_header\\n").encode() + rows.tobytes()
del rows
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
cloud = load_points(data)
assert cloud.xyz.shape == (10_000, 3) and (cloud.rgb == (1, 0, 0)).all() and (np.diff(cloud.xyz[:, 0]) > 0).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_load_points_reads_two_million_coloured_points_in_bounded_memory() -> None:
    grown_kib = int(subprocess.run([sys.executable, "-c", SCAN_OF_MILLIONS], check=True, capture_output=True).stdout)
    assert grown_kib < 400_000


def test_encode_ply_and_save_points_refuse_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="ndarray given, expected a PointCloud"):
        encode_ply(np.zeros((2, 3)))
    with pytest.raises(MediaError, match=r"expected a path that ends in '\.ply'"):
        save_points(random_cloud(), tmp_path / "a.obj")


@pytest.mark.parametrize(("option", "value"), [("num_points", 0), ("num_points", 1.5), ("seed", -1), ("seed", None)])
def test_load_points_refuses_impossible_options(option: str, value) -> None:
    with pytest.raises(ConfigError, match=f"{option}: .* given, expected a whole number of at least"):
        load_points(random_cloud(), **{option: value})


@pytest.mark.parametrize("name", ["max_bytes", "max_points"])
def test_point_limits_refuse_impossible_values(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: 0 given, expected a whole number of at least 1; raise it"):
        PointLimits(**{name: 0})


def test_load_points_names_the_extra_that_is_missing(monkeypatch) -> None:
    box = trimesh.creation.box()
    glb, ply, obj = (mesh_file(box, kind) for kind in ("glb", "ply", "obj"))
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'anygpt\[media\]'"):
        load_points(glb)
    for source in (b"1 2 3\n", ply, obj):  # only GLB needs the extra
        assert len(load_points(source).xyz) >= 1


@pytest.mark.parametrize("points", ["xyz", "points", "vertices", "coords"])
@pytest.mark.parametrize("colours", ["rgb", "colors", "colours", "color"])
def test_load_points_finds_points_and_colours_of_an_npz_by_their_names(points: str, colours: str) -> None:
    xyz_N3 = np.arange(12, dtype=np.float32).reshape(4, 3)
    buffer = io.BytesIO()
    np.savez(buffer, **{colours: np.full((4, 3), 51, np.uint8), points: xyz_N3, "labels": np.arange(4)})
    cloud = load_points(buffer.getvalue())
    assert np.array_equal(cloud.xyz, xyz_N3)
    assert cloud.rgb is not None
    assert np.allclose(cloud.rgb, 0.2)


def test_load_points_leaves_out_points_without_a_place() -> None:
    xyz_N3 = np.arange(12, dtype=np.float32).reshape(4, 3)
    holes_N3 = np.insert(xyz_N3, 2, np.nan, axis=0)
    text = "\n".join(" ".join(map(str, row)) for row in holes_N3).encode()
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate([holes_N3, np.full((5, 3), 51.0)], axis=1))
    for source in (text, holes_N3, buffer.getvalue()):
        assert np.array_equal(load_points(source).xyz, xyz_N3)


def test_load_points_reads_a_table_as_pandas_writes_it() -> None:
    cloud = load_points(b",x,y,z,r,g,b\n0,1,2,3,255,0,0\n1,4,5,6,0,255,0\n")
    assert cloud.xyz.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert cloud.rgb is not None
    assert cloud.rgb.tolist() == [[1, 0, 0], [0, 1, 0]]
