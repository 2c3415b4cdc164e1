"""What audio encoders share: waveforms of one sampling rate, and a fixed number of tokens out of any frames.

All take clips of any length. What is shorter than an encoder's smallest unit, even an empty clip, gets silence after it
and has that unit's tokens; what is longer than `max_duration_s` is cut off.

Legend: B batch, S samples, T tokens, D feature width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, gcd
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anygpt.errors import ConfigError, MediaError
from anygpt.media.values import Audio
from anygpt.tensors import Features

# Beyond these, resampling needs filters of absurd length, and nothing was recorded so.
RATES_HZ = (1_000, 768_000)
# Waveforms or windows that one forward pass takes, however many a batch of long clips has.
AT_ONCE = 8
MAX_DURATION_S = 86_400


def check_audio(media: Sequence[Any], who: str) -> None:
    """Refuse an empty list and values that are not `Audio`.

    Args:
        who: begins the error message: "audio encoder 'whisper'".
    Raises:
        MediaError: naming the first value that cannot be used.
    """
    if not media:
        raise MediaError(f"{who}: no audio given, expected at least one")
    for index, audio in enumerate(media):
        if not isinstance(audio, Audio):
            raise MediaError(
                f"{who}: audio {index} is a {type(audio).__name__}, expected an Audio; "
                "make one with Audio(waveform, sampling_rate_hz)"
            )


def mono_at(audio: Audio, rate: int, *, max_duration_s: float | None = None) -> np.ndarray:
    """The waveform at another sampling rate.

    Args:
        audio: a sound, which is mono by its type; it may be empty.
        rate: samples a second that are wanted.
        max_duration_s: what comes after is cut off, before any work is done on it.
    Returns:
        float32 (S,), a new array, S at most round(max_duration_s · rate); resampling may overshoot [-1, 1] a little.
    Raises:
        MediaError: if the sampling rate is out of `RATES_HZ`.
    """
    given = audio.sampling_rate_hz
    waveform, most = audio.waveform, None
    if max_duration_s is not None:
        waveform, most = waveform[: ceil(max_duration_s * given)], round(max_duration_s * rate)
    if given == rate or not len(waveform):
        return waveform[:most].astype(np.float32)
    if not RATES_HZ[0] <= given <= RATES_HZ[1]:
        raise MediaError(
            f"audio: sampling_rate_hz {given} given, expected {RATES_HZ[0]} to {RATES_HZ[1]}; resample it first"
        )
    from scipy.signal import resample_poly  # takes long to import, and most clips have the right rate

    divisor = gcd(given, rate)
    resampled = resample_poly(waveform, rate // divisor, given // divisor)
    return np.asarray(resampled[:most], dtype=np.float32)


def pad_samples(waveform: np.ndarray, multiple: int) -> np.ndarray:
    """Silence after the waveform, up to a multiple of some samples and at least one of them."""
    wanted = max(1, ceil(len(waveform) / multiple)) * multiple
    return np.pad(waveform, (0, wanted - len(waveform)))


def groups_of_equal_length(lengths: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Length and indices of items that have it, at most `AT_ONCE` of them, which bounds the memory.

    Such a group runs as one batch without padding, so that a frozen model that attends to padding, or normalises over
    it, gives each clip what it gives to the clip alone.
    """
    for length in sorted(set(lengths)):
        group = [index for index, own in enumerate(lengths) if own == length]
        for start in range(0, len(group), AT_ONCE):
            yield length, group[start : start + AT_ONCE]


def check_durations(who: str, **seconds: float | None) -> None:
    """Refuse durations that are not above 0, or more than a day.

    Raises:
        ConfigError: naming the option.
    """
    for name, value in seconds.items():
        if value is not None and not 0 < value <= MAX_DURATION_S:
            raise ConfigError(
                f"{name}: {value} given, expected seconds above 0 and at most {MAX_DURATION_S}, for {who}"
            )


def check_pool(who: str, pool: int) -> None:
    """Refuse to average fewer than one frame into a token.

    Raises:
        ConfigError: naming the option.
    """
    if pool < 1:
        raise ConfigError(f"pool: {pool} given, expected at least 1 frame a token, for {who}")


def pooled_length(frames: int, pool: int) -> int:
    """How many tokens `pool_frames` makes: the quotient, rounded up."""
    return -(-frames // pool)


def pool_frames(frames_TD: Tensor, pool: int) -> Tensor:
    """Average every `pool` frames into one token; the last one averages what is left."""
    if pool == 1:
        return frames_TD
    return torch.stack([chunk_TD.mean(dim=0) for chunk_TD in frames_TD.split(pool)])


def fixed_features(clips: Sequence[Tensor], num_tokens: int) -> Features:
    """Tokens of several clips as one batch of `num_tokens` each, zeros where a clip has no more.

    Projectors know the number of tokens beforehand, and one request's clips may come from several batches.

    Args:
        clips: (T, D) each, T at most `num_tokens`.
    """
    tokens_BTD = clips[0].new_zeros(len(clips), num_tokens, clips[0].shape[-1])
    valid_BT = torch.zeros(len(clips), num_tokens, dtype=torch.bool, device=tokens_BTD.device)
    for index, clip_TD in enumerate(clips):
        tokens_BTD[index, : len(clip_TD)] = clip_TD
        valid_BT[index, : len(clip_TD)] = True
    return Features(tokens_BTD, valid_BT)
