"""Sounds through the frozen audio tower of CLAP, which was trained to agree with captions.

Legend: B batch, N windows of the longest clip, C crops, F mel frames, M mel bands, T tokens, D feature width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoFeatureExtractor, ClapAudioModel, PreTrainedConfig, PreTrainedModel

from anygpt.checkpoints.locate import locate
from anygpt.checkpoints.trust import remote_code_allowed
from anygpt.errors import CheckpointError, MediaError
from anygpt.tensors import Features
from encoders.contract import Encoder
from encoders.strict_loading import checkpoint_errors, load_strictly, read_model_config
from encoders.waveforms import (
    AT_ONCE,
    check_audio,
    check_durations,
    fixed_features,
    mono_at,
    pad_samples,
    pooled_length,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_WHO = "audio encoder 'clap'"


class ClapPreprocessor:
    """A callable, picklable front end by the feature extractor that the checkpoint brings.

    Clips are split into windows beforehand: the extractor would take a random part of a longer one. It fills a window
    by repeating what is shorter, or with silence, as it says itself.

    Args:
        extractor: a transformers feature extractor of CLAP.
        max_duration_s: longest clip; what comes after is cut off.
    """

    def __init__(self, extractor: Any, *, max_duration_s: float) -> None:
        self._extractor = extractor
        self._max_duration_s = max_duration_s

    @property
    def window_samples(self) -> int:
        """Samples of one window."""
        return round(self._extractor.max_length_s * self._extractor.sampling_rate)

    @property
    def max_samples(self) -> int:
        """Samples of the longest clip."""
        return max(1, round(self._max_duration_s * self._extractor.sampling_rate))

    def __call__(self, sounds: list[Any]) -> dict[str, Tensor]:
        """Resample, cut, and make spectrograms.

        Args:
            sounds: at least one `Audio`, of any sampling rate and length; an empty one counts as silence.
        Returns:
            `input_features` (B, N, C, F, M) float32, and `num_samples` (B, N) int64, samples of the clip in each
            window, 0 after its end; both on the CPU.
        Raises:
            MediaError: if there is no sound, or a value is not an `Audio`.
        """
        check_audio(sounds, _WHO)
        rate = self._extractor.sampling_rate
        clips, num_samples = [], []
        for sound in sounds:
            waveform = pad_samples(mono_at(sound, rate, max_duration_s=self._max_duration_s), 1)
            starts = range(0, len(waveform), self.window_samples)
            windows = [waveform[start : start + self.window_samples] for start in starts]
            # Its `is_longer` is left aside: no window is, and for want of one it names one at random.
            made = self._extractor(windows, sampling_rate=rate, return_tensors="np")["input_features"]
            clips.append(torch.from_numpy(made).to(torch.float32))
            num_samples.append(torch.tensor([len(window) for window in windows]))
        return {
            "input_features": pad_sequence(clips, batch_first=True),
            "num_samples": pad_sequence(num_samples, batch_first=True),
        }


class ClapEncoder(Encoder):
    """The last feature map of CLAP's audio tower: tokens by time, within one time by frequency.

    The tower looks at windows of a fixed length, 10 s for the released checkpoints; a longer clip's windows follow each
    other. Of a window that a clip does not fill, the tokens of the clip's first time through are kept. Every clip has
    `num_tokens` tokens, those after its end invalid.

    Args:
        config: the options.
        tower: a transformers CLAP audio tower.
        preprocessor: makes the spectrograms.
    Source: CLAP (arXiv 2211.06687), section 3; HTS-AT (arXiv 2202.00874), section 3.
    """

    modality = "audio"

    @dataclass
    class Config:
        """Options of the `clap` encoder.

        Attributes:
            pretrained: folder, hub name or `embedded:…` of a CLAP checkpoint, whole or its audio tower alone.
            max_duration_s: longest clip; what comes after is cut off.
            revision: branch, tag or commit of a hub repository.
        """

        pretrained: str
        name: Literal["clap"] = "clap"
        max_duration_s: float = 30.0
        revision: str = "main"

        def __post_init__(self) -> None:
            check_durations(_WHO, max_duration_s=self.max_duration_s)

    def __init__(self, config: Config, *, tower: PreTrainedModel, preprocessor: ClapPreprocessor) -> None:
        super().__init__()
        self.config = config
        self.tower = tower
        self._preprocessor = preprocessor
        self.freeze()

    @classmethod
    def from_config(cls, config: Config, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load the audio tower strictly; a whole CLAP checkpoint may hold its text tower besides.

        Raises:
            CheckpointError: if the checkpoint is missing, damaged, not a CLAP or does not fit its config.
        """
        tower = load_strictly(
            ClapAudioModel,
            locate(config.pretrained),
            config=_read_tower_config(config),
            who=_WHO,
            dtype=dtype,
            revision=config.revision,
            other_parts=("text_model.", "text_projection.", "audio_projection.", "logit_scale_"),
            key_mapping={r"^audio_model\.": ""},
        )
        return cls(config, tower=tower, preprocessor=cls.load_preprocessor(config)).to(device)

    @classmethod
    def load_preprocessor(cls, config: Config) -> ClapPreprocessor:
        """The checkpoint's own feature extractor, without weights.

        Raises:
            CheckpointError: if it has none, or one that is not CLAP's.
        """
        source = locate(config.pretrained)
        with checkpoint_errors(_WHO, source, "preprocessor_config.json"):
            extractor = AutoFeatureExtractor.from_pretrained(
                source, revision=config.revision, trust_remote_code=remote_code_allowed()
            )
        if not hasattr(extractor, "max_length_s"):
            raise CheckpointError(
                f"{_WHO}: '{source}' brings a {type(extractor).__name__}, expected a ClapFeatureExtractor; "
                "correct preprocessor_config.json"
            )
        return ClapPreprocessor(extractor, max_duration_s=config.max_duration_s)

    @property
    def feature_dim(self) -> int:
        """D of the tokens."""
        return self.tower.audio_encoder.num_features

    @property
    def num_tokens(self) -> int:
        """T: tokens of a clip of `max_duration_s`."""
        windows, rest = divmod(self._preprocessor.max_samples, self._preprocessor.window_samples)
        return windows * self._tokens_of(self._preprocessor.window_samples) + self._tokens_of(rest)

    def _tokens_of(self, samples: int) -> int:
        """How many tokens of a window tell of its first samples."""
        tower = self.tower.audio_encoder
        halvings = 2 ** (len(tower.depths) - 1)
        rows, columns = (size // halvings for size in tower.patch_embed.grid_size)
        bands, times = rows // tower.freq_ratio, columns * tower.freq_ratio
        return pooled_length(samples * times, self._preprocessor.window_samples) * bands

    def preprocess(self, media: list[Any]) -> dict[str, Tensor]:
        """`Audio` values → `input_features` (B, N, C, F, M) float32 and `num_samples` (B, N) int64 on the CPU.

        Raises:
            MediaError: if there is no sound, or a value is not an `Audio`.
        """
        return self._preprocessor(media)

    def encode(self, batch: dict[str, Tensor]) -> Features:
        """Encode sounds.

        Args:
            batch: `input_features` (B, N, C, F, M) and `num_samples` (B, N), as `preprocess` makes them, on any device.
        Returns:
            Features with tokens (B, T, D) in the encoder's dtype; a token is valid if any of its time is the clip's.
        Raises:
            MediaError: if the tensors have other shapes.
        """
        features_BNCFM, samples_BN = batch["input_features"], batch["num_samples"]
        self._check(features_BNCFM, samples_BN)
        present_BN = samples_BN > 0
        windows_BCFM = features_BNCFM[present_BN.to(features_BNCFM.device)].to(self.device, self.dtype)
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            states_BTD = torch.cat([self._run_tower(some) for some in windows_BCFM.split(AT_ONCE)])
            lengths = [self._tokens_of(samples) for samples in samples_BN[present_BN].tolist()]
            windows = [own_TD[:length] for own_TD, length in zip(states_BTD, lengths, strict=True)]
            ends = present_BN.sum(dim=1).cumsum(dim=0).tolist()
            clips = [torch.cat(windows[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
        return fixed_features(clips, self.num_tokens)

    def _run_tower(self, windows_BCFM: Tensor) -> Tensor:
        """Tokens (B, T, D) of whole windows, by time."""
        none_longer = torch.zeros(len(windows_BCFM), 1, dtype=torch.bool, device=self.device)
        map_BDMF = self.tower(input_features=windows_BCFM, is_longer=none_longer).last_hidden_state
        return map_BDMF.permute(0, 3, 2, 1).flatten(1, 2)

    def _check(self, features_BNCFM: Tensor, samples_BN: Tensor) -> None:
        crops, mels = 4 if self.tower.config.enable_fusion else 1, self.tower.config.num_mel_bins
        if features_BNCFM.ndim != 5 or (features_BNCFM.shape[2], features_BNCFM.shape[4]) != (crops, mels):
            raise MediaError(
                f"{_WHO}: input_features of shape {tuple(features_BNCFM.shape)}, expected (B, N, {crops}, F, {mels}); "
                "make them with preprocess()"
            )
        fits = samples_BN.shape == features_BNCFM.shape[:2] and (samples_BN > 0).any(dim=1).all()
        if not fits or samples_BN.sum(dim=1).max() > self._preprocessor.max_samples:
            raise MediaError(
                f"{_WHO}: num_samples {samples_BN.tolist()} given, expected (B, N) with 1 to "
                f"{self._preprocessor.max_samples} samples a clip; make them with preprocess()"
            )


def _read_tower_config(config: ClapEncoder.Config) -> PreTrainedConfig:
    source = locate(config.pretrained)
    checkpoint_config = read_model_config(source, who=_WHO, revision=config.revision)
    if checkpoint_config.model_type not in ("clap", "clap_audio_model"):
        raise CheckpointError(
            f"{_WHO}: '{source}' is of type '{checkpoint_config.model_type}', expected clap or clap_audio_model; "
            "set `pretrained` to such a checkpoint"
        )
    return getattr(checkpoint_config, "audio_config", checkpoint_config)
