"""Pictures of scenes: sizes, places and colours are those of the world's definition."""

import math

import numpy as np
import pytest

from pipelines.tiny.world.images import (
    BACKGROUND_RANGE,
    JITTER_PX,
    RADIUS_PX,
    SIZE_PX,
    centre_px,
    draw,
    outline_K2,
    render_array,
    render_batch,
    render_image,
    signed_distance_HW,
)
from pipelines.tiny.world.scenes import ALL_SCENES, COLOURS, SHAPES, Scene

# Areas of shapes of radius 1, from school geometry.
UNIT_AREA = {
    "circle": math.pi,
    "square": 1.8**2,
    "triangle": 3 * math.sqrt(3) / 4 * 1.15**2,
    "star": 5 * 1.15 * 0.5 * math.sin(math.pi / 5),
}


def coverage(picture, colour, background):
    """Soft coverage (H, W) of a picture that `draw` made."""
    span = np.array(COLOURS[colour], dtype=float) - background
    return (picture - float(background)) @ span / (span @ span)


@pytest.mark.parametrize("size", RADIUS_PX)
@pytest.mark.parametrize("shape", SHAPES)
def test_draw_covers_the_area_of_the_shape(shape, size):
    picture = draw(shape, "blue", RADIUS_PX[size], (31.3, 32.6), background=240)
    expected = UNIT_AREA[shape] * RADIUS_PX[size] ** 2
    assert coverage(picture, "blue", 240).sum() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("shape", SHAPES)
def test_draw_puts_the_centroid_at_the_centre(shape):
    weights = coverage(draw(shape, "red", 15.0, (30.25, 33.5), background=230), "red", 230)
    axis = np.arange(SIZE_PX) + 0.5
    assert (weights.sum(axis=0) @ axis) / weights.sum() == pytest.approx(30.25, abs=0.1)
    assert (weights.sum(axis=1) @ axis) / weights.sum() == pytest.approx(33.5, abs=0.1)


@pytest.mark.parametrize("colour", COLOURS)
def test_draw_fills_the_middle_and_leaves_the_ground(colour):
    picture = draw("square", colour, 8.0, (32.0, 32.0), background=220)
    assert tuple(picture[32, 32]) == COLOURS[colour]
    assert (picture[0, 0] == 220).all()


def test_draw_is_upright():
    for shape in ("triangle", "star"):
        weights = coverage(draw(shape, "green", 15.0, (32.0, 32.0), background=240), "green", 240)
        columns = np.flatnonzero(weights[17] > 0.1)
        assert {31, 32} <= set(columns)  # the tip, near the top
        assert len(columns) <= 4
        np.testing.assert_allclose(weights, weights[:, ::-1], atol=0.02)


def test_signed_distance_is_exact_along_an_axis():
    distance_HW = signed_distance_HW("square", 10.0, (32.5, 32.5), SIZE_PX)
    assert distance_HW[32, 32] == pytest.approx(-9.0)
    assert distance_HW[32, 52] == pytest.approx(11.0)
    assert signed_distance_HW("circle", 10.0, (32.5, 32.5), SIZE_PX)[32, 52] == pytest.approx(10.0)


def test_outline_refuses_shapes_without_corners():
    with pytest.raises(ValueError, match="no outline for shape 'circle'"):
        outline_K2("circle", 8.0)


def test_centre_px_reads_positions_as_rows_and_columns():
    assert centre_px("top left") == (18.0, 18.0)
    assert centre_px("right") == (46.0, 32.0)
    assert centre_px("bottom") == (32.0, 46.0)


def test_render_array_stays_within_jitter_and_background_range():
    rng, scene = np.random.default_rng(0), Scene("circle", "blue", "small", "bottom left")
    axis = np.arange(SIZE_PX) + 0.5
    for _ in range(20):
        picture = render_array(scene, rng)
        background = int(picture[0, -1, 0])
        assert BACKGROUND_RANGE[0] <= background <= BACKGROUND_RANGE[1]
        weights = coverage(picture, "blue", background)
        x, y = (float((weights.sum(axis=i) @ axis) / weights.sum()) for i in (0, 1))
        assert abs(x - 18.0) <= JITTER_PX + 0.05
        assert abs(y - 46.0) <= JITTER_PX + 0.05


def test_render_image_is_repeatable_and_varies_with_the_seed():
    image = render_image(Scene("star", "cyan"), seed=3)
    assert (image.size, image.mode) == ((SIZE_PX, SIZE_PX), "RGB")
    assert image.tobytes() == render_image(Scene("star", "cyan"), seed=3).tobytes()
    assert image.tobytes() != render_image(Scene("star", "cyan"), seed=4).tobytes()


def test_render_batch_equals_single_pictures():
    scenes = ALL_SCENES[::100]
    batch_BHW3 = render_batch(scenes, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    assert batch_BHW3.dtype == np.uint8
    np.testing.assert_array_equal(batch_BHW3, np.stack([render_array(scene, rng) for scene in scenes]))
