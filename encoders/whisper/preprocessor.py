"""Whisper's front end: sounds → log-mel spectrograms; no weights are read.

Legend: B batch, S samples, M mel bands, F mel frames (100 a second), T tokens (50 a second).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.audio_utils import mel_filter_bank

from encoders.waveforms import check_audio, mono_at, pad_samples

SAMPLING_RATE_HZ = 16_000
FRAMES_PER_TOKEN = 2
_HOP = 160
_FFT_SIZE = 400
SAMPLES_PER_TOKEN = _HOP * FRAMES_PER_TOKEN
TOKENS_PER_S = SAMPLING_RATE_HZ // SAMPLES_PER_TOKEN


@dataclass(frozen=True)
class WhisperPreprocessor:
    """A callable, picklable front end.

    Attributes:
        who: begins error messages: "audio encoder 'whisper'".
        mels: mel bands of the checkpoint, 80 or 128 for the released ones.
        max_tokens: longest clip; what comes after is cut off.
        pad_to_tokens: clips get silence up to a multiple of this.
    """

    who: str
    mels: int
    max_tokens: int
    pad_to_tokens: int = 1

    def __call__(self, sounds: list[Any]) -> dict[str, Tensor]:
        """Resample, cut, and make spectrograms.

        Args:
            sounds: at least one `Audio`, of any sampling rate and length; an empty one counts as one token of silence.
        Returns:
            `input_features` (B, M, F) float32, zeros after a clip's end, and `num_tokens` (B,) int64, the tokens that
            a clip fills without the silence it was padded with; both on the CPU.
        Raises:
            MediaError: if there is no sound, or a value is not an `Audio`.
        """
        check_audio(sounds, self.who)
        spectrograms_FM, num_tokens = [], []
        for sound in sounds:
            waveform = mono_at(sound, SAMPLING_RATE_HZ, max_duration_s=self.max_tokens / TOKENS_PER_S)
            num_tokens.append(len(pad_samples(waveform, SAMPLES_PER_TOKEN)) // SAMPLES_PER_TOKEN)
            padded_S = torch.from_numpy(pad_samples(waveform, SAMPLES_PER_TOKEN * self.pad_to_tokens))
            spectrograms_FM.append(log_mel_spectrogram(padded_S, self.mels).T)
        features_BFM = pad_sequence(spectrograms_FM, batch_first=True)
        return {"input_features": features_BFM.transpose(1, 2).contiguous(), "num_tokens": torch.tensor(num_tokens)}


def log_mel_spectrogram(waveform_S: Tensor, mels: int) -> Tensor:
    """Logarithm of the energy in mel bands, scaled as Whisper was trained.

    Args:
        waveform_S: (S,) float32 at 16 kHz, more than 200 samples.
        mels: number of bands.
    Returns:
        (M, F) float32, F = S // 160; at most 2 below the loudest value of the clip.
    Source: openai/whisper, whisper/audio.py, `log_mel_spectrogram`.
    """
    spectrum = torch.stft(waveform_S, _FFT_SIZE, _HOP, window=torch.hann_window(_FFT_SIZE), return_complex=True)
    energy_MF = _mel_filters(mels) @ spectrum[:, :-1].abs().square()
    log_MF = energy_MF.clamp(min=1e-10).log10()
    return (log_MF.clamp(min=float(log_MF.max()) - 8.0) + 4.0) / 4.0


@lru_cache(maxsize=4)
def _mel_filters(mels: int) -> Tensor:
    filters = mel_filter_bank(
        num_frequency_bins=_FFT_SIZE // 2 + 1,
        num_mel_filters=mels,
        min_frequency=0.0,
        max_frequency=SAMPLING_RATE_HZ / 2,
        sampling_rate=SAMPLING_RATE_HZ,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(filters.T.copy()).to(torch.float32)
