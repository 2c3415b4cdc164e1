"""Resampling, padding and pooling that the audio encoders share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anygpt.errors import MediaError
from anygpt.media.values import Audio
from encoders.waveforms import fixed_features, groups_of_equal_length, mono_at, pad_samples, pool_frames
from tests.encoders.tiny_sounds import noise, silence, tone


@pytest.mark.parametrize("given_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 192_000])
def test_a_resampled_tone_is_the_tone_at_that_rate(given_hz: int) -> None:
    made = mono_at(tone(0.5, rate_hz=given_hz), 16_000)
    expected = tone(0.5).waveform
    assert made.dtype == np.float32
    assert abs(len(made) - len(expected)) <= 1
    inner = slice(200, len(made) - 200)  # a filter rings where a sound begins and ends
    assert np.abs(made[inner] - expected[: len(made)][inner]).max() < 0.01


def test_the_right_rate_gives_an_equal_copy() -> None:
    sound = noise(0.1)
    made = mono_at(sound, 16_000)
    assert np.array_equal(made, sound.waveform)
    assert not np.shares_memory(made, sound.waveform)


@pytest.mark.parametrize("given_hz", [8_000, 16_000, 44_100])
def test_what_comes_after_the_limit_is_cut(given_hz: int) -> None:
    assert len(mono_at(noise(1.0, rate_hz=given_hz), 16_000, max_duration_s=0.25)) == 4_000


@pytest.mark.parametrize("given_hz", [7, 16_000, 44_100])
def test_an_empty_sound_stays_empty(given_hz: int) -> None:
    assert mono_at(silence(0.0, rate_hz=given_hz), 16_000).shape == (0,)


@pytest.mark.parametrize("given_hz", [999, 10**9])
def test_a_rate_that_nobody_records_is_refused(given_hz: int) -> None:
    with pytest.raises(MediaError, match=f"sampling_rate_hz {given_hz} given, expected 1000 to 768000; resample"):
        mono_at(Audio(np.zeros(8, np.float32), given_hz), 16_000)


@pytest.mark.parametrize(("samples", "padded"), [(0, 4), (1, 4), (4, 4), (5, 8)])
def test_padding_goes_to_a_multiple_and_leaves_nothing_empty(samples: int, padded: int) -> None:
    made = pad_samples(np.ones(samples, np.float32), 4)
    assert len(made) == padded
    assert made.sum() == samples


def test_groups_hold_every_index_once() -> None:
    assert list(groups_of_equal_length([3, 1, 3, 2])) == [(1, [1]), (2, [3]), (3, [0, 2])]


def test_groups_are_of_bounded_size() -> None:
    assert [group for _, group in groups_of_equal_length([1] * 10)] == [list(range(8)), [8, 9]]


def test_pooling_averages_what_is_left_at_the_end() -> None:
    frames = torch.tensor([[1.0], [3.0], [5.0]])
    assert pool_frames(frames, 2).tolist() == [[2.0], [5.0]]
    assert pool_frames(frames, 1) is frames


def test_clips_of_any_length_become_one_batch() -> None:
    features = fixed_features([torch.ones(1, 2), torch.ones(3, 2)], num_tokens=4)
    assert features.valid_mask.tolist() == [[True, False, False, False], [True, True, True, False]]
    assert torch.equal(features.tokens, features.valid_mask[..., None].expand(-1, -1, 2).float())
