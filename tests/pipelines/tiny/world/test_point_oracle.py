"""The oracle of point clouds: always right on clean ones, nearly always on worn ones, silent about other solids."""

import numpy as np
import pytest

from anygpt.media.values import PointCloud
from pipelines.tiny.world.point_oracle import read_points
from pipelines.tiny.world.points import render_points, surface_N3
from pipelines.tiny.world.readings import Reading
from pipelines.tiny.world.scenes import COLOURS, Scene, scenes_for

SCENES = scenes_for("points")


def jittered(points, rng):
    xyz = points.xyz + 0.01 * rng.normal(size=points.xyz.shape)
    return PointCloud(xyz.astype(np.float32), points.rgb)


def thinned(points, rng):
    chosen = rng.permutation(len(points.xyz))[:512]
    return PointCloud(points.xyz[chosen], points.rgb[chosen])


def moved(points, rng):
    return PointCloud((points.xyz * 7.0 + rng.uniform(-50, 50, size=3)).astype(np.float32), points.rgb)


DEGRADATIONS = {
    "jitter": jittered,
    "fewer points": thinned,
    "both": lambda points, rng: jittered(thinned(points, rng), rng),
    "another place and scale": moved,
}


def cloud(xyz, rgb=None):
    return PointCloud(np.asarray(xyz, dtype=np.float32), rgb)


@pytest.mark.parametrize("seed", range(3))
def test_read_points_is_always_right_on_clean_clouds(seed):
    assert [scene for scene in SCENES if not read_points(render_points(scene, seed)).matches(scene)] == []


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_read_points_is_right_99_percent_of_the_time_on_worn_clouds(name):
    rng = np.random.default_rng(0)
    worn = [(scene, DEGRADATIONS[name](render_points(scene, seed=7), rng)) for scene in SCENES]
    assert np.mean([read_points(points).matches(scene) for scene, points in worn]) >= 0.99


@pytest.mark.parametrize("shape", ["square", "star"])
def test_read_points_finds_the_shape_at_any_turn(shape):
    xyz = surface_N3(shape, 512, np.random.default_rng(3))
    for turn in np.linspace(0.0, 2 * np.pi, 12, endpoint=False) + 0.05:
        turning = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
        assert read_points(cloud(xyz @ turning)).shape == shape


def test_read_points_reads_no_colour_where_there_is_none():
    xyz = render_points(Scene("star", "red")).xyz
    for rgb in (None, (0.5, 0.5, 0.5), (0.1, 0.02, 0.02), (0.95, 0.5, 0.15)):
        colours = None if rgb is None else np.tile(np.float32(rgb), (len(xyz), 1))
        assert read_points(cloud(xyz, colours)) == Reading("star")
    assert {read_points(render_points(Scene("star", colour))).colour for colour in COLOURS} == set(COLOURS)


def test_read_points_names_no_shape_for_other_solids():
    rng = np.random.default_rng(0)
    normal, even = rng.normal(size=(1024, 3)), rng.uniform(-1, 1, size=(1024, 3))
    sphere, cube, cone, star = (surface_N3(shape, 1024, rng) for shape in ("circle", "square", "triangle", "star"))
    others = {
        "one point": np.zeros((1, 3)),
        "one place": np.ones((500, 3)),
        "line": even * (1, 0, 0),
        "plane": even * (1, 1, 0),
        "full cube": even,
        "cloud": normal,
        "half sphere": sphere[sphere[:, 1] > 0],
        "long box": cube * (1, 1.5, 1),
        "cone upside down": cone * (1, -1, 1),
        "cone on its side": cone[:, [1, 0, 2]],
        "star upside down": star * (1, -1, 1),
        "star on its face": star[:, [0, 2, 1]],
    }
    assert {name: read_points(cloud(xyz)).shape for name, xyz in others.items()} == dict.fromkeys(others)
