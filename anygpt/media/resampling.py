"""Sound at another sampling rate.

Legend: S samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from anygpt.errors import MediaError
from anygpt.media.containers import import_av
from anygpt.media.values import Audio

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 384_000
_BLOCK_SAMPLES = 65_536


def resample(audio: Audio, sampling_rate_hz: int) -> Audio:
    """The same sound at another rate, 1,000 to 384,000 Hz; its length is rounded to whole samples, at least one.

    Raises:
        MediaError: if either rate is out of that range.
        MissingExtraError: if the extra `media` is not installed.
    """
    check_rate(sampling_rate_hz, "audio")
    if sampling_rate_hz == audio.sampling_rate_hz or not audio.waveform.size:
        return Audio(audio.waveform, sampling_rate_hz)
    check_rate(audio.sampling_rate_hz, "audio")
    blocks = converted([audio.waveform], audio.sampling_rate_hz, sampling_rate_hz)
    return Audio(np.clip(np.concatenate(list(blocks)), -1.0, 1.0), sampling_rate_hz)


def converted(pieces: Iterable[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
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


def check_rate(rate_hz: int, name: str) -> None:
    if type(rate_hz) is not int or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise MediaError(
            f"{name}: a sampling rate of {rate_hz!r} Hz given, expected a whole number from {MIN_RATE_HZ:,} to "
            f"{MAX_RATE_HZ:,}; choose another"
        )
