"""Sounds through a frozen HuBERT, which hears speech and reads no text, as SpeechGPT uses it.

Legend: B batch, S samples, T tokens, D feature width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoFeatureExtractor, HubertModel, PreTrainedConfig, PreTrainedModel

from anygpt.checkpoints.locate import locate
from anygpt.checkpoints.trust import remote_code_allowed
from anygpt.errors import CheckpointError, MediaError
from anygpt.tensors import Features
from encoders.contract import Encoder
from encoders.strict_loading import checkpoint_errors, load_strictly, read_model_config
from encoders.waveforms import (
    check_audio,
    check_durations,
    check_pool,
    fixed_features,
    groups_of_equal_length,
    mono_at,
    pad_samples,
    pool_frames,
    pooled_length,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_WHO = "audio encoder 'hubert'"


@dataclass(frozen=True)
class _Convolutions:
    """The strided convolutions that turn samples into frames.

    Attributes:
        layers: kernel and stride of each, in samples of its input.
    """

    layers: tuple[tuple[int, int], ...]

    def frames(self, samples: int) -> int:
        """Frames that so many samples give."""
        for kernel, stride in self.layers:
            samples = (samples - kernel) // stride + 1 if samples >= kernel else 0
        return samples

    @property
    def shortest(self) -> int:
        """Samples of the shortest waveform that gives a frame."""
        samples = 1
        for kernel, stride in reversed(self.layers):
            samples = (samples - 1) * stride + kernel
        return samples


class HubertPreprocessor:
    """A callable, picklable front end: resamples, cuts and normalises as the checkpoint's feature extractor says.

    Args:
        extractor: a transformers feature extractor.
        max_duration_s: longest clip; what comes after is cut off.
        shortest: samples that give one frame; a shorter clip gets silence up to there.
    """

    def __init__(self, extractor: Any, *, max_duration_s: float, shortest: int) -> None:
        self._extractor = extractor
        self._max_duration_s = max_duration_s
        self._shortest = shortest

    @property
    def max_samples(self) -> int:
        """Samples of the longest waveform that it makes."""
        return max(self._shortest, round(self._max_duration_s * self._extractor.sampling_rate))

    def __call__(self, sounds: list[Any]) -> dict[str, Tensor]:
        """Make waveforms.

        Args:
            sounds: at least one `Audio`, of any sampling rate and length; an empty one counts as one frame of silence.
        Returns:
            `input_values` (B, S) float32, zeros after a clip's end, and `num_samples` (B,) int64, both on the CPU.
        Raises:
            MediaError: if there is no sound, or a value is not an `Audio`.
        """
        check_audio(sounds, _WHO)
        rate = self._extractor.sampling_rate
        clips = []
        for sound in sounds:
            waveform = mono_at(sound, rate, max_duration_s=self._max_duration_s)
            if len(waveform) < self._shortest:
                waveform = pad_samples(waveform, self._shortest)
            values_1S = self._extractor(waveform, sampling_rate=rate, return_tensors="np")["input_values"]
            clips.append(torch.from_numpy(values_1S[0]).to(torch.float32))
        return {
            "input_values": pad_sequence(clips, batch_first=True),
            "num_samples": torch.tensor([len(clip) for clip in clips]),
        }


class HubertEncoder(Encoder):
    """HuBERT's last hidden states, 50 a second for the released checkpoints.

    Clips of equal length run as one batch and others apart: most HuBERTs normalise over time and were trained without
    an attention mask, so that padding would change what a clip sounds like. Every clip has `num_tokens` tokens, those
    after its end invalid.

    Args:
        config: the options.
        tower: a transformers HuBERT.
        preprocessor: makes the waveforms.
    Source: HuBERT (arXiv 2106.07447), section III; SpeechGPT (arXiv 2305.11000), section 4.1.
    """

    modality = "audio"

    @dataclass
    class Config:
        """Options of the `hubert` encoder.

        Attributes:
            pretrained: folder, hub name or `embedded:…` of a HuBERT checkpoint.
            max_duration_s: longest clip; what comes after is cut off.
            pool: so many frames are averaged into one token.
            revision: branch, tag or commit of a hub repository.
        """

        pretrained: str
        name: Literal["hubert"] = "hubert"
        max_duration_s: float = 30.0
        pool: int = 1
        revision: str = "main"

        def __post_init__(self) -> None:
            check_durations(_WHO, max_duration_s=self.max_duration_s)
            check_pool(_WHO, self.pool)

    def __init__(self, config: Config, *, tower: PreTrainedModel, preprocessor: HubertPreprocessor) -> None:
        super().__init__()
        self.config = config
        self.tower = tower
        self._preprocessor = preprocessor
        self._convolutions = _convolutions(tower.config)
        self.freeze()

    @classmethod
    def from_config(cls, config: Config, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load HuBERT strictly; a fine-tuned checkpoint may hold its head besides.

        Raises:
            CheckpointError: if the checkpoint is missing, damaged, not a HuBERT or does not fit its config.
        """
        tower = load_strictly(
            HubertModel,
            locate(config.pretrained),
            config=_read_tower_config(config),
            who=_WHO,
            dtype=dtype,
            revision=config.revision,
            other_parts=("lm_head.", "projector.", "classifier.", "layer_weights"),
        )
        return cls(config, tower=tower, preprocessor=cls.load_preprocessor(config)).to(device)

    @classmethod
    def load_preprocessor(cls, config: Config) -> HubertPreprocessor:
        """The checkpoint's own feature extractor, without weights.

        Raises:
            CheckpointError: if it has none.
        """
        source = locate(config.pretrained)
        shortest = _convolutions(_read_tower_config(config)).shortest
        with checkpoint_errors(_WHO, source, "preprocessor_config.json"):
            extractor = AutoFeatureExtractor.from_pretrained(
                source, revision=config.revision, trust_remote_code=remote_code_allowed()
            )
        return HubertPreprocessor(extractor, max_duration_s=config.max_duration_s, shortest=shortest)

    @property
    def feature_dim(self) -> int:
        """D of the tokens."""
        return self.tower.config.hidden_size

    @property
    def num_tokens(self) -> int:
        """T: tokens of a clip of `max_duration_s`."""
        return pooled_length(self._convolutions.frames(self._preprocessor.max_samples), self.config.pool)

    def preprocess(self, media: list[Any]) -> dict[str, Tensor]:
        """`Audio` values → `input_values` (B, S) float32 and `num_samples` (B,) int64 on the CPU.

        Raises:
            MediaError: if there is no sound, or a value is not an `Audio`.
        """
        return self._preprocessor(media)

    def encode(self, batch: dict[str, Tensor]) -> Features:
        """Encode sounds.

        Args:
            batch: `input_values` (B, S) and `num_samples` (B,), as `preprocess` makes them, on any device.
        Returns:
            Features with tokens (B, T, D) in the encoder's dtype; a token is valid if any of its frames is the clip's.
        Raises:
            MediaError: if the tensors have other shapes.
        """
        values_BS, num_samples = batch["input_values"], batch["num_samples"].tolist()
        lowest, highest = self._convolutions.shortest, self._preprocessor.max_samples
        fits = all(lowest <= samples <= min(highest, values_BS.shape[-1]) for samples in num_samples)
        if values_BS.ndim != 2 or len(values_BS) != len(num_samples) or not fits:
            raise MediaError(
                f"{_WHO}: input_values of shape {tuple(values_BS.shape)} for num_samples {num_samples}, expected "
                f"(B, S) and {lowest} to {highest} samples a clip; make them with preprocess()"
            )
        clips: dict[int, Tensor] = {}
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            values_BS = values_BS.to(self.device, self.dtype)
            for samples, group in groups_of_equal_length(num_samples):
                states_BTD = self.tower(input_values=values_BS[group, :samples]).last_hidden_state
                for index, own_TD in zip(group, states_BTD, strict=True):
                    clips[index] = pool_frames(own_TD, self.config.pool)
        return fixed_features([clips[index] for index in range(len(num_samples))], self.num_tokens)


def _read_tower_config(config: HubertEncoder.Config) -> PreTrainedConfig:
    source = locate(config.pretrained)
    tower_config = read_model_config(source, who=_WHO, revision=config.revision)
    if tower_config.model_type != "hubert":
        raise CheckpointError(
            f"{_WHO}: '{source}' is of type '{tower_config.model_type}', expected hubert; "
            "set `pretrained` to such a checkpoint"
        )
    return tower_config


def _convolutions(tower_config: PreTrainedConfig) -> _Convolutions:
    return _Convolutions(tuple(zip(tower_config.conv_kernel, tower_config.conv_stride, strict=True)))
