"""Log mel filter banks as Kaldi computes them, which BEATs was trained on.

Legend: S samples, F frames, W samples a frame, K frequency bins, M mel bands.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

SAMPLING_RATE_HZ = 16_000
FRAME_SAMPLES = 400
HOP_SAMPLES = 160
MEL_BANDS = 128
_FFT_SAMPLES = 512
_LOWEST_HZ, _HIGHEST_HZ = 20.0, SAMPLING_RATE_HZ / 2
_PRE_EMPHASIS = 0.97
_SAMPLE_SCALE = 2.0**15  # Kaldi reads 16-bit integers
_FLOOR = 1.1920929e-7  # float32's epsilon


def frame_count(samples: int) -> int:
    """How many whole frames there are in a sound."""
    return max(0, 1 + (samples - FRAME_SAMPLES) // HOP_SAMPLES)


def kaldi_fbank(waveform_S: Tensor) -> Tensor:
    """Logarithmic energies of 128 mel bands, in frames of 25 ms every 10 ms, without dither.

    Args:
        waveform_S: (S,) float32 in [-1, 1] at 16 kHz, at least one frame long.
    Returns:
        (F, 128) float32, F = `frame_count(S)`: whole frames only.
    Source: Kaldi's feature-fbank with a Povey window, as BEATs (arXiv 2212.09058) configures it.
    """
    frames_FW = (waveform_S * _SAMPLE_SCALE).unfold(0, FRAME_SAMPLES, HOP_SAMPLES)
    frames_FW = frames_FW - frames_FW.mean(dim=1, keepdim=True)
    before_FW = torch.cat([frames_FW[:, :1], frames_FW[:, :-1]], dim=1)
    windowed_FW = (frames_FW - _PRE_EMPHASIS * before_FW) * _povey_window()
    power_FK = torch.fft.rfft(windowed_FW, n=_FFT_SAMPLES).abs().square()
    return (power_FK @ mel_bank().T).clamp_min(_FLOOR).log()


@cache
def mel_bank() -> Tensor:
    """(128, 257) float32: triangles that are linear on the mel scale; nothing is taken from the Nyquist bin.

    Float32 throughout, since the originals' bank was made so and a more exact one gives other features.
    """
    lowest, highest = (1127.0 * math.log(1.0 + hz / 700.0) for hz in (_LOWEST_HZ, _HIGHEST_HZ))
    step = (highest - lowest) / (MEL_BANDS + 1)
    band_M1 = torch.arange(MEL_BANDS, dtype=torch.float32)[:, None]
    left_M1, centre_M1, right_M1 = (lowest + (band_M1 + offset) * step for offset in (0.0, 1.0, 2.0))
    hz_K = SAMPLING_RATE_HZ / _FFT_SAMPLES * torch.arange(_FFT_SAMPLES // 2, dtype=torch.float32)
    mel_1K = (1127.0 * torch.log(1.0 + hz_K / 700.0))[None]
    rising_MK = (mel_1K - left_M1) / (centre_M1 - left_M1)
    falling_MK = (right_M1 - mel_1K) / (right_M1 - centre_M1)
    return torch.nn.functional.pad(torch.minimum(rising_MK, falling_MK).clamp_min(0.0), (0, 1))


@cache
def _povey_window() -> Tensor:
    return torch.hann_window(FRAME_SAMPLES, periodic=False, dtype=torch.float32) ** 0.85
