"""The mel front end against its formula, its inverse, and Griffin-Lim on tones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from anygpt.errors import ConfigError, MediaError
from generators.audioldm2.griffin_lim import GriffinLimVocoder
from generators.audioldm2.log_mels import FLOOR, LogMels

RATE_HZ = 16_000


def tone(pitch_hz: float, peak: float = 0.5, duration_s: float = 1.0) -> Tensor:
    """(1, S): a sine with ramps of 5 ms."""
    times_S = torch.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    ramp_S = (torch.minimum(times_S, times_S.flip(0)) / 0.005).clamp(max=1)
    return (peak * ramp_S * torch.sin(2 * torch.pi * pitch_hz * times_S))[None]


def pitch_hz(waveform_S: Tensor) -> float:
    """Centre of the strongest line of the spectrum."""
    power = np.abs(np.fft.rfft(waveform_S.numpy() * np.hanning(len(waveform_S)))) ** 2
    line = slice(int(power.argmax() * 0.9), int(power.argmax() * 1.1) + 1)
    return float(power[line] @ np.arange(len(power))[line] / power[line].sum() * RATE_HZ / len(waveform_S))


def in_decibels(ratio: Tensor) -> float:
    return float(20 * torch.log10(ratio))


@pytest.fixture(scope="module", params=[64, 80])
def vocoder(request: pytest.FixtureRequest) -> GriffinLimVocoder:
    return GriffinLimVocoder(LogMels.Config(bands=request.param))


def test_log_mels_follow_the_formula() -> None:
    log_mels = LogMels(LogMels.Config())
    torch.manual_seed(0)
    waveform_BS = torch.randn(2, 1600) * 0.1
    padded_BS = np.pad(waveform_BS.double().numpy(), ((0, 0), (432, 432)), mode="reflect")
    window_S = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    frames_BTS = np.stack([padded_BS[:, start : start + 1024] * window_S for start in range(0, 1600, 160)], axis=1)
    mels_BTM = np.abs(np.fft.rfft(frames_BTS)) @ log_mels.filters_NM.double().numpy()
    expected_BTM = torch.from_numpy(np.log(np.maximum(mels_BTM, 1e-5))).float()
    torch.testing.assert_close(log_mels(waveform_BS), expected_BTM, rtol=1e-3, atol=1e-3)


def test_filters_are_slaneys() -> None:
    """Equal widths below 1 kHz, growing by a constant factor above; each of area 1, not of height 1."""
    filters_NM = LogMels(LogMels.Config()).filters_NM
    bin_hz = RATE_HZ / 1024
    centres_M = (filters_NM * torch.arange(513)[:, None]).sum(0) / filters_NM.sum(0) * bin_hz
    steps = centres_M.diff()
    torch.testing.assert_close(steps[2:18], torch.full((16,), 45.7), rtol=0.1, atol=0)
    torch.testing.assert_close(centres_M[41:] / centres_M[40:-1], torch.full((23,), 1.0482), rtol=0.01, atol=0)
    torch.testing.assert_close(filters_NM.sum(0) * bin_hz, torch.ones(64), rtol=0.15, atol=0)


def test_frames_are_whole_hops_and_loudness_shifts_the_logarithm() -> None:
    log_mels = LogMels(LogMels.Config())
    loud, quiet = log_mels(tone(440.0, 0.5)), log_mels(tone(440.0, 0.05))
    assert loud.shape == log_mels(torch.cat([tone(440.0), torch.zeros(1, 159)], 1)).shape == (1, 100, 64)
    audible = quiet > np.log(FLOOR) + 1
    torch.testing.assert_close((loud - quiet)[audible], torch.full_like(loud[audible], np.log(10)), rtol=1e-3, atol=0)
    assert torch.equal(log_mels(torch.zeros(1, 800)), torch.full((1, 5, 64), float(np.log(np.float32(FLOOR)))))


def test_waveform_undoes_the_spectrum() -> None:
    log_mels = LogMels(LogMels.Config())
    torch.manual_seed(0)
    waveform_BS = torch.randn(2, 1600)
    torch.testing.assert_close(log_mels.waveform(log_mels.spectrum(waveform_BS)), waveform_BS, rtol=0, atol=1e-4)


def test_linear_magnitudes_have_the_given_mels(vocoder: GriffinLimVocoder) -> None:
    log_mels = vocoder.log_mels
    for waveform_BS in (tone(440.0), torch.randn(1, RATE_HZ, generator=torch.Generator().manual_seed(0)) * 0.1):
        given_BTM = log_mels(waveform_BS)
        magnitudes_BTN = log_mels.linear_magnitudes(given_BTM)
        assert magnitudes_BTN.min() >= 0
        mels_BTM = magnitudes_BTN @ log_mels.filters_NM
        assert (mels_BTM - given_BTM.exp()).norm() / given_BTM.exp().norm() < 0.1


@pytest.mark.parametrize("tone_hz", [220.0, 350.0, 440.0, 560.0, 880.0, 1400.0, 2200.0, 3000.0])
@pytest.mark.parametrize("peak", [0.1, 0.5])
def test_griffin_lim_brings_back_pitch_and_loudness(vocoder: GriffinLimVocoder, tone_hz: float, peak: float) -> None:
    made_S = vocoder(vocoder.log_mels(tone(tone_hz, peak)))[0]
    assert pitch_hz(made_S) == pytest.approx(tone_hz, rel=0.01)
    assert abs(in_decibels(made_S.abs().max() / peak)) < 2


def test_griffin_lim_is_the_same_every_time_and_in_a_batch(vocoder: GriffinLimVocoder) -> None:
    log_mels = vocoder.log_mels(torch.cat([tone(220.0, duration_s=0.2), tone(880.0, duration_s=0.2)]))
    together = vocoder(log_mels)
    assert together.shape == (2, 3200)
    assert torch.equal(together, vocoder(log_mels))
    torch.testing.assert_close(vocoder(log_mels[1:]), together[1:], rtol=0, atol=1e-3)


def test_griffin_lim_keeps_silence_silent(vocoder: GriffinLimVocoder) -> None:
    assert vocoder(vocoder.log_mels(torch.zeros(1, 3200))).abs().max() < 1e-3


def test_short_sounds_are_refused() -> None:
    with pytest.raises(MediaError, match="audio: 432 samples given, expected more than 432"):
        LogMels(LogMels.Config())(torch.zeros(1, 432))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"bands": 0}, "bands: 0 given, expected at least 1"),
        ({"hop_size": 600}, "hop_size: 600 given, expected at most half of fft_size=1024"),
        ({"hop_size": 161}, "both even or both odd"),
        ({"high_hz": 9000.0}, "high_hz=9000.0 given, expected .* half of sampling_rate_hz=16000"),
    ],
)
def test_sizes_that_cannot_be_are_refused(config: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LogMels.Config(**config)
