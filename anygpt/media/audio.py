"""Sound: what libav can decode becomes one mono waveform, and a waveform becomes a WAV file.

Legend: S samples.
"""

from __future__ import annotations

import io
import os
import wave
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from anygpt.errors import MediaError
from anygpt.media.containers import tidy
from anygpt.media.limits import check_duration, check_limits
from anygpt.media.resampling import resample
from anygpt.media.saving import check_suffix, write_atomically
from anygpt.media.sound_decoding import SOUND_FILES, read_sound
from anygpt.media.sources import Source, read_source, source_name
from anygpt.media.values import Audio

AudioSource: TypeAlias = Source | Audio

DEMUXERS = ("wav", "flac", "ogg", "mp3", "aac", "mov", "matroska", "aiff", "caf", "amr")


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


DEFAULT_LIMITS = AudioLimits()


def load_audio(
    source: AudioSource, limits: AudioLimits = DEFAULT_LIMITS, *, sampling_rate_hz: int | None = None
) -> Audio:
    """Decode a sound, mixed to mono and clipped into [-1, 1].

    Mono is the mean of the channels. Where they cancel each other, so that their mean has less than a hundredth of
    their energy (a microphone wired the wrong way round), it is the loudest channel instead. The format is told by the
    content, never by the name. Of several sounds in a file the first is taken.

    Args:
        source: a path, the file's bytes, a data URL "data:audio/...", or an Audio.
        limits: what is refused as too large, before it is read or while it is decoded.
        sampling_rate_hz: what to resample to, 1,000 to 384,000; None keeps the file's own rate.
    Returns:
        At least one sample.
    Raises:
        MediaError: if the source is missing, broken, cut off, over a limit, without samples, or no WAV,
            MP3, FLAC, OGG (Vorbis, Opus), M4A, AAC, AIFF, CAF, AMR or video file with sound.
        MissingExtraError: if the extra `media` is not installed.
    """
    if isinstance(source, Audio):
        check_duration(source.duration_s, "audio", limits.max_duration_s)
        return source if sampling_rate_hz is None else resample(source, sampling_rate_hz)
    data = read_source(source, medium="audio", max_bytes=limits.max_bytes)
    name = source_name(source, "audio")
    demuxer, content = tidy(data, name, DEMUXERS, expected=SOUND_FILES)
    sound = read_sound(
        demuxer,
        content,
        name,
        max_duration_s=limits.max_duration_s,
        max_samples=limits.max_samples,
        sampling_rate_hz=sampling_rate_hz,
    )
    if sound is None:
        raise MediaError(f"{name}: no samples in it, expected a sound of at least one; record or export it again")
    return sound


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
