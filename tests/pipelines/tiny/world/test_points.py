"""Point clouds of scenes: solids, turns, colours and scale are those of the world's definition."""

import math

import numpy as np
import pytest

from pipelines.tiny.world.point_oracle import distance_to_surface
from pipelines.tiny.world.points import (
    COLOUR_JITTER,
    NUM_POINTS,
    STAR_DEPTH,
    render_array,
    render_batch,
    render_points,
    surface_N3,
)
from pipelines.tiny.world.scenes import COLOURS, SHAPES, Scene, scenes_for


@pytest.mark.parametrize("scene", scenes_for("points"))
def test_render_points_is_centred_and_fills_the_unit_sphere(scene):
    points = render_points(scene)
    assert points.xyz.shape == points.rgb.shape == (NUM_POINTS, 3)
    assert points.xyz.dtype == points.rgb.dtype == np.float32
    np.testing.assert_allclose(points.xyz.mean(axis=0), 0.0, atol=1e-5)
    assert np.linalg.norm(points.xyz, axis=1).max() == pytest.approx(1.0)
    off = points.rgb - np.array(COLOURS[scene.colour]) / 255
    assert np.abs(off).max() <= COLOUR_JITTER + 1e-6
    assert np.abs(off).max() > 0.9 * COLOUR_JITTER


@pytest.mark.parametrize("shape", SHAPES)
def test_points_lie_on_the_surface(shape):
    points_N3 = surface_N3(shape, 2000, np.random.default_rng(0))
    np.testing.assert_allclose(distance_to_surface(shape, points_N3), 0.0, atol=1e-9)


def test_points_are_spread_evenly():
    """Shares of parts of the surface, from school geometry."""
    sphere, cube, cone, star = (surface_N3(shape, 40_000, np.random.default_rng(1)) for shape in SHAPES)
    assert np.mean(sphere[:, 1] > 0.5) == pytest.approx(1 / 4, abs=0.01)
    for axis in range(3):
        assert np.mean(cube[:, axis] == cube.max()) == pytest.approx(1 / 6, abs=0.01)
    base = cone[:, 1] < cone[:, 1].min() + 1e-9
    assert base.mean() == pytest.approx(1 / 3, abs=0.01)  # slant height = twice the radius
    assert np.mean(cone[~base][:, 1] > (cone[:, 1].min() + cone[:, 1].max()) / 2) == pytest.approx(1 / 4, abs=0.01)
    face = 5 * 1.15 * 0.5 * math.sin(math.pi / 5)
    edge = math.hypot(1.15 - 0.5 * math.cos(math.pi / 5), 0.5 * math.sin(math.pi / 5))
    on_faces = np.abs(star[:, 2]) == STAR_DEPTH / 2
    assert on_faces.mean() == pytest.approx(2 * face / (2 * face + 10 * edge * STAR_DEPTH), abs=0.01)


def test_cone_and_star_point_upwards():
    for shape in ("triangle", "star"):
        xyz = render_points(Scene(shape, "red"), seed=2, num_points=4000).xyz
        assert np.ptp(xyz[xyz[:, 1] > xyz[:, 1].max() - 0.05][:, 0]) < 0.35
        assert xyz[:, 1].max() > -xyz[:, 1].min()


def test_turns_are_about_the_vertical_axis():
    clouds = [render_points(Scene("star", "red"), seed=seed).xyz for seed in range(8)]
    broadest = {int(np.degrees(np.linalg.eigh(np.cov(cloud[:, [0, 2]].T))[1][0, 1]) // 10) for cloud in clouds}
    assert len(broadest) > 3
    heights = [np.ptp(cloud[:, 1]) for cloud in clouds]
    np.testing.assert_allclose(heights, heights[0], rtol=0.05)


def test_render_points_is_repeatable_and_takes_any_number():
    scene = Scene("star", "cyan")
    clouds = [render_points(scene, seed, num_points=100) for seed in (3, 3, 4)]
    assert clouds[0].xyz.shape == (100, 3)
    np.testing.assert_array_equal(clouds[0].xyz, clouds[1].xyz)
    np.testing.assert_array_equal(clouds[0].rgb, clouds[1].rgb)
    assert (clouds[0].xyz != clouds[2].xyz).any()


def test_render_batch_equals_single_clouds():
    scenes = scenes_for("points")[::6]
    batch_BN6, rng = render_batch(scenes, np.random.default_rng(1), 50), np.random.default_rng(1)
    assert batch_BN6.shape == (4, 50, 6)
    np.testing.assert_array_equal(batch_BN6, np.stack([render_array(scene, rng, 50) for scene in scenes]))
