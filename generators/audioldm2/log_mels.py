"""Log-mel spectrograms as AudioLDM's autoencoder and its vocoder know them, and the way back to linear spectra.

Legend: B batch, S samples, T frames, N FFT bins (fft_size / 2 + 1), M mel bands.

Source: haoheliu/AudioLDM-training-finetuning, audioldm_train/utilities/data/dataset.py (`mel_spectrogram_train`), which
is HiFi-GAN's front end: the sound is reflected by (fft_size - hop_size) / 2 samples at both ends, so that S samples
make exactly S / hop_size frames; Hann window; magnitudes, not powers; librosa's default filters (Slaney's scale and
norm); log(max(m, 1e-5)). That data set also sets every sound's peak to 0.5; here nothing changes the loudness.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

from anygpt.errors import ConfigError, MediaError

FLOOR = 1e-5  # of mel magnitudes before the logarithm
INVERSE_ROUNDS = 100
LOBE_BINS = 2  # half a Hann window's main lobe
TINY = 1e-9


class LogMels(nn.Module):
    """Sound → log-mels, and log-mels → linear magnitudes. No weights; the filters are not saved.

    Args:
        config: the front end's sizes.
    """

    filters_NM: Tensor
    lobes_NN: Tensor
    window_S: Tensor

    @dataclass
    class Config:
        """Sizes of the front end; the defaults are AudioLDM-2's.

        Attributes:
            sampling_rate_hz: of the sound.
            bands: mel bands.
            fft_size, hop_size: samples in a frame, and from one frame to the next.
            low_hz, high_hz: where the lowest band begins and the highest ends.
        """

        sampling_rate_hz: int = 16_000
        bands: int = 64
        fft_size: int = 1024
        hop_size: int = 160
        low_hz: float = 0.0
        high_hz: float = 8_000.0

        def __post_init__(self) -> None:
            for key in ("sampling_rate_hz", "bands", "fft_size", "hop_size"):
                if getattr(self, key) < 1:
                    raise ConfigError(f"{key}: {getattr(self, key)} given, expected at least 1")
            if self.hop_size > self.fft_size // 2 or (self.fft_size - self.hop_size) % 2:
                raise ConfigError(
                    f"hop_size: {self.hop_size} given, expected at most half of fft_size={self.fft_size}, "
                    "and both even or both odd"
                )
            if not 0 <= self.low_hz < self.high_hz <= self.sampling_rate_hz / 2:
                raise ConfigError(
                    f"low_hz={self.low_hz}, high_hz={self.high_hz} given, expected 0 <= low_hz < high_hz <= half of "
                    f"sampling_rate_hz={self.sampling_rate_hz}"
                )

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        filters_NM = mel_filter_bank(
            num_frequency_bins=config.fft_size // 2 + 1,
            num_mel_filters=config.bands,
            min_frequency=config.low_hz,
            max_frequency=config.high_hz,
            sampling_rate=config.sampling_rate_hz,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("filters_NM", torch.from_numpy(filters_NM).float(), persistent=False)
        self.register_buffer("lobes_NN", _main_lobes(config.fft_size // 2 + 1), persistent=False)
        self.register_buffer("window_S", torch.hann_window(config.fft_size), persistent=False)

    @property
    def margin(self) -> int:
        """Samples that are reflected at each end."""
        return (self.config.fft_size - self.config.hop_size) // 2

    def forward(self, waveform_BS: Tensor) -> Tensor:
        """Log-mels of mono sound.

        Args:
            waveform_BS: (B, S) float32; what goes beyond whole hops is left out.
        Returns:
            (B, T, M) float32 with T = S // hop_size.
        Raises:
            MediaError: if the sound is too short to be reflected at its ends.
        """
        return (self.spectrum(waveform_BS).abs() @ self.filters_NM).clamp(min=FLOOR).log()

    def spectrum(self, waveform_BS: Tensor) -> Tensor:
        """The complex short-time spectrum (B, T, N) that the mels are made of."""
        samples = waveform_BS.shape[-1]
        if samples <= self.margin:
            raise MediaError(f"audio: {samples} samples given, expected more than {self.margin}")
        padded_BS = F.pad(waveform_BS[:, None], (self.margin, self.margin), mode="reflect")[:, 0]
        spectrum_BNT = torch.stft(
            padded_BS,
            self.config.fft_size,
            hop_length=self.config.hop_size,
            window=self.window_S,
            center=False,
            return_complex=True,
        )
        return spectrum_BNT.transpose(1, 2)

    def waveform(self, spectrum_BTN: Tensor) -> Tensor:
        """The sound (B, T * hop_size) whose `spectrum` comes nearest to a complex one: windowed overlap-add.

        Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform" (1984), equation 6.
        """
        frames_BTS = torch.fft.irfft(spectrum_BTN, self.config.fft_size) * self.window_S
        weights_1TS = self.window_S.square().expand(1, *frames_BTS.shape[1:])
        padded_BS, weights_1S = (self._overlap_add(frames) for frames in (frames_BTS, weights_1TS))
        return (padded_BS / weights_1S.clamp(min=TINY))[:, self.margin : padded_BS.shape[1] - self.margin]

    def linear_magnitudes(self, log_mels_BTM: Tensor) -> Tensor:
        """Magnitudes (B, T, N) whose mels come near the given ones, never negative.

        A mel band is wider than a bin, so many spectra fit. Magnitudes are sought as sums of the window's main lobe at
        every bin, which keeps tones narrow: their pitch stays between the bands. Multiplicative updates from an even
        start make the least Kullback-Leibler divergence, and what no band asks for stays 0.

        Source: Lee and Seung, "Algorithms for non-negative matrix factorization" (2001), theorem 2.
        """
        mels_BTM = log_mels_BTM.float().exp()
        lobes_NM = self.lobes_NN @ self.filters_NM
        weights_BTN = mels_BTM.mean(-1, keepdim=True).expand(*mels_BTM.shape[:2], len(lobes_NM))
        sums_N = lobes_NM.sum(1).clamp(min=TINY)
        for _ in range(INVERSE_ROUNDS):
            ratio_BTM = mels_BTM / (weights_BTN @ lobes_NM).clamp(min=TINY)
            weights_BTN = weights_BTN * (ratio_BTM @ lobes_NM.T) / sums_N
        return weights_BTN @ self.lobes_NN

    def _overlap_add(self, frames_BTS: Tensor) -> Tensor:
        hop_size, fft_size = self.config.hop_size, self.config.fft_size
        length = (frames_BTS.shape[1] - 1) * hop_size + fft_size
        folded = F.fold(frames_BTS.transpose(1, 2), (1, length), (1, fft_size), stride=(1, hop_size))
        return folded[:, 0, 0]


def _main_lobes(bins: int) -> Tensor:
    """(N, N): row n is the Hann window's main lobe around bin n, 1 at its peak."""
    distance_NN = (torch.arange(bins)[:, None] - torch.arange(bins)).abs()
    heights = torch.tensor([1.0, 0.5])  # at whole bins; 0 from `LOBE_BINS` on
    return torch.where(distance_NN < LOBE_BINS, heights[distance_NN.clamp(max=LOBE_BINS - 1)], 0.0)
