"""The oracle: always right on clean pictures, nearly always on worn ones, and silent where nothing is clear."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from anygpt.errors import MediaError
from pipelines.tiny.world.audio import render_audio
from pipelines.tiny.world.images import RADIUS_PX, centre_px, draw, render_image
from pipelines.tiny.world.oracle import (
    Reading,
    measure_shape,
    name_position,
    name_size,
    read_audio,
    read_image,
    read_points,
    read_text,
    read_video,
)
from pipelines.tiny.world.phrases import caption
from pipelines.tiny.world.points import render_points
from pipelines.tiny.world.scenes import ALL_SCENES, CARRIED, COLOURS, SHAPES, VALUES, Scene
from pipelines.tiny.world.videos import render_video

NOTHING = Reading()


def jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return Image.open(buffer)


def scaled(image, factor):
    return Image.fromarray(np.clip(np.rint(np.asarray(image) * factor), 0, 255).astype(np.uint8))


def noisy(image):
    """40 dB below the picture's power."""
    pixels = np.asarray(image).astype(float)
    noise = np.random.default_rng(0).normal(size=pixels.shape) * np.sqrt((pixels**2).mean()) / 100
    return Image.fromarray(np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8))


def resized(image, size_px, resample):
    return image.resize((size_px, size_px), resample)


BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
DEGRADATIONS = {
    "jpeg": jpeg,
    "gain up": lambda image: scaled(image, 10 ** (3 / 20)),
    "gain down": lambda image: scaled(image, 10 ** (-3 / 20)),
    "noise": noisy,
    "double bilinear": lambda image: resized(image, 128, BILINEAR),
    "double bicubic": lambda image: resized(image, 128, BICUBIC),
    "half bilinear": lambda image: resized(image, 32, BILINEAR),
    "half bicubic": lambda image: resized(image, 32, BICUBIC),
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
}


def fill(covered_HW, rgb):
    """A picture of a mask in one colour on light grey."""
    return np.where(covered_HW[..., None], rgb, 235).astype(np.uint8)


def drawn(scene):
    return draw(scene.shape, scene.colour, RADIUS_PX[scene.size], centre_px(scene.position), background=235)


# Pictures


@pytest.mark.parametrize("seed", range(3))
def test_read_image_is_always_right_on_clean_pictures(seed):
    wrong = [scene for scene in ALL_SCENES if not read_image(render_image(scene, seed)).matches(scene)]
    assert wrong == []


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_read_image_is_right_99_percent_of_the_time_on_worn_pictures(name):
    right = [read_image(DEGRADATIONS[name](render_image(scene, seed=7))).matches(scene) for scene in ALL_SCENES]
    assert np.mean(right) >= 0.99


def test_read_image_takes_arrays_and_other_modes():
    image, expected = render_image(Scene("star", "green")), Reading("star", "green", "large", "center")
    assert read_image(image) == read_image(np.asarray(image)) == read_image(image.convert("RGBA")) == expected


@pytest.mark.parametrize("array", [np.zeros((64, 64)), np.zeros((64, 64, 3)), np.zeros((64, 64, 4), np.uint8)])
def test_read_image_refuses_arrays_that_are_not_rgb_pixels(array):
    with pytest.raises(MediaError, match=r"picture: got .*\(64, 64.*, expected uint8 of shape \(H, W, 3\)"):
        read_image(array)


def test_read_image_finds_nothing_in_blank_even_or_stretched_pictures():
    ramp = np.linspace(50, 255, 64).astype(np.uint8)
    assert read_image(np.full((64, 64, 3), 235, np.uint8)) == NOTHING
    assert read_image(np.broadcast_to(ramp[None, :, None], (64, 64, 3))) == NOTHING
    assert read_image(render_image(Scene("star", "red")).resize((64, 48))) == NOTHING


def test_read_image_finds_nothing_in_noise():
    rng = np.random.default_rng(0)
    for level in (20, 80):
        for _ in range(20):
            pixels = np.clip(235 + level * rng.normal(size=(64, 64, 3)), 0, 255).astype(np.uint8)
            coarse = np.kron(pixels[:8, :8], np.ones((8, 8, 1), np.uint8))
            assert read_image(pixels) == NOTHING
            assert read_image(coarse).shape is None


@pytest.mark.parametrize("other_colour", ["blue", "magenta"])
def test_read_image_finds_nothing_where_there_are_two_shapes(other_colour):
    rng = np.random.default_rng(0)
    for first, second in rng.permuted([SHAPES] * 10, axis=1)[:, :2]:
        one = drawn(Scene(str(first), "blue", "large", "top left"))
        two = drawn(Scene(str(second), other_colour, "small", "bottom right"))
        assert read_image(np.where(two < 235, two, one)) == NOTHING


@pytest.mark.parametrize("shape", SHAPES)
def test_read_image_finds_nothing_where_the_frame_cuts_the_shape(shape):
    for x_px in (0.0, 8.0):
        assert read_image(draw(shape, "red", 15.0, (x_px, 32.0), background=235)) == NOTHING


def test_read_image_names_no_shape_for_other_figures():
    y_px, x_px = np.mgrid[:64, :64] - 31.5
    distance_px = np.hypot(x_px, y_px)
    figures = {
        "ring": abs(distance_px - 11) < 4,
        "half disc": (distance_px < 15) & (x_px > 0),
        "bar": (abs(x_px) < 15) & (abs(y_px) < 8),
        "diamond": abs(x_px) + abs(y_px) < 15,
        "triangle upside down": drawn(Scene("triangle", "red"))[::-1, :, 1] < 130,
        "star upside down": drawn(Scene("star", "red"))[::-1, :, 1] < 130,
    }
    for name, covered_HW in figures.items():
        assert read_image(fill(covered_HW, COLOURS["red"])).shape is None, name


def test_read_image_names_no_shape_between_star_and_circle():
    """From a star (0) to a disc (1): the verdict changes once, through None, and is a circle only at the end."""
    y_px, x_px = np.mgrid[:64, :64] - 31.5
    wave = np.cos(5 * np.arctan2(x_px, -y_px))
    amounts = np.linspace(0.0, 1.0, 21)
    verdicts = [
        read_image(fill(np.hypot(x_px, y_px) < 12 * (1 + 0.4 * (1 - amount) * wave), COLOURS["red"])).shape
        for amount in amounts
    ]
    stars, circles = verdicts.count("star"), verdicts.count("circle")
    assert verdicts == ["star"] * stars + [None] * (21 - stars - circles) + ["circle"] * circles
    assert stars >= 3
    assert 3 <= circles <= 7
    assert stars + circles <= 17


def test_read_image_does_not_take_a_smear_for_a_circle():
    smeared = render_image(Scene("star", "red", "small")).filter(ImageFilter.GaussianBlur(2.5))
    assert read_image(smeared).shape is None


@pytest.mark.parametrize(
    "rgb", [(0, 0, 0), (128, 128, 128), (120, 60, 20), (240, 130, 40), (40, 190, 140), (45, 140, 220), (255, 180, 180)]
)
def test_read_image_names_no_colour_that_is_not_in_the_world(rgb):
    square_HW = drawn(Scene("square", "red"))[..., 1] < 100
    assert read_image(fill(square_HW, rgb)) == Reading("square", None, "large", "center")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("along_px", [18.0, 25.0, 32.0, 39.0, 46.0])
def test_measure_shape_finds_the_shape_anywhere_on_a_path(shape, along_px):
    measured = measure_shape(draw(shape, "yellow", 15.0, (along_px, 32.0), background=235))
    assert (measured.shape, measured.colour) == (shape, "yellow")
    assert measured.centre_px == pytest.approx((along_px, 32.0), abs=0.3)
    assert measured.radius_px == pytest.approx(15.0, rel=0.03)


def test_measure_shape_gives_lengths_for_a_picture_64_wide():
    large = draw("circle", "cyan", 48.0, (54.0, 96.0), background=235, size_px=192)
    measured = measure_shape(large)
    assert measured.centre_px == pytest.approx((18.0, 32.0), abs=0.2)
    assert measured.radius_px == pytest.approx(16.0, abs=0.3)


def test_name_size_and_name_position_reject_what_is_far_off():
    assert [name_size(px) for px in (5.0, 8.0, 10.5, 11.5, 15.0, 22.0, None)] == [
        None, "small", "small", "large", "large", None, None,
    ]  # fmt: skip
    assert name_position((20.0, 44.0)) == "bottom left"
    assert name_position((32.0, 25.0)) is None
    assert name_position((32.0, 5.0)) is None


# Texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a small red circle at the top left", Reading("circle", "red", "small", "top left")),
        ("Here it is: a LARGE Blue star, in the center.", Reading("star", "blue", "large", "center")),
        ("at the bottom\n right, a green square", Reading("square", "green", None, "bottom right")),
        ("a large blue star moving up", Reading("star", "blue", "large", None, "up")),
        ("the triangle is at the top", Reading("triangle", None, None, "top")),
        ("a red circle or a blue circle", Reading("circle", None, None, None)),
        ("top left, then left", NOTHING),
        ("red, red, and red again", Reading(colour="red")),
        ("redder circles, starry squares, enlarged, topmost, rights", NOTHING),
        ("", NOTHING),
    ],
)
def test_read_text_takes_whole_words_and_longest_positions(text, expected):
    assert read_text(text) == expected


def test_read_text_is_right_on_a_caption_of_every_scene():
    for scene in ALL_SCENES:
        assert read_text(f"a {scene.size} {scene.colour} {scene.shape} at the {scene.position}").matches(scene)


# All media


def test_oracle_reads_every_modality():
    scene = Scene("star", "green", "small", "top", "up")
    shown = {modality: scene.in_modality(modality) for modality in CARRIED}
    readings = {
        "text": read_text(caption(shown["text"])),
        "image": read_image(render_image(shown["image"])),
        "audio": read_audio(render_audio(shown["audio"])),
        "video": read_video(render_video(shown["video"])),
        "points": read_points(render_points(shown["points"])),
    }
    for modality, reading in readings.items():
        assert {name for name in VALUES if reading.get(name) is not None} == set(CARRIED[modality])
        assert reading.matches(shown[modality])


# Readings


def test_reading_matches_only_where_all_named_attributes_are_right():
    scene, reading = Scene("star", "red", "small", "top"), Reading("star", "red", "large", None)
    assert reading.matches(scene, ("shape", "colour"))
    assert not reading.matches(scene, ("shape", "size"))
    assert not reading.matches(scene, ("position",))
    assert not reading.matches(scene)
    assert Reading("star", "red").matches(scene.in_modality("points"))
    assert not Reading("star", "red", "small").matches(scene.in_modality("video"))


def test_reading_get_refuses_unknown_attributes():
    assert Reading("star").get("shape") == "star"
    with pytest.raises(ValueError, match="attribute: 'color' is not one of shape, colour, size, position"):
        Reading().get("color")
