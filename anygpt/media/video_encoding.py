"""Frames and their sound become an MP4 file that browsers play.

Legend: F frames, H height, W width, S samples.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from anygpt.errors import MediaError
from anygpt.media.containers import errors_as_media_errors, import_av
from anygpt.media.resampling import resample
from anygpt.media.saving import check_suffix, write_atomically
from anygpt.media.values import Audio, Video

_AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


def encode_mp4(video: Video) -> bytes:
    """Encode a video as an MP4 file that browsers play: H.264 in yuv420p, its sound as AAC, the index in front.

    Args:
        video: frames of an odd width or height get their last column or row twice, as H.264 needs even ones; sound of
            a rate that AAC does not know is resampled to 48,000 Hz. Neither loss is visible or audible, but both
            codecs are lossy.
    Returns:
        The file's bytes.
    Raises:
        MediaError: if it is not a Video or cannot be encoded.
        MissingExtraError: if the extra `media` is not installed.
    """
    if not isinstance(video, Video):
        raise MediaError(f"video to encode: a value of type {type(video).__name__} given, expected a Video; make one")
    if not 0.001 <= video.fps <= 1000.0:
        raise MediaError(f"video to encode: {video.fps:g} frames a second given, expected 0.001 to 1,000; change fps")
    av = import_av()
    rate = Fraction(video.fps).limit_denominator(10_000)
    height_px, width_px = (size + size % 2 for size in video.frames.shape[1:3])
    buffer = io.BytesIO()
    with (
        errors_as_media_errors("video to encode"),
        av.open(
            buffer,
            "w",
            format="mp4",
            options={"movflags": "+faststart"},
            # To move the index to the front libav opens what it wrote a second time, for reading.
            io_open=lambda url, flags, options: io.BytesIO(buffer.getvalue()),
        ) as container,
    ):
        # With its macroblock tree x264 gives the same frames other bytes once in some dozens of times.
        options = {"crf": "18", "preset": "veryfast", "mbtree": "0"}
        pictures = container.add_stream("libx264", rate=rate, options=options)
        pictures.width, pictures.height, pictures.pix_fmt = width_px, height_px, "yuv420p"
        sound_frames = _sound_frames(container, video)
        for index, frame_HW3 in enumerate(video.frames):
            padding = ((0, height_px - frame_HW3.shape[0]), (0, width_px - frame_HW3.shape[1]), (0, 0))
            picture = av.VideoFrame.from_ndarray(np.pad(frame_HW3, padding, mode="edge"), format="rgb24")
            picture.pts, picture.time_base = index, 1 / rate
            container.mux(pictures.encode(picture))
            container.mux(next(sound_frames, []))
        container.mux(pictures.encode(None))
        for packets in sound_frames:
            container.mux(packets)
    return buffer.getvalue()


def save_video(video: Video, path: str | os.PathLike[str]) -> None:
    """Write a video as an MP4 file that appears whole or not at all.

    Args:
        video: as for `encode_mp4`.
        path: ends in ".mp4"; a regular file of that name is replaced, the folder must exist.
    Raises:
        MediaError: if the video cannot be encoded or the file cannot be written.
        MissingExtraError: if the extra `media` is not installed.
    """
    check_suffix(path, ".mp4", "video", "videos are written as MP4")
    write_atomically(path, encode_mp4(video), medium="video")


def _sound_frames(container: Any, video: Video) -> Iterator[list[Any]]:
    """The sound's AAC packets, as many at a time as belong to one picture; the rest and the flush at the end."""
    if video.audio is None or not video.audio.waveform.size:
        return iter(())
    known_rate = video.audio.sampling_rate_hz in _AAC_RATES_HZ
    sound = video.audio if known_rate else resample(video.audio, 48_000)
    # The stream is added at once: a container takes no more of them after its first packet.
    stream = container.add_stream("aac", rate=sound.sampling_rate_hz, layout="mono")
    return _aac_packets(stream, sound, max(1, round(sound.sampling_rate_hz / video.fps)))


def _aac_packets(stream: Any, sound: Audio, step: int) -> Iterator[list[Any]]:
    av = import_av()
    rate_hz = sound.sampling_rate_hz
    for start in range(0, sound.waveform.size, step):
        block_1S = np.ascontiguousarray(sound.waveform[None, start : start + step])
        frame = av.AudioFrame.from_ndarray(block_1S, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
        yield stream.encode(frame)
    yield stream.encode(None)
