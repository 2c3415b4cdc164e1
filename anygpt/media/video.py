"""Videos: what libav can decode becomes a few upright RGB frames with their sound.

Every frame is decoded, but only evenly spaced ones are kept, shrunk, so that memory does not grow with the length.

Legend: F frames, H height, W width.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from anygpt.errors import ConfigError, MediaError
from anygpt.media.audio import AudioLimits
from anygpt.media.containers import check_samples_are_there, import_av, open_container, read_only, tidy
from anygpt.media.gif import gif_layout, is_gif
from anygpt.media.limits import check_duration, check_limits
from anygpt.media.sound_decoding import read_sound
from anygpt.media.sources import Source, read_source, source_name
from anygpt.media.upright import orientation_of, pixel_aspect, upright_picture
from anygpt.media.values import Audio, Video
from anygpt.media.wholeness import media_box_is_cut

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

VideoSource: TypeAlias = Source | Video

DEMUXERS = ("mov", "matroska", "gif")
_KINDS = "MP4, MOV, WebM, MKV or GIF"
_DECODER_THREADS = 4
_USUAL_RATE = Fraction(25)  # frames a second, where a file says nothing


@dataclass(frozen=True)
class VideoLimits:
    """How large a video may be; each limit is checked before the memory it protects is used.

    Attributes:
        max_bytes: most bytes of the file, at least 1.
        max_duration_s: longest video in seconds, above 0; holds for its sound as well.
        max_frames: most frames in the file, at least 1; they are decoded one after the other.
        max_pixels: most pixels of one frame, width times height; the default is 4096 x 2304.
        max_total_pixels: most pixels of all frames together, which is what decoding takes its time for: counted before
            anything is decoded, and held while it is. The default is 160 seconds of 1920 x 1080, 40 seconds of
            3840 x 2160 or 24 minutes of 640 x 360, at 30 frames a second. Two cores decode 0.3 to 1 billion a second.
        max_decoded_bytes: most bytes of the kept frames together.
    """

    max_bytes: int = 200 * 1024 * 1024
    max_duration_s: float = 1200.0
    max_frames: int = 100_000
    max_pixels: int = 4096 * 2304
    max_total_pixels: int = 10_000_000_000
    max_decoded_bytes: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        check_limits(self, whole=("max_bytes", "max_frames", "max_pixels", "max_total_pixels", "max_decoded_bytes"))


DEFAULT_LIMITS = VideoLimits()


def load_video(
    source: VideoSource,
    limits: VideoLimits = DEFAULT_LIMITS,
    *,
    max_kept_frames: int | None = 64,
    max_kept_side_px: int | None = 640,
) -> Video:
    """Decode a video into RGB frames as players show them, with its sound at its own sampling rate if it has any.

    Frames are upright, not mirrored and have square pixels: those of a video with wide or high pixels are widened or
    heightened. The format is told by the content, never by the name. Where there are more than `max_kept_frames`,
    evenly spaced ones are kept and `fps` is that of the kept ones, so that the duration stays true. Frames of varying
    duration are spread evenly: `fps` is the mean. Durations in headers do not count, only the frames' own times, from
    the first frame on. Transparency is laid on the colour that the file has there, in a GIF on white. Of a damaged
    sound is kept what can be decoded; a video whose sound is of no known kind has none.

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
        return _thinned(source, limits, max_kept_frames)
    is_gif_url = isinstance(source, str) and source[:14].lower() == "data:image/gif"
    data = read_source(source, medium="image" if is_gif_url else "video", max_bytes=limits.max_bytes)
    name = source_name(source, "video")
    if is_gif(data):
        _check_gif(data, name, limits)
    demuxer, content = tidy(data, name, DEMUXERS, expected=_KINDS)
    with open_container(demuxer, content, name, max_pixels=limits.max_pixels) as container:
        step_s = _check_packets(container, _picture_stream(container, name), name, limits, media_box_is_cut(content))
        has_sound = bool(container.streams.audio)
    with open_container(demuxer, content, name, max_pixels=limits.max_pixels) as container:
        stream = _picture_stream(container, name)
        clock = _Clock(step_s, limits.max_duration_s)
        frames_FHW3 = _decode_frames(container, stream, name, limits, clock, max_kept_frames, max_kept_side_px)
    audio = _own_sound(demuxer, content, name, limits) if has_sound else None
    return Video(frames_FHW3, len(frames_FHW3) / float(clock.duration_s), audio)


def _thinned(video: Video, limits: VideoLimits, max_kept_frames: int | None) -> Video:
    """A video with as many of its frames as are kept."""
    check_duration(video.duration_s, "video", limits.max_duration_s)
    frames = video.frames[_evenly(len(video.frames), max_kept_frames)]
    return Video(frames, video.fps * len(frames) / len(video.frames), video.audio)


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


def _check_gif(data: bytes, name: str, limits: VideoLimits) -> None:
    """Check what a GIF's blocks tell, before libav, which would name no reason, opens it."""
    layout = gif_layout(data, max_frames=limits.max_frames)
    _check_pixels(layout.width_px, layout.height_px, name, limits)
    _check_frame_count(layout.frames, name, limits)
    _check_total(layout.frames * layout.width_px * layout.height_px, name, limits)


def _check_packets(
    container: InputContainer, stream: VideoStream, name: str, limits: VideoLimits, media_are_cut: bool
) -> Fraction:
    """Check what can be told without decoding: the size of the frames, how many there are and whether all are there.

    Returns:
        How long a frame usually lasts, in seconds.
    """
    width_px, height_px = stream.codec_context.width, stream.codec_context.height
    _check_pixels(width_px, height_px, name, limits)
    read_only(container, stream)
    count, times = 0, []
    for packet in container.demux(stream):
        count += packet.size > 0
        _check_frame_count(count, name, limits)
        if packet.size and packet.pts is not None:
            times.append(packet.pts)
    _check_total(count * width_px * height_px, name, limits)
    # Where only the sound lies behind the end, the file is cut off if its media are, else the sound alone is damaged.
    for needed in (stream, *(container.streams.audio if media_are_cut else ())):
        check_samples_are_there(container, needed, name)
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(sorted(times)) if later > earlier)
    if steps and stream.time_base:
        return steps[len(steps) // 2] * stream.time_base
    return 1 / (stream.average_rate or stream.guessed_rate or _USUAL_RATE)


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


def _check_total(pixels: int, name: str, limits: VideoLimits) -> None:
    if pixels > limits.max_total_pixels:
        raise MediaError(
            f"{name}: {pixels:,} pixels or more in all frames together given, expected at most "
            f"{limits.max_total_pixels:,}; cut it, shrink it or raise max_total_pixels"
        )


def _decode_frames(
    container: InputContainer,
    stream: VideoStream,
    name: str,
    limits: VideoLimits,
    clock: _Clock,
    max_kept_frames: int | None,
    max_side_px: int | None,
) -> np.ndarray:
    """The kept frames, uint8 (F, H, W, 3); the clock then says how long all of them last."""
    read_only(container, stream)
    context = stream.codec_context
    context.options = {"max_pixels": str(limits.max_pixels)}
    context.thread_type, context.thread_count = "AUTO", _DECODER_THREADS
    aspect, orientation = pixel_aspect(stream), None
    reformatter = import_av().video.reformatter.VideoReformatter()
    kept: list[np.ndarray] = []
    total_pixels, stride = 0, 1
    for index, frame in enumerate(container.decode(stream)):
        _check_pixels(frame.width, frame.height, name, limits)
        _check_frame_count(index + 1, name, limits)
        total_pixels += frame.width * frame.height
        _check_total(total_pixels, name, limits)
        clock.tick(frame)
        check_duration(float(clock.duration_s), name, limits.max_duration_s)
        orientation = orientation or orientation_of(frame)
        if index % stride == 0:
            shape, most = kept[0].shape if kept else None, limits.max_pixels
            kept.append(
                upright_picture(
                    frame, reformatter, aspect, orientation, max_side_px=max_side_px, max_pixels=most, shape=shape
                )
            )
            _check_kept(kept, name, limits)
        if max_kept_frames is not None and len(kept) == 2 * max_kept_frames:
            kept, stride = kept[::2], 2 * stride
    if not kept:
        raise MediaError(f"{name}: no frames in it, expected at least one; record or export it again")
    return np.stack([kept[index] for index in _evenly(len(kept), max_kept_frames)])


def _check_kept(kept: list[np.ndarray], name: str, limits: VideoLimits) -> None:
    if len(kept) * kept[0].nbytes > limits.max_decoded_bytes:
        raise MediaError(
            f"{name}: more than {len(kept) - 1:,} frames of {kept[0].shape[1]:,} x {kept[0].shape[0]:,} pixels "
            f"to keep, expected at most {limits.max_decoded_bytes:,} bytes of them; lower max_kept_frames or "
            "max_kept_side_px, or raise max_decoded_bytes"
        )


class _Clock:
    """How long the frames that have been seen last together, by their time stamps or else by their usual length.

    Stamps count from the first frame on, wherever that begins. A first stamp or a frame's length that is further off
    than a whole video may last is a clock time or was never filled in, and is not believed.
    """

    def __init__(self, usual_s: Fraction, max_duration_s: float) -> None:
        self._usual_s = usual_s if usual_s <= max_duration_s else 1 / _USUAL_RATE
        self._max_duration_s = max_duration_s
        self._first_s: Fraction | None = None
        self._frames = 0
        self.duration_s = Fraction(0)

    def tick(self, frame: Any) -> None:
        self._frames += 1
        if frame.pts is None or not frame.time_base:
            self.duration_s += self._usual_s
            return
        at_s = frame.pts * frame.time_base
        if self._first_s is None or (self._frames == 2 and abs(at_s - self._first_s) > self._max_duration_s):
            self._first_s = at_s - self.duration_s
        length_s = frame.duration * frame.time_base if frame.duration else self._usual_s
        if length_s > self._max_duration_s:
            length_s = self._usual_s
        # Stamps that stand still or run backwards do not make a video shorter.
        self.duration_s = max(at_s + length_s - self._first_s, self.duration_s, self._usual_s / 1000)


def _evenly(count: int, at_most: int | None) -> list[int]:
    """Indices of at most so many things out of `count`, evenly spaced from the first on."""
    kept = count if at_most is None else min(count, at_most)
    return [index * count // kept for index in range(kept)]


def _own_sound(demuxer: str, content: bytes, name: str, limits: VideoLimits) -> Audio | None:
    """The video's sound; None if nothing can be had of it. Read in a further pass: the others dropped its packets."""
    return read_sound(
        demuxer,
        content,
        name,
        max_duration_s=limits.max_duration_s,
        max_samples=AudioLimits.max_samples,
        keep_what_decodes=True,
    )
