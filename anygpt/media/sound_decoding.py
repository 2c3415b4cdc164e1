"""Decode the sound of an open file into one mono waveform, block by block.

Legend: C channels, S samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anygpt.errors import AnyGPTError, MediaError
from anygpt.media.containers import check_samples_are_there, import_av, open_container, read_only
from anygpt.media.limits import check_duration
from anygpt.media.resampling import MAX_RATE_HZ, MIN_RATE_HZ, check_rate, converted
from anygpt.media.values import Audio

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

SOUND_FILES = "WAV, MP3, FLAC, OGG, M4A, AAC, AIFF, CAF or AMR, or a video file (MP4, MOV, WebM, MKV) with sound"
_SELF_SYNCHRONISING = ("mp3", "aac")  # demuxers of files between whose frames tags and junk may stand
_UNSAFE_PLANES = 8  # as many as a frame of libav holds by itself; it keeps further ones elsewhere
_CANCELLED_SHARE = 0.01  # of the channels' energy; the mean of 64 channels that have nothing in common keeps 1/64


def read_sound(
    demuxer: str,
    content: bytes,
    name: str,
    *,
    max_duration_s: float,
    max_samples: int,
    sampling_rate_hz: int | None = None,
    keep_what_decodes: bool = False,
) -> Audio | None:
    """The first sound of a file that can be decoded.

    Args:
        demuxer, content: what `containers.tidy` made of the file.
        name: what messages call it.
        max_duration_s, max_samples: limits, as in `AudioLimits`.
        sampling_rate_hz: what to resample to; None keeps the file's own rate.
        keep_what_decodes: leave out what is damaged instead of refusing the file; limits are held all the same.
    Returns:
        None if its track holds no samples, or none that can be had.
    Raises:
        MediaError: if it is damaged, over a limit or has no sound.
    """
    rules = _Rules(name, max_duration_s, max_samples, sampling_rate_hz, keep_what_decodes)
    loudness = _Loudness()
    with open_container(demuxer, content, name) as container:
        sound = _sound_of(container, rules, loudness, channel=None)
    if sound is None or not loudness.channels_cancel():
        return sound
    with open_container(demuxer, content, name) as container:
        return _sound_of(container, rules, loudness, channel=int(loudness.energies_C.argmax()))


@dataclass(frozen=True)
class _Rules:
    """What `read_sound` was asked for."""

    name: str
    max_duration_s: float
    max_samples: int
    sampling_rate_hz: int | None
    keep_what_decodes: bool


class _Loudness:
    """The energy of each channel so far, and of their mean."""

    def __init__(self) -> None:
        self.energies_C = np.zeros(0)
        self.mean_energy = 0.0

    def add(self, samples_CS: np.ndarray, mono_S: np.ndarray) -> None:
        missing = max(len(samples_CS) - len(self.energies_C), 0)
        self.energies_C = np.pad(self.energies_C, (0, missing))
        self.energies_C[: len(samples_CS)] += np.square(samples_CS).sum(axis=1)
        self.mean_energy += float(np.dot(mono_S, mono_S))

    def channels_cancel(self) -> bool:
        """Whether the mean of the channels has lost nearly all that they have."""
        return bool(self.mean_energy < _CANCELLED_SHARE * self.energies_C.sum() / max(len(self.energies_C), 1))


def _sound_of(container: InputContainer, rules: _Rules, loudness: _Loudness, channel: int | None) -> Audio | None:
    """The first sound that can be decoded: the mean of its channels, or one channel."""
    stream = next((stream for stream in container.streams.audio if stream.codec_context is not None), None)
    if stream is None:
        if rules.keep_what_decodes:
            return None
        raise MediaError(
            f"{rules.name}: no sound that can be decoded in it, expected {SOUND_FILES}; convert it to one of them"
        )
    if rules.sampling_rate_hz is not None:
        check_rate(rules.sampling_rate_hz, rules.name)
    if container.format.name == "wav" and stream.duration and stream.time_base:  # of a tidy one: what is there
        check_duration(float(stream.duration * stream.time_base), rules.name, rules.max_duration_s)
    pieces = _before_damage(_mono_pieces(container, stream, rules, loudness, channel), rules)
    first = next(pieces, None)
    if first is None:
        return None
    rate_hz, piece = first
    check_rate(rate_hz, rules.name)
    blocks: Iterable[np.ndarray] = itertools.chain([piece], (piece for _, piece in pieces))
    if rules.sampling_rate_hz not in (None, rate_hz):
        blocks = converted(blocks, rate_hz, rules.sampling_rate_hz)
        rate_hz = rules.sampling_rate_hz
    waveform = _joined(blocks, rate_hz, rules)
    if not rules.keep_what_decodes:
        check_samples_are_there(container, stream, rules.name)
    return Audio(np.clip(waveform, -1.0, 1.0, out=waveform), rate_hz) if waveform.size else None


def _joined(blocks: Iterable[np.ndarray], rate_hz: int, rules: _Rules) -> np.ndarray:
    kept = bytearray()  # grows in place, where a list of arrays would need the memory twice
    for block in blocks:
        kept += block.tobytes()
        if len(kept) > 4 * rules.max_samples:
            raise MediaError(
                f"{rules.name}: more than {rules.max_samples:,} samples at {rate_hz:,} Hz, expected at most that; "
                "cut it, lower sampling_rate_hz or raise max_samples"
            )
    return np.frombuffer(kept, dtype=np.float32)


def _before_damage(pieces: Iterator[tuple[int, np.ndarray]], rules: _Rules) -> Iterator[tuple[int, np.ndarray]]:
    """The pieces up to the first error of a decoder, if what decodes is kept."""
    try:
        yield from pieces
    except AnyGPTError:
        raise
    except Exception:  # of many kinds, as in `errors_as_media_errors`
        if not rules.keep_what_decodes:
            raise


def _mono_pieces(
    container: InputContainer, stream: AudioStream, rules: _Rules, loudness: _Loudness, channel: int | None
) -> Iterator[tuple[int, np.ndarray]]:
    """Each decoded frame as (its sampling rate, float32 (S,)), checked while it comes."""
    total, rate_hz, interleaver = 0, 0, _Interleaver()
    for frame in _frames(container, stream, rules):
        rate_hz = rate_hz or frame.sample_rate
        if rules.keep_what_decodes and not MIN_RATE_HZ <= rate_hz == frame.sample_rate <= MAX_RATE_HZ:
            return
        if rate_hz < 1 or frame.sample_rate != rate_hz:
            raise MediaError(
                f"{rules.name}: a sampling rate that goes from {rate_hz} to {frame.sample_rate} Hz given, expected one "
                "that stays; export it again"
            )
        total += frame.samples
        check_duration(total / rate_hz, rules.name, rules.max_duration_s)
        if frame.samples:
            yield rate_hz, _mono(_samples(interleaver.safe(frame)), rules, loudness, channel)


def _frames(container: InputContainer, stream: AudioStream, rules: _Rules) -> Iterator[Any]:
    """The decoded frames, without packets that cannot be decoded where those may be left out."""
    read_only(container, stream)
    skips_damage = rules.keep_what_decodes or container.format.name in _SELF_SYNCHRONISING
    libav_error = import_av().error.FFmpegError
    packets = iter(container.demux(stream))
    decoded = failed = 0
    first_error: Exception | None = None
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            frames = stream.decode(packet)
        except libav_error as error:
            if not skips_damage:
                raise
            first_error, failed = first_error or error, failed + 1
            continue
        decoded += len(frames)
        yield from frames
    if first_error is not None and failed >= decoded and not rules.keep_what_decodes:
        raise first_error


def _mono(samples_CS: np.ndarray, rules: _Rules, loudness: _Loudness, channel: int | None) -> np.ndarray:
    """Float32 (S,): the mean of the channels, each clipped into [-1, 1], or the one that was chosen."""
    if not np.isfinite(samples_CS).all():
        if not rules.keep_what_decodes:
            raise MediaError(
                f"{rules.name}: samples that are not finite numbers (NaN) given, expected numbers; export it again"
            )
        samples_CS = np.nan_to_num(samples_CS)
    samples_CS = np.clip(samples_CS, -1.0, 1.0)
    if len(samples_CS) == 1:
        return samples_CS[0].astype(np.float32, copy=False)
    if channel is not None:
        return samples_CS[min(channel, len(samples_CS) - 1)].astype(np.float32)
    mono_S = samples_CS.mean(axis=0, dtype=np.float32)
    loudness.add(samples_CS, mono_S)
    return mono_S


def _samples(frame: Any) -> np.ndarray:
    """(C, S) of floats, whole numbers as the fractions of full scale that they stand for."""
    levels = frame.to_ndarray()
    samples_CS = levels if frame.format.is_planar else levels.reshape(-1, frame.layout.nb_channels).T
    if samples_CS.dtype == np.uint8:
        return (samples_CS.astype(np.float32) - 128.0) / 128.0
    if samples_CS.dtype.kind == "i":
        return samples_CS.astype(np.float32) / -float(np.iinfo(samples_CS.dtype).min)
    return samples_CS


class _Interleaver:
    """Puts the channels of a frame into one plane: of many planes, PyAV reads beyond the last one and crashes."""

    def __init__(self) -> None:
        self._resampler: Any = None
        self._made_for: tuple[str, str, int] | None = None

    def safe(self, frame: Any) -> Any:
        """The frame, interleaved if its planes are many."""
        if not frame.format.is_planar or frame.layout.nb_channels < _UNSAFE_PLANES:
            return frame
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._made_for:
            packed = frame.format.packed.name
            self._resampler = import_av().AudioResampler(format=packed, layout=frame.layout, rate=frame.sample_rate)
            self._made_for = kind
        frame.pts = None
        (interleaved,) = self._resampler.resample(frame)
        return interleaved
