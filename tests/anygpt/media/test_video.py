"""Videos that decode: every format upright, evenly thinned and with its sound. Files are made with PyAV.

Legend: F frames, H height, W width.
"""

from __future__ import annotations

import base64
import gc
import io
import struct
import tracemalloc
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from PIL import Image

from anygpt.errors import ConfigError, MediaError
from anygpt.media import Audio, Video, VideoLimits, encode_mp4, load_video, save_video
from anygpt.media.kinds import save_medium

RED, LIME, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def fading(frames: int = 10, height: int = 48, width: int = 64) -> np.ndarray:
    """Uint8 (F, H, W, 3): grey that grows lighter by 20 a frame."""
    levels_F = 20 + 20 * np.arange(frames, dtype=np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels_F[:, None, None, None], (frames, height, width, 3)))


def tone(duration_s: float, rate_hz: int = 16_000) -> Audio:
    times_S = np.arange(round(rate_hz * duration_s)) / rate_hz
    return Audio((0.5 * np.sin(2 * np.pi * 440 * times_S)).astype(np.float32), rate_hz)


def encoded_video(
    container: str,
    codec: str,
    pixel_format: str,
    frames_FHW3: np.ndarray,
    times: list[int] | None = None,
    *,
    options: dict[str, str] | None = None,
    pixel_aspect: Fraction | None = None,
) -> bytes:
    """A file of 10 frames a second, or of frames that start at `times`, in tenths of a second."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=options or {}) as file:
        stream = file.add_stream(codec, rate=10)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        stream.height, stream.width = frames_FHW3.shape[1:3]
        stream.pix_fmt = pixel_format
        for time, frame_HW3 in zip(times or range(len(frames_FHW3)), frames_FHW3, strict=True):
            frame = av.VideoFrame.from_ndarray(frame_HW3, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = time, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def turned(data: bytes, matrix: tuple[int, ...]) -> bytes:
    """The MP4 with another display matrix (a, b, u, c, d, v, x, y, w) in its track header."""
    at = data.index(b"tkhd") + 4 + 40
    assert struct.unpack_from(">9i", data, at) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    return data[:at] + struct.pack(">9i", *matrix) + data[at + 36 :]


def quarters() -> np.ndarray:
    """One frame (1, 48, 64, 3): red, lime in its upper half; blue, white in its lower."""
    frame_HW3 = np.array([[RED, LIME], [BLUE, WHITE]], np.uint8).repeat(24, axis=0).repeat(32, axis=1)
    return frame_HW3[None]


FORMATS = {
    "MP4 of H.264": ("mp4", "libx264", "yuv420p"),
    "MP4 of MPEG-4": ("mp4", "mpeg4", "yuv420p"),
    "MOV of motion JPEG": ("mov", "mjpeg", "yuvj420p"),
    "WebM of VP8": ("webm", "libvpx", "yuv420p"),
    "WebM of VP9": ("webm", "libvpx-vp9", "yuv420p"),
    "MKV of H.264": ("matroska", "libx264", "yuv420p"),
    "MKV of FFV1": ("matroska", "ffv1", "bgr0"),
    "GIF": ("gif", "gif", "gray"),
}


@pytest.mark.parametrize("case", FORMATS)
def test_load_video_decodes(case: str) -> None:
    video = load_video(encoded_video(*FORMATS[case], fading()))
    assert video.frames.shape == (10, 48, 64, 3)
    assert np.abs(video.frames.astype(int) - fading()).max() <= 6
    assert video.fps == pytest.approx(10.0, rel=1e-3)
    assert video.audio is None


def test_load_video_gives_the_same_frames_from_every_kind_of_source(tmp_path: Path) -> None:
    data = encoded_video("mp4", "libx264", "yuv420p", fading(3))
    path = tmp_path / "the name says nothing.txt"
    path.write_bytes(data)
    url = "data:video/mp4;base64," + base64.b64encode(data).decode()
    expected = load_video(data)
    for source in (path, str(path), bytearray(data), url, expected):
        assert np.array_equal(load_video(source).frames, expected.frames)


def test_load_video_takes_a_gif_that_pillow_wrote_with_its_times_and_white_ground() -> None:
    frames = [Image.new("RGBA", (8, 6), (0, 0, 0, 0)) for _ in range(2)]
    frames[0].paste((255, 0, 0, 255), (0, 0, 4, 6))
    frames[1].paste((0, 0, 255, 255), (0, 0, 8, 3))
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=200, disposal=2, loop=0)
    url = "data:image/gif;base64," + base64.b64encode(buffer.getvalue()).decode()
    for source in (buffer.getvalue(), url):
        video = load_video(source)
        assert video.frames[0, 0, [0, -1]].tolist() == [[255, 0, 0], [255, 255, 255]]
        assert video.frames[1, 0, [0, -1]].tolist() == [[0, 0, 255], [0, 0, 255]]
        assert video.fps == pytest.approx(5.0)


@pytest.mark.parametrize("container", ["mp4", "webm", "matroska"])
def test_load_video_takes_a_clip_of_one_frame(container: str) -> None:
    codec = "libvpx" if container == "webm" else "libx264"
    video = load_video(encoded_video(container, codec, "yuv420p", fading(1)))
    assert video.frames.shape == (1, 48, 64, 3)
    assert video.duration_s == pytest.approx(0.1, abs=0.07)


TURNS = {  # what a telephone writes when it is held so -> how the stored frame must be turned, in quarters to the left
    "upright": ((65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), 0),
    "quarter to the right": ((0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30), -1),
    "upside down": ((-65536, 0, 0, 0, -65536, 0, 64 << 16, 48 << 16, 1 << 30), 2),
    "quarter to the left": ((0, -65536, 0, 65536, 0, 0, 0, 64 << 16, 1 << 30), 1),
}


@pytest.mark.parametrize("case", TURNS)
def test_load_video_turns_upright(case: str) -> None:
    matrix, quarter_turns = TURNS[case]
    data = turned(encode_mp4(Video(quarters(), 10.0)), matrix)
    (frame_HW3,) = load_video(data).frames
    expected_HW3 = np.rot90(quarters()[0], quarter_turns)
    assert frame_HW3.shape == expected_HW3.shape
    inner = np.s_[4:-4:8, 4:-4:8]
    assert np.abs(frame_HW3[inner].astype(int) - expected_HW3[inner]).max() < 16


def test_load_video_keeps_evenly_spaced_frames_and_the_duration() -> None:
    data = encoded_video("mp4", "libx264", "yuv420p", fading(11))
    for kept in (1, 2, 3, 5, 10):
        video = load_video(data, max_kept_frames=kept)
        expected_F = 20 + 20 * np.array([index * 11 // kept for index in range(kept)])
        assert len(video.frames) == kept
        assert np.abs(video.frames.mean(axis=(1, 2, 3)) - expected_F).max() <= 25  # within one frame
        assert np.diff(video.frames.mean(axis=(1, 2, 3))).min(initial=np.inf) > 10
        assert video.duration_s == pytest.approx(1.1)
    assert len(load_video(data, max_kept_frames=None).frames) == 11


def test_load_video_spreads_frames_of_varying_duration_over_the_same_time() -> None:
    video = load_video(encoded_video("mp4", "libx264", "yuv420p", fading(4), times=[0, 1, 2, 10]))
    assert len(video.frames) == 4
    assert video.duration_s == pytest.approx(1.1, abs=0.7)
    assert video.duration_s >= 1.0


CLOCK_S = 1_700_000_000  # an hour in November 2023, counted from 1970
CLOCK_TIMES = {  # in tenths of a second
    "from a clock time on": [10 * CLOCK_S + index for index in range(9)],
    "from an hour on": [36_000 + index for index in range(9)],
    "from 0, then a clock time": [0, *(10 * CLOCK_S + index for index in range(1, 9))],
}


@pytest.mark.parametrize(
    ("container", "case"),
    # The last is not for MP4, which holds the difference of two frames in 32 bits.
    [*(("matroska", case) for case in CLOCK_TIMES), *(("mp4", case) for case in list(CLOCK_TIMES)[:2])],
)
def test_load_video_counts_time_from_the_first_frame_on(container: str, case: str) -> None:
    video = load_video(encoded_video(container, "libx264", "yuv420p", fading(9), times=CLOCK_TIMES[case]))
    assert len(video.frames) == 9
    assert video.duration_s == pytest.approx(0.9, abs=0.02)


def test_load_video_does_not_believe_that_the_first_frame_lasts_an_hour() -> None:
    times = [0, *(36_000 + index for index in range(8))]
    video = load_video(encoded_video("mp4", "mpeg4", "yuv420p", fading(9), times=times))
    assert len(video.frames) == 9
    assert video.duration_s == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("frames", [1, 9])
def test_load_video_does_not_believe_that_the_last_frame_lasts_days(frames: int) -> None:
    data, copy = encoded_video("mp4", "mpeg4", "yuv420p", fading(frames)), io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(copy, "w", format="mp4") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        packets[-1].duration = round(500_000 / packets[-1].time_base / 10)
        for packet in packets:
            packet.stream = stream
            target.mux(packet)
    video = load_video(copy.getvalue())
    assert len(video.frames) == frames
    assert video.duration_s == pytest.approx(frames / 10, abs=0.07)


def test_load_video_holds_to_what_an_edit_list_shows() -> None:
    data = encode_mp4(Video(fading(10), 10.0))
    at = data.index(b"elst") + 4
    assert struct.unpack_from(">II", data, at) == (0, 1)
    shown = data[: at + 8] + struct.pack(">I", 500) + data[at + 12 :]  # milliseconds
    video = load_video(shown)
    assert len(video.frames) == 5
    assert np.abs(video.frames.astype(int) - fading(5)).max() <= 6
    assert video.duration_s == pytest.approx(0.5, abs=0.02)


def test_load_video_shrinks_large_frames_before_it_turns_them() -> None:
    data = encode_mp4(Video(quarters(), 10.0))
    assert load_video(data, max_kept_side_px=32).frames.shape == (1, 24, 32, 3)
    assert load_video(turned(data, TURNS["quarter to the left"][0]), max_kept_side_px=32).frames.shape == (1, 32, 24, 3)
    assert load_video(data, max_kept_side_px=None).frames.shape == (1, 48, 64, 3)


def test_load_video_thins_a_video_value() -> None:
    video = load_video(Video(fading(10), 10.0, tone(1.0)), max_kept_frames=5)
    assert video.frames[:, 0, 0, 0].tolist() == [20, 60, 100, 140, 180]
    assert (video.fps, video.duration_s) == (5.0, 1.0)
    assert video.audio is not None


def test_load_video_needs_memory_for_the_kept_frames_only() -> None:
    data = encoded_video("mp4", "libx264", "yuv420p", np.zeros((300, 240, 320, 3), np.uint8))
    load_video(data, max_kept_frames=1)  # imports
    tracemalloc.start()
    video = load_video(data, max_kept_frames=8)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert video.frames.nbytes == 8 * 240 * 320 * 3
    assert peak_bytes < 4 * video.frames.nbytes


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63), (2, 2), (1, 1), (48, 1)])
@pytest.mark.parametrize("fps", [10.0, 29.97])
def test_mp4_round_trips_frames_of_any_size(height: int, width: int, fps: float) -> None:
    video = load_video(encode_mp4(Video(fading(5, height, width), fps)))
    assert video.frames.shape == (5, height + height % 2, width + width % 2, 3)
    assert np.abs(video.frames.astype(int) - 20 - 20 * np.arange(5)[:, None, None, None]).max() <= 6
    assert video.fps == pytest.approx(fps, rel=1e-4)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 11_111])
@pytest.mark.parametrize("duration_s", [0.4, 1.0, 1.5])
def test_mp4_round_trips_sound_shorter_and_longer_than_the_pictures(rate_hz: int, duration_s: float) -> None:
    video = load_video(encode_mp4(Video(fading(10), 10.0, tone(duration_s, rate_hz))))
    assert video.duration_s == pytest.approx(1.0)
    assert video.audio is not None
    assert video.audio.sampling_rate_hz == (48_000 if rate_hz == 11_111 else rate_hz)
    assert video.audio.duration_s == pytest.approx(duration_s, abs=0.07)
    expected_S = tone(duration_s, video.audio.sampling_rate_hz).waveform
    middle = slice(len(expected_S) // 4, len(expected_S) * 3 // 4)
    assert np.abs(video.audio.waveform[middle] - expected_S[middle]).max() < 0.1


def test_the_same_frames_give_the_same_bytes() -> None:
    """x264 may give others once in some dozens of times, least rarely for noise."""
    noise = np.random.default_rng(0).integers(200, 230, (8, 64, 64, 3)).astype(np.uint8)
    noise[:, 20:40, 20:40] = [200, 30, 30]
    assert len({encode_mp4(Video(noise, 8.0)) for _ in range(200)}) == 1


def test_encode_mp4_writes_what_browsers_play_from_the_first_bytes_on() -> None:
    data = encode_mp4(Video(fading(3), 10.0, tone(0.3)))
    assert data.index(b"ftyp") < data.index(b"moov") < data.index(b"mdat")
    with av.open(io.BytesIO(data)) as container:
        picture, sound = container.streams
        assert (picture.codec_context.name, picture.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert sound.codec_context.name == "aac"


def test_save_video_writes_the_whole_file(tmp_path: Path) -> None:
    video = Video(fading(3), 10.0)
    save_medium(video, tmp_path / "a.MP4")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.MP4"]
    assert load_video(tmp_path / "a.MP4").frames.shape == (3, 48, 64, 3)
    with pytest.raises(MediaError, match=r"expected a path that ends in '\.mp4'"):
        save_video(video, tmp_path / "a.webm")


@pytest.mark.parametrize(
    ("video", "expected"),
    [(None, "NoneType given, expected a Video"), (Video(fading(2), 1e-6), "1e-06 frames a second given")],
)
def test_encode_mp4_refuses_in_one_line(video, expected: str) -> None:
    with pytest.raises(MediaError, match=expected) as raised:
        encode_mp4(video)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("option", ["max_kept_frames", "max_kept_side_px"])
@pytest.mark.parametrize("value", [0, 1.5, True])
def test_load_video_refuses_impossible_options(option: str, value) -> None:
    with pytest.raises(ConfigError, match=f"{option}: .* given, expected a whole number of at least 1 or None"):
        load_video(Video(fading(2), 10.0), **{option: value})


@pytest.mark.parametrize(
    ("width_px", "height_px", "fps", "seconds"), [(1920, 1080, 30, 60), (1920, 1080, 60, 60), (3840, 2160, 30, 15)]
)
def test_video_limits_allow_what_telephones_record(width_px: int, height_px: int, fps: int, seconds: int) -> None:
    limits = VideoLimits()
    assert limits.max_pixels >= width_px * height_px
    assert limits.max_total_pixels >= width_px * height_px * fps * seconds
    assert limits.max_frames >= fps * seconds
    assert limits.max_duration_s >= seconds


@pytest.mark.parametrize("name", [field.name for field in fields(VideoLimits)])
def test_video_limits_refuse_impossible_values(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}: 0 given, expected a .*number .*; raise it"):
        VideoLimits(**{name: 0})


def test_video_long_decoding_keeps_no_frames_in_memory():
    """Frames that refer to themselves would stay until the garbage collector comes by."""
    frame = b"\x21\xf9\x04\x04\x01\x00\x00\x00\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    head = b"GIF89a" + struct.pack("<HHBBB", 1_000, 1_000, 0x80, 0, 0) + b"\x00\x00\x00\xff\x00\x00"
    gc.disable()
    try:
        load_video(head + frame * 5 + b";")
        before = psutil.Process().memory_info().rss
        load_video(head + frame * 200 + b";")
        assert psutil.Process().memory_info().rss - before < 200_000_000  # of 800 MB that the frames take together
    finally:
        gc.enable()
