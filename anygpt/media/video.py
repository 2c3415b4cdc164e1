"""Videos: what libav can decode becomes a few upright RGB frames with their sound, and frames become an MP4 file.

Every frame is decoded, but only evenly spaced ones are kept, shrunk, so that memory does not grow with the length.

Legend: F frames, H height, W width.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from anygpt.errors import ConfigError, MediaError
from anygpt.media.audio import (
    AudioLimits,
    check_duration,
    check_limits,
    check_not_cut,
    check_suffix,
    decode_sound,
    errors_as_media_errors,
    header_duration_s,
    import_av,
    open_container,
    resample,
)
from anygpt.media.saving import write_atomically
from anygpt.media.sources import Source, read_source, source_name
from anygpt.media.values import Audio, Video

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

VideoSource: TypeAlias = Source | Video

DEMUXERS = ("mov", "matroska", "gif")
_KINDS = "MP4, MOV, WebM, MKV or GIF"
_DECODER_THREADS = 4
_AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


@dataclass(frozen=True)
class VideoLimits:
    """How large a video may be; each limit is checked before the memory it protects is used.

    Attributes:
        max_bytes: most bytes of the file, at least 1.
        max_duration_s: longest video in seconds, above 0; holds for its sound as well.
        max_frames: most frames in the file, at least 1; they are decoded one after the other.
        max_pixels: most pixels of one frame, width times height; the default is 4096 x 2304.
        max_decoded_bytes: most bytes of the kept frames together.
    """

    max_bytes: int = 200 * 1024 * 1024
    max_duration_s: float = 1200.0
    max_frames: int = 100_000
    max_pixels: int = 4096 * 2304
    max_decoded_bytes: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        check_limits(self, whole=("max_bytes", "max_frames", "max_pixels", "max_decoded_bytes"))


DEFAULT_LIMITS = VideoLimits()


def load_video(
    source: VideoSource,
    limits: VideoLimits = DEFAULT_LIMITS,
    *,
    max_kept_frames: int | None = 64,
    max_kept_side_px: int | None = 640,
) -> Video:
    """Decode a video into upright RGB frames, with its sound at its own sampling rate if it has any.

    The format is told by the content, never by the name. Where there are more than `max_kept_frames`, evenly spaced
    ones are kept and `fps` is that of the kept ones, so that the duration stays true. Frames of varying duration are
    spread evenly: `fps` is the mean. Transparency is laid on the colour that the file has there, in a GIF on white.

    Args:
        source: a path, the file's bytes, a data URL "data:video/..." or "data:image/gif", or a Video.
        limits: what is refused as too large, before it is read or while it is decoded.
        max_kept_frames: most frames of the result, at least 1; None keeps all that `limits` allow.
        max_kept_side_px: larger frames are shrunk to this longest side, at least 1; None keeps their size. A Video
            is thinned but not shrunk.
    Returns:
        At least one frame.
    Raises:
        MediaError: if the source is missing, broken, cut off, over a limit, without pictures, or no MP4, MOV, WebM,
            MKV or GIF.
        MissingExtraError: if the extra `media` is not installed.
    """
    for option, value in (("max_kept_frames", max_kept_frames), ("max_kept_side_px", max_kept_side_px)):
        if value is not None and (type(value) is not int or value < 1):
            raise ConfigError(f"{option}: {value!r} given, expected a whole number of at least 1 or None; raise it")
    if isinstance(source, Video):
        check_duration(source.duration_s, "video", limits.max_duration_s)
        frames = source.frames[_evenly(len(source.frames), max_kept_frames)]
        return Video(frames, source.fps * len(frames) / len(source.frames), source.audio)
    is_gif_url = isinstance(source, str) and source[:14].lower() == "data:image/gif"
    data = read_source(source, medium="image" if is_gif_url else "video", max_bytes=limits.max_bytes)
    name = source_name(source, "video")
    if data.startswith((b"GIF87a", b"GIF89a")) and len(data) >= 10:  # libav would name no reason while it opens it
        width_px, height_px = struct.unpack_from("<HH", data, 6)
        _check_pixels(width_px, height_px, name, limits)
    with open_container(data, name, DEMUXERS, expected=_KINDS, max_pixels=limits.max_pixels) as container:
        stream = _picture_stream(container, name)
        _check_header(stream, name, limits)
        frames_FHW3, duration_s = _decode_frames(container, stream, name, limits, max_kept_frames, max_kept_side_px)
        has_sound = bool(container.streams.audio)
    audio = _own_sound(data, name, limits) if has_sound else None
    return Video(frames_FHW3, len(frames_FHW3) / duration_s, audio)


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


def _picture_stream(container: Any, name: str) -> VideoStream:
    """The first moving picture that can be decoded; an album's cover is none."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic:
            return stream
    raise MediaError(
        f"{name}: no moving pictures that can be decoded in it, expected {_KINDS} with pictures; "
        "pass sound as audio, or convert the file to MP4"
    )


def _check_header(stream: VideoStream, name: str, limits: VideoLimits) -> None:
    _check_pixels(stream.codec_context.width, stream.codec_context.height, name, limits)
    _check_frame_count(stream.frames, name, limits)
    check_duration(header_duration_s(stream), name, limits.max_duration_s)


def _check_pixels(width_px: int, height_px: int, name: str, limits: VideoLimits) -> None:
    if width_px * height_px > limits.max_pixels:
        raise MediaError(
            f"{name}: frames of {width_px:,} x {height_px:,} pixels given, expected at most {limits.max_pixels:,} "
            "in all; shrink it or raise max_pixels"
        )


def _check_frame_count(count: int, name: str, limits: VideoLimits) -> None:
    if count > limits.max_frames:
        raise MediaError(
            f"{name}: {count:,} frames or more given, expected at most {limits.max_frames:,}; "
            "cut it or raise max_frames"
        )


def _decode_frames(
    container: InputContainer,
    stream: VideoStream,
    name: str,
    limits: VideoLimits,
    max_kept_frames: int | None,
    max_side_px: int | None,
) -> tuple[np.ndarray, float]:
    """The kept frames, uint8 (F, H, W, 3), and how many seconds all frames last."""
    context = stream.codec_context
    context.options = {"max_pixels": str(limits.max_pixels)}
    context.thread_type, context.thread_count = "AUTO", _DECODER_THREADS
    kept: list[np.ndarray] = []
    stride, clock = 1, _Clock(stream)
    for index, frame in enumerate(container.decode(stream)):
        _check_pixels(frame.width, frame.height, name, limits)
        _check_frame_count(index + 1, name, limits)
        clock.tick(frame)
        check_duration(float(clock.duration_s), name, limits.max_duration_s)
        if index % stride == 0:
            kept.append(_picture(frame, kept[0].shape if kept else None, max_side_px))
            if len(kept) * kept[0].nbytes > limits.max_decoded_bytes:
                raise MediaError(
                    f"{name}: more than {len(kept) - 1:,} frames of {kept[0].shape[1]:,} x {kept[0].shape[0]:,} pixels "
                    f"to keep, expected at most {limits.max_decoded_bytes:,} bytes of them; lower max_kept_frames or "
                    "max_kept_side_px, or raise max_decoded_bytes"
                )
        if max_kept_frames is not None and len(kept) == 2 * max_kept_frames:
            kept, stride = kept[::2], 2 * stride
    if not kept:
        raise MediaError(f"{name}: no frames in it, expected at least one; record or export it again")
    check_not_cut(float(clock.duration_s), stream, name)
    return np.stack([kept[index] for index in _evenly(len(kept), max_kept_frames)]), float(clock.duration_s)


class _Clock:
    """How long the frames that have been seen last together, by their time stamps or else by the nominal rate."""

    def __init__(self, stream: VideoStream) -> None:
        self._usual_s = 1 / (stream.average_rate or stream.guessed_rate or Fraction(25))
        self._first_s: Fraction | None = None
        self.duration_s = Fraction(0)

    def tick(self, frame: Any) -> None:
        if frame.pts is None or not frame.time_base:
            self.duration_s += self._usual_s
            return
        at_s = frame.pts * frame.time_base
        self._first_s = at_s if self._first_s is None else self._first_s
        end_s = at_s + (frame.duration * frame.time_base if frame.duration else self._usual_s) - self._first_s
        # Stamps that stand still or run backwards do not make a video shorter.
        self.duration_s = max(end_s, self.duration_s, self._usual_s / 1000)


def _picture(frame: Any, shape: tuple[int, ...] | None, max_side_px: int | None) -> np.ndarray:
    """The frame upright as uint8 (H, W, 3), of `shape` if one is given, else shrunk to the longest side."""
    quarter_turns = round(frame.rotation / 90) % 4
    if shape is not None:
        height_px, width_px = shape[1::-1] if quarter_turns % 2 else shape[:2]
    else:
        scale = min(1.0, (max_side_px or 1 << 30) / max(frame.width, frame.height))
        width_px, height_px = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    rgb = frame.reformat(width=width_px, height=height_px, format="rgb24", interpolation="AREA").to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, quarter_turns))


def _evenly(count: int, at_most: int | None) -> list[int]:
    """Indices of at most so many things out of `count`, evenly spaced from the first on."""
    kept = count if at_most is None else min(count, at_most)
    return [index * count // kept for index in range(kept)]


def _own_sound(data: bytes, name: str, limits: VideoLimits) -> Audio | None:
    """The video's sound; None for a track without samples. Read in a second pass: the first dropped its packets."""
    sound_limits = AudioLimits(max_bytes=limits.max_bytes, max_duration_s=limits.max_duration_s)
    with open_container(data, name, DEMUXERS, expected=_KINDS, max_pixels=limits.max_pixels) as container:
        return decode_sound(container, name, sound_limits)
