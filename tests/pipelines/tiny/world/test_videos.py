"""Videos of scenes: paths, frames and pictures are those of the world's definition."""

import numpy as np
import pytest

from pipelines.tiny.world.images import BACKGROUND_RANGE, RADIUS_PX, draw
from pipelines.tiny.world.scenes import MOTIONS, Scene, scenes_for
from pipelines.tiny.world.videos import FPS, FRAMES, path_F2, render_array, render_batch, render_video


def test_render_video_is_8_frames_of_64_pixels_8_a_second():
    video = render_video(scenes_for("video")[0])
    assert (video.frames.shape, video.frames.dtype) == ((8, 64, 64, 3), np.uint8)
    assert (len(video.frames), video.fps, video.duration_s, video.audio) == (FRAMES, FPS, 1.0, None)


@pytest.mark.parametrize(
    ("motion", "first", "last"),
    [
        ("still", (32, 32), (32, 32)),
        ("left", (46, 32), (18, 32)),
        ("right", (18, 32), (46, 32)),
        ("up", (32, 46), (32, 18)),
        ("down", (32, 18), (32, 46)),
    ],
)
def test_path_crosses_the_picture_at_constant_speed(motion, first, last):
    centres_F2 = path_F2(motion)
    assert (tuple(centres_F2[0]), tuple(centres_F2[-1])) == (first, last)
    np.testing.assert_allclose(np.diff(centres_F2, axis=0), np.tile((centres_F2[-1] - centres_F2[0]) / 7, (7, 1)))


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("size", RADIUS_PX)
def test_frames_are_pictures_along_the_path_on_one_ground(motion, size):
    frames = render_video(Scene("triangle", "green", size, None, motion)).frames
    background = int(frames[0, 0, 0, 0])
    assert BACKGROUND_RANGE[0] <= background <= BACKGROUND_RANGE[1]
    for frame_HW3, (x_px, y_px) in zip(frames, path_F2(motion), strict=True):
        np.testing.assert_array_equal(frame_HW3, draw("triangle", "green", RADIUS_PX[size], (x_px, y_px), background))


def test_render_video_is_repeatable_and_varies_with_the_seed():
    scene = Scene("star", "cyan", "small", None, "up")
    videos = [render_video(scene, seed).frames for seed in (3, 3, 4)]
    np.testing.assert_array_equal(videos[0], videos[1])
    assert (videos[0] != videos[2]).any()


def test_render_batch_equals_single_videos():
    scenes = scenes_for("video")[::80]
    batch_BFHW3, rng = render_batch(scenes, np.random.default_rng(1)), np.random.default_rng(1)
    np.testing.assert_array_equal(batch_BFHW3, np.stack([render_array(scene, rng) for scene in scenes]))


def test_a_scene_without_motion_is_refused():
    with pytest.raises(ValueError, match=r"scene motion: .* has none"):
        render_video(Scene("star", "cyan"))
