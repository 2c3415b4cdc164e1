"""Sounds → normalised log mel spectrograms in whole patches, padded to the longest; no weights are read.

Legend: B batch, F frames, M mel bands.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from anygpt.errors import ConfigError
from encoders.beats.kaldi_fbank import FRAME_SAMPLES, HOP_SAMPLES, SAMPLING_RATE_HZ, frame_count, kaldi_fbank
from encoders.waveforms import check_audio, mono_at

# Mean and half a standard deviation's inverse of AudioSet's spectrograms, as BEATs was trained with.
_MEAN, _TWICE_STD = 15.41663, 2 * 6.55582


class BeatsPreprocessor:
    """A callable, picklable front end of BEATs.

    Args:
        patch_frames: frames a patch.
        max_duration_s: sound after this is cut off.
        who: begins error messages: "audio encoder 'beats'".
    Raises:
        ConfigError: if `max_duration_s` does not hold one patch.
    """

    def __init__(self, *, patch_frames: int, max_duration_s: float, who: str) -> None:
        self._patch_frames = patch_frames
        self._patch_samples = FRAME_SAMPLES + (patch_frames - 1) * HOP_SAMPLES
        self._max_duration_s = max_duration_s
        self._who = who
        if self.max_rows < 1:
            raise ConfigError(
                f"{who}: max_duration_s={max_duration_s:g}, but one patch lasts "
                f"{self._patch_samples / SAMPLING_RATE_HZ:g} s; set max_duration_s to at least that"
            )

    @property
    def max_rows(self) -> int:
        """Columns of patches in the longest sound."""
        return self.rows_in(self._max_duration_s)

    def rows_in(self, duration_s: float) -> int:
        """Whole columns of patches in a sound."""
        return frame_count(round(duration_s * SAMPLING_RATE_HZ)) // self._patch_frames

    def __call__(self, sounds: list[Any]) -> dict[str, Tensor]:
        """Resample to 16 kHz, cut to `max_duration_s`, transform and normalise.

        Args:
            sounds: at least one `Audio`, of any sampling rate and length. What is shorter than one patch, even empty,
                gets silence after it; what does not fill the last patch is left out.
        Returns:
            `fbank` (B, F, 128) float32 and `valid_mask` (B, F) bool, True = a real frame, on the CPU. F and every
            sound's own frames are multiples of the patch.
        Raises:
            MediaError: if there is no sound, or a value is not an `Audio`.
        """
        check_audio(sounds, self._who)
        spectrograms = [self._spectrogram(sound) for sound in sounds]
        valid = [torch.ones(len(fbank_FM), dtype=torch.bool) for fbank_FM in spectrograms]
        return {
            "fbank": pad_sequence(spectrograms, batch_first=True),
            "valid_mask": pad_sequence(valid, batch_first=True),
        }

    def _spectrogram(self, sound: Any) -> Tensor:
        waveform_S = torch.from_numpy(mono_at(sound, SAMPLING_RATE_HZ, max_duration_s=self._max_duration_s))
        missing = max(0, self._patch_samples - len(waveform_S))
        fbank_FM = kaldi_fbank(torch.nn.functional.pad(waveform_S, (0, missing)))
        whole = len(fbank_FM) - len(fbank_FM) % self._patch_frames
        return (fbank_FM[:whole] - _MEAN) / _TWICE_STD
