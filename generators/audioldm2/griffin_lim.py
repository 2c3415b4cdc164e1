"""Log-mels → sound by signal processing alone: a vocoder without weights, in the place of a checkpoint's.

Legend: B batch, S samples, T frames, N FFT bins, M mel bands.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from generators.audioldm2.log_mels import LogMels

ROUNDS = 32
MOMENTUM = 0.99


class GriffinLimVocoder(nn.Module):
    """Fast Griffin-Lim over the inverse of the mel filters. It draws no random numbers: phases start from the tones.

    It has the interface that diffusers' AudioLDM-2 pipeline knows from `SpeechT5HifiGan`: `config.model_in_dim`,
    `config.sampling_rate`, `config.upsample_rates`, and log-mels (B, T, M) → sound (B, S).

    Source: Perraudin, Balazs and Sondergaard, "A fast Griffin-Lim algorithm" (WASPAA 2013).
    """

    def __init__(self, config: LogMels.Config) -> None:
        super().__init__()
        self.log_mels = LogMels(config)
        self.config = SimpleNamespace(
            model_in_dim=config.bands, sampling_rate=config.sampling_rate_hz, upsample_rates=(config.hop_size,)
        )

    @property
    def dtype(self) -> torch.dtype:
        """Always float32: a Fourier transform in half precision hisses."""
        return torch.float32

    @property
    def device(self) -> torch.device:
        """Where diffusers, which asks any of its parts, runs the pipeline."""
        return self.log_mels.window_S.device

    @torch.no_grad()
    def forward(self, log_mels_BTM: Tensor) -> Tensor:
        """The sound (B, T * hop_size) float32 with about these log-mels, as loud as they say."""
        magnitudes_BTN = self.log_mels.linear_magnitudes(log_mels_BTM)
        config = self.log_mels.config
        phases_BTN = tone_phases(magnitudes_BTN, config.hop_size / config.fft_size)
        before_BTN = torch.zeros_like(phases_BTN)
        for _ in range(ROUNDS):
            made_BTN = self.log_mels.spectrum(self.log_mels.waveform(magnitudes_BTN * phases_BTN))
            phases_BTN = made_BTN - MOMENTUM / (1 + MOMENTUM) * before_BTN
            phases_BTN = phases_BTN / phases_BTN.abs().clamp(min=1e-16)
            before_BTN = made_BTN
        return self.log_mels.waveform(magnitudes_BTN * phases_BTN)


def tone_phases(magnitudes_BTN: Tensor, hop_share: float) -> Tensor:
    """Unit phases that a sound would have if every peak of its spectrum were a tone that goes on from frame to frame.

    A peak's frequency lies between bins, on a parabola through its neighbours; its phase goes on from that of the peak
    which held its bin one frame before, and bins follow the nearest peak. From zero phases, Griffin-Lim settles on
    some tones that jump in phase: their strongest line was off by up to 3%, and their peak by up to 4 dB.

    Args:
        magnitudes_BTN: (B, T, N), never negative.
        hop_share: hop_size / fft_size.
    Returns:
        (B, T, N) complex64 of absolute value 1.
    Source: Beauregard, Harish and Wyse, "Single pass spectrogram inversion" (2015).
    """
    bins_N = torch.arange(magnitudes_BTN.shape[-1], device=magnitudes_BTN.device, dtype=torch.float32)
    below_BTN = torch.nn.functional.pad(magnitudes_BTN, (1, 0))[..., :-1]
    above_BTN = torch.nn.functional.pad(magnitudes_BTN, (0, 1))[..., 1:]
    is_peak_BTN = (magnitudes_BTN > below_BTN) & (magnitudes_BTN >= above_BTN)
    curvature_BTN = (2 * magnitudes_BTN - below_BTN - above_BTN).clamp(min=1e-12)
    offset_BTN = (0.5 * (above_BTN - below_BTN) / curvature_BTN).clamp(-0.5, 0.5)
    nearest_BTN = _nearest_peak(is_peak_BTN, bins_N)
    turns_BTN = (bins_N + offset_BTN).gather(-1, nearest_BTN) * hop_share
    # all start as sines: harmonics of square waves and sawtooths then add up to their shape, not to clicks
    phase_BN = torch.full_like(turns_BTN[:, 0], -0.25)
    phases = [phase_BN]
    for frame in range(1, turns_BTN.shape[1]):
        advance_BN = (turns_BTN[:, frame - 1] + turns_BTN[:, frame]) / 2
        phase_BN = (phase_BN.gather(-1, nearest_BTN[:, frame]) + advance_BN) % 1.0
        phases.append(phase_BN)
    # a frame's Fourier transform counts phases from its start, half a turn a bin before its middle
    angles_BTN = 2 * torch.pi * (torch.stack(phases, 1) - bins_N / 2)
    return torch.polar(torch.ones_like(angles_BTN), angles_BTN)


def _nearest_peak(is_peak_BTN: Tensor, bins_N: Tensor) -> Tensor:
    """Index (B, T, N) of the peak that is nearest to every bin; any where a frame has none."""
    last = len(bins_N) - 1
    below_BTN = torch.where(is_peak_BTN, bins_N, -torch.inf).cummax(-1).values
    above_BTN = torch.where(is_peak_BTN, bins_N, torch.inf).flip(-1).cummin(-1).values.flip(-1)
    return torch.where(bins_N - below_BTN <= above_BTN - bins_N, below_BTN, above_BTN).clamp(0, last).long()
