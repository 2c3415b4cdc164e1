"""The oracle of videos: always right on clean ones, nearly always on worn ones, and silent where nothing is clear."""

import io

import av
import numpy as np
import pytest
from PIL import Image, ImageFilter

from anygpt.media.values import Video
from pipelines.tiny.world.images import draw
from pipelines.tiny.world.readings import Reading
from pipelines.tiny.world.scenes import Scene, scenes_for
from pipelines.tiny.world.video_oracle import read_video
from pipelines.tiny.world.videos import render_video

SCENES = scenes_for("video")
BICUBIC = Image.Resampling.BICUBIC


def framewise(change, video):
    """The video with each frame changed as a picture."""
    return Video(np.stack([np.asarray(change(Image.fromarray(frame))) for frame in video.frames]), video.fps)


def h264(video):
    """There and back at crf 28."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=int(video.fps), options={"crf": "28"})
        stream.height, stream.width = video.frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in video.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return Video(np.stack(frames), video.fps)


def scaled(video, gain_db):
    return Video(np.clip(np.rint(video.frames * 10 ** (gain_db / 20)), 0, 255).astype(np.uint8), video.fps)


def noisy(video):
    """40 dB below the video's power."""
    pixels = video.frames.astype(float)
    noise = np.random.default_rng(0).normal(size=pixels.shape) * np.sqrt((pixels**2).mean()) / 100
    return Video(np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8), video.fps)


DEGRADATIONS = {
    "h264": h264,
    "gain up": lambda video: scaled(video, 3),
    "gain down": lambda video: scaled(video, -3),
    "noise": noisy,
    "double": lambda video: framewise(lambda frame: frame.resize((128, 128), BICUBIC), video),
    "half": lambda video: framewise(lambda frame: frame.resize((32, 32), BICUBIC), video),
    "blur": lambda video: framewise(lambda frame: frame.filter(ImageFilter.GaussianBlur(1)), video),
}


def film(shapes, centres, colour="red", radius_px=15.0):
    frames = [draw(shape, colour, radius_px, centre, 235) for shape, centre in zip(shapes, centres, strict=True)]
    return Video(np.stack(frames), 8.0)


def test_read_video_is_always_right_on_clean_videos():
    wrong = [
        scene for number, scene in enumerate(SCENES) if not read_video(render_video(scene, seed=number)).matches(scene)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_read_video_is_right_99_percent_of_the_time_on_worn_videos(name):
    scenes = SCENES if name == "h264" else SCENES[::7]  # 35 scenes with every value of every attribute
    worn = [(scene, DEGRADATIONS[name](render_video(scene, seed=7))) for scene in scenes]
    assert np.mean([read_video(video).matches(scene) for scene, video in worn]) >= 0.99


def test_read_video_finds_no_position():
    assert read_video(render_video(SCENES[0])) == Reading("circle", "red", "small", None, "still")


@pytest.mark.parametrize("chosen", [slice(None, None, 2), slice(2, None), [0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 7], [0, 7]])
def test_read_video_takes_other_lengths(chosen):
    for motion in ("still", "left", "down"):
        scene = Scene("star", "blue", "small", None, motion)
        assert read_video(Video(render_video(scene).frames[chosen], 4.0)).matches(scene)


def test_read_video_outvotes_broken_frames():
    scene = Scene("triangle", "green", "large", None, "up")
    frames = render_video(scene).frames.copy()
    frames[2] = 235
    frames[5] = draw("circle", "red", 8.0, (32.0, 28.0), 235)
    frames[6] = np.random.default_rng(0).integers(256, size=frames[6].shape)
    assert read_video(Video(frames, 8.0)).matches(scene)


def test_read_video_names_nothing_that_is_torn():
    middle = [(32.0, 32.0)] * 8
    assert read_video(film(["circle", "star"] * 4, middle)) == Reading(None, "red", None, None, "still")
    jumping = [(18.0, 32.0), (46.0, 32.0)] * 4
    askew = [(18.0 + 4 * step, 18.0 + 4 * step) for step in range(8)]
    there_and_back = [(18.0 + 7 * min(step, 7 - step), 32.0) for step in range(8)]
    for centres in (jumping, askew, there_and_back):
        assert read_video(film(["star"] * 8, centres)) == Reading("star", "red", "large", None, None)


def test_read_video_finds_nothing_in_blank_stretched_or_single_frames():
    assert read_video(Video(np.full((8, 64, 64, 3), 235, np.uint8), 8.0)) == Reading()
    video = render_video(SCENES[0])
    assert read_video(framewise(lambda frame: frame.resize((64, 48)), video)) == Reading()
    assert read_video(Video(video.frames[:1], 8.0)) == Reading()
