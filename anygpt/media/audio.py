"""Sound: what libav can decode becomes one mono waveform, and a waveform becomes a WAV file.

`open_container` and `errors_as_media_errors` are shared with video.py, as a video file may hold sound and the reverse.
A file is decoded from memory by a demuxer that is named here: libav never sees a path, so that a playlist cannot make
it read other files.

Legend: C channels, S samples.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import wave
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from anygpt.errors import AnyGPTError, ConfigError, MediaError, MissingExtraError
from anygpt.media.saving import write_atomically
from anygpt.media.sources import Source, one_line, read_source, source_name
from anygpt.media.values import Audio

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

AudioSource: TypeAlias = Source | Audio

DEMUXERS = ("wav", "flac", "ogg", "mp3", "mov", "matroska")
_KINDS = "WAV, MP3, FLAC, OGG or M4A, or a video file (MP4, MOV, WebM, MKV) with sound"
_SIGNATURES = (  # where in the file, what is there, libav's demuxer for it
    (8, b"WAVE", "wav"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    *((4, kind, "mov") for kind in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
)
_MAX_PICTURE_PIXELS = 64_000_000  # of a picture inside a file, such as an album's cover, which libav looks into
_RIFF_BYTES_UNKNOWN = 0x7FFF0000  # what recorders into a pipe write is this or more
_MIN_RATE_HZ, _MAX_RATE_HZ = 1_000, 384_000
_BLOCK_SAMPLES = 65_536


@dataclass(frozen=True)
class AudioLimits:
    """How large a sound may be; each limit is checked before the memory it protects is used.

    Attributes:
        max_bytes: most bytes of the file, at least 1; the default holds 10 minutes of stereo at 48 kHz in 24 bits.
        max_duration_s: longest sound in seconds, above 0.
        max_samples: most samples that are kept, after resampling; the default holds 20 minutes at 48 kHz in 240 MB.
    """

    max_bytes: int = 200 * 1024 * 1024
    max_duration_s: float = 1200.0
    max_samples: int = 60_000_000

    def __post_init__(self) -> None:
        check_limits(self, whole=("max_bytes", "max_samples"))


def check_limits(limits: Any, *, whole: tuple[str, ...]) -> None:
    """Refuse limits whose fields named in `whole` are no integers of at least 1, or whose others are not above 0."""
    for name, value in vars(limits).items():
        if name in whole and (type(value) is not int or value < 1):
            raise ConfigError(f"{name}: {value!r} given, expected a whole number of at least 1; raise it")
        if name not in whole and (type(value) not in (int, float) or not 0 < value < math.inf):
            raise ConfigError(f"{name}: {value!r} given, expected a number above 0; raise it")


DEFAULT_LIMITS = AudioLimits()


def load_audio(
    source: AudioSource, limits: AudioLimits = DEFAULT_LIMITS, *, sampling_rate_hz: int | None = None
) -> Audio:
    """Decode a sound, mixed to mono (the mean of its channels) and clipped into [-1, 1].

    The format is told by the content, never by the name. Of several sounds in a file the first is taken.

    Args:
        source: a path, the file's bytes, a data URL "data:audio/...", or an Audio.
        limits: what is refused as too large, before it is read or while it is decoded.
        sampling_rate_hz: what to resample to, 1,000 to 384,000; None keeps the file's own rate.
    Returns:
        At least one sample.
    Raises:
        MediaError: if the source is missing, broken, cut off, over a limit, without samples, or no WAV,
            MP3, FLAC, OGG (Vorbis, Opus), M4A or video file with sound.
        MissingExtraError: if the extra `media` is not installed.
    """
    if isinstance(source, Audio):
        check_duration(source.duration_s, "audio", limits.max_duration_s)
        return source if sampling_rate_hz is None else resample(source, sampling_rate_hz)
    data = read_source(source, medium="audio", max_bytes=limits.max_bytes)
    name = source_name(source, "audio")
    with open_container(data, name, DEMUXERS, expected=_KINDS) as container:
        sound = decode_sound(container, name, limits, sampling_rate_hz)
    if sound is None:
        raise MediaError(f"{name}: no samples in it, expected a sound of at least one; record or export it again")
    return sound


def resample(audio: Audio, sampling_rate_hz: int) -> Audio:
    """The same sound at another rate, 1,000 to 384,000 Hz; its length is rounded to whole samples, at least one.

    Raises:
        MediaError: if either rate is out of that range.
        MissingExtraError: if the extra `media` is not installed.
    """
    _check_rate(sampling_rate_hz, "audio")
    if sampling_rate_hz == audio.sampling_rate_hz or not audio.waveform.size:
        return Audio(audio.waveform, sampling_rate_hz)
    _check_rate(audio.sampling_rate_hz, "audio")
    blocks = _converted([audio.waveform], audio.sampling_rate_hz, sampling_rate_hz)
    return Audio(np.clip(np.concatenate(list(blocks)), -1.0, 1.0), sampling_rate_hz)


def encode_wav(audio: Audio) -> bytes:
    """Encode a sound as a WAV file: mono, 16-bit PCM.

    Raises:
        MediaError: if it is not an Audio or has no samples.
    """
    if not isinstance(audio, Audio):
        raise MediaError(f"audio to encode: a value of type {type(audio).__name__} given, expected an Audio; make one")
    if not audio.waveform.size:
        raise MediaError("audio to encode: 0 samples given, expected at least one; record it first")
    levels = np.clip(np.rint(audio.waveform * 32768.0), -32768, 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.sampling_rate_hz)
        file.writeframes(levels.tobytes())
    return buffer.getvalue()


def save_audio(audio: Audio, path: str | os.PathLike[str]) -> None:
    """Write a sound as a WAV file that appears whole or not at all.

    Args:
        audio: as for `encode_wav`.
        path: ends in ".wav"; a regular file of that name is replaced, the folder must exist.
    Raises:
        MediaError: if the sound cannot be encoded or the file cannot be written.
    """
    check_suffix(path, ".wav", "audio", "sounds are written as WAV")
    write_atomically(path, encode_wav(audio), medium="audio")


def check_suffix(path: Any, suffix: str, medium: str, reason: str) -> None:
    """Refuse to save to a path that does not end in `suffix`."""
    if not isinstance(path, (str, os.PathLike)) or not os.fsdecode(path).lower().endswith(suffix):
        raise MediaError(
            f"{source_name(path, medium)}: a place to save to given, expected a path that ends in '{suffix}'; "
            f"change the ending, as {reason}"
        )


def import_av() -> Any:
    """PyAV, imported only when a sound or video is at hand."""
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(
            "audio and video need the package 'av', which is missing; pip install 'anygpt[media]'"
        ) from error
    return av


@contextmanager
def open_container(
    data: bytes, name: str, demuxers: tuple[str, ...], *, expected: str, max_pixels: int = _MAX_PICTURE_PIXELS
) -> Iterator[InputContainer]:
    """Open a file that is in memory with the one demuxer that its first bytes call for.

    Args:
        data: the whole file.
        name: what messages call it.
        demuxers: libav's names of those that may be used.
        expected: those formats in words.
        max_pixels: libav decodes no larger picture while it looks into the file.
    Raises:
        MediaError: if the content calls for none of `demuxers`, or what is done inside fails on it.
    """
    demuxer = next((demuxer for at, magic, demuxer in _SIGNATURES if data.startswith(magic, at)), None)
    if demuxer is None and data[0] == 0xFF and data[1:2] and data[1] & 0xE6 == 0xE2:
        demuxer = "mp3"  # without tags: the sync word of an MPEG frame, layer III
    medium = name.partition(" ")[0]
    if demuxer not in demuxers:
        raise MediaError(
            f"{name}: not {medium} that can be decoded, it starts with {data[:16]!r}, expected {expected}; "
            "convert it to one of them"
        )
    _check_whole(data, demuxer, name)
    av = import_av()
    options = {"max_pixels": str(max_pixels), "protocol_whitelist": "none", "enable_drefs": "0"}
    with (
        errors_as_media_errors(name),
        av.open(io.BytesIO(data), format=demuxer, options=options, metadata_errors="ignore") as container,
    ):
        yield container


def _check_whole(data: bytes, demuxer: str, name: str) -> None:
    """Refuse a WAV shorter than its header says and a GIF without its end mark, which libav takes for shorter ones."""
    riff_bytes = int.from_bytes(data[4:8], "little") + 8
    if demuxer == "wav" and len(data) < riff_bytes < _RIFF_BYTES_UNKNOWN:
        given = f"{len(data):,} of {riff_bytes:,} bytes are there"
    elif demuxer == "gif" and not data.rstrip(b"\0").endswith(b";"):
        given = "the mark of the end is missing"
    else:
        return
    raise MediaError(f"{name}: cut off, {given}, expected a complete file; save or send it again")


@contextmanager
def errors_as_media_errors(name: str) -> Iterator[None]:
    """Turn whatever a decoder or encoder raises on hostile or damaged media into one MediaError."""
    try:
        yield
    except AnyGPTError:
        raise
    except Exception as error:  # libav's errors are of many built-in kinds; numpy adds ValueError, MemoryError, ...
        reason = one_line(getattr(error, "strerror", None) or str(error)) or type(error).__name__
        raise MediaError(
            f"{name}: damaged, cut off or of an unknown kind ({reason}), expected a complete file; "
            "save or send it again"
        ) from error


def check_duration(duration_s: float, name: str, max_duration_s: float) -> None:
    """Refuse what lasts too long."""
    if duration_s > max_duration_s:
        raise MediaError(
            f"{name}: {duration_s:,.1f} seconds given, expected at most {max_duration_s:,.1f}; "
            "cut it or raise max_duration_s"
        )


def header_duration_s(stream: Any) -> float:
    """How long the header says that a stream is; 0 where it says nothing or libav only guesses."""
    container = stream.container
    if container.format.name == "mp3":
        return 0.0
    if stream.duration is not None and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1e6 if len(container.streams) == 1 else 0.0


def check_not_cut(decoded_s: float, stream: Any, name: str) -> None:
    """Refuse a file that holds clearly less than its header says: it was cut off on its way."""
    promised_s = header_duration_s(stream)
    if promised_s - decoded_s > 0.25 + 0.02 * promised_s:
        raise MediaError(
            f"{name}: cut off, {decoded_s:.2f} of {promised_s:.2f} seconds are there, expected a complete file; "
            "save or send it again"
        )


def decode_sound(
    container: InputContainer, name: str, limits: AudioLimits, sampling_rate_hz: int | None = None
) -> Audio | None:
    """The first sound of an open container that can be decoded; arguments and errors as for `load_audio`.

    Returns:
        None if its track holds no samples.
    """
    stream = next((stream for stream in container.streams.audio if stream.codec_context is not None), None)
    if stream is None:
        raise MediaError(f"{name}: no sound that can be decoded in it, expected {_KINDS}; convert it to one of them")
    if sampling_rate_hz is not None:
        _check_rate(sampling_rate_hz, name)
    check_duration(header_duration_s(stream), name, limits.max_duration_s)
    pieces = _mono_pieces(container, stream, name, limits)
    first = next(pieces, None)
    if first is None:
        return None
    rate_hz, piece = first
    blocks: Iterable[np.ndarray] = itertools.chain([piece], (piece for _, piece in pieces))
    if sampling_rate_hz not in (None, rate_hz):
        _check_rate(rate_hz, name)
        blocks = _converted(blocks, rate_hz, sampling_rate_hz)
        rate_hz = sampling_rate_hz
    kept = bytearray()  # grows in place, where a list of arrays would need the memory twice
    for block in blocks:
        kept += block.tobytes()
        if len(kept) > 4 * limits.max_samples:
            raise MediaError(
                f"{name}: more than {limits.max_samples:,} samples at {rate_hz:,} Hz, expected at most that; "
                "cut it, lower sampling_rate_hz or raise max_samples"
            )
    waveform = np.frombuffer(kept, dtype=np.float32)
    check_not_cut(waveform.size / rate_hz, stream, name)
    return Audio(np.clip(waveform, -1.0, 1.0, out=waveform), rate_hz) if waveform.size else None


def _mono_pieces(
    container: InputContainer, stream: AudioStream, name: str, limits: AudioLimits
) -> Iterator[tuple[int, np.ndarray]]:
    """Each decoded frame as (its sampling rate, float32 (S,)), checked while it comes."""
    total, rate_hz = 0, 0
    for frame in container.decode(stream):
        rate_hz = rate_hz or frame.sample_rate
        if rate_hz < 1 or frame.sample_rate != rate_hz:
            raise MediaError(
                f"{name}: a sampling rate that goes from {rate_hz} to {frame.sample_rate} Hz given, expected one that "
                "stays; export it again"
            )
        total += frame.samples
        check_duration(total / rate_hz, name, limits.max_duration_s)
        if frame.samples:
            yield rate_hz, _mono(frame, name)


def _mono(frame: Any, name: str) -> np.ndarray:
    """Float32 (S,): the mean of the frame's channels, each clipped into [-1, 1]."""
    levels = frame.to_ndarray()
    samples_CS = levels if frame.format.is_planar else levels.reshape(-1, frame.layout.nb_channels).T
    if samples_CS.dtype == np.uint8:
        samples_CS = (samples_CS.astype(np.float32) - 128.0) / 128.0
    elif samples_CS.dtype.kind == "i":
        samples_CS = samples_CS.astype(np.float32) / -float(np.iinfo(samples_CS.dtype).min)
    elif not np.isfinite(samples_CS).all():
        raise MediaError(f"{name}: samples that are not finite numbers (NaN) given, expected numbers; export it again")
    return np.clip(samples_CS, -1.0, 1.0).mean(axis=0, dtype=np.float32)


def _converted(pieces: Iterable[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    """The pieces of one sound, float32 (S,) each, at another rate; together as long as the sound, to the sample."""
    av = import_av()
    resampler = av.AudioResampler(format="flt", layout="mono", rate=to_hz)
    fed = given = 0

    def feed(piece: np.ndarray) -> Iterator[np.ndarray]:
        nonlocal fed
        for start in range(0, piece.size, _BLOCK_SAMPLES):
            block_1S = np.ascontiguousarray(piece[None, start : start + _BLOCK_SAMPLES])
            frame = av.AudioFrame.from_ndarray(block_1S, format="flt", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = from_hz, fed, Fraction(1, from_hz)
            fed += block_1S.size
            yield from (converted.to_ndarray()[0] for converted in resampler.resample(frame))

    for piece in pieces:
        for block in feed(piece):
            given += block.size
            yield block
    count = max(1, round(fed * to_hz / from_hz))
    # Silence behind the end pushes out what the filter still holds, all of a short sound.
    silence = np.zeros(64 + 64 * math.ceil(from_hz / to_hz), np.float32)
    for block in feed(silence):
        yield block[: max(0, count - given)]
        given += block.size


def _check_rate(rate_hz: int, name: str) -> None:
    if type(rate_hz) is not int or not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
        raise MediaError(
            f"{name}: a sampling rate of {rate_hz!r} Hz given, expected a whole number from {_MIN_RATE_HZ:,} to "
            f"{_MAX_RATE_HZ:,}; choose another"
        )
