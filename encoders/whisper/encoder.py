"""Sounds through the frozen audio encoder of Whisper, from openai's package or from transformers.

Legend: B batch, M mel bands, F mel frames, T tokens, D feature width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel

from anygpt.checkpoints.locate import locate
from anygpt.errors import ConfigError, MediaError
from anygpt.tensors import Features
from encoders.contract import Encoder
from encoders.waveforms import (
    check_durations,
    check_pool,
    fixed_features,
    groups_of_equal_length,
    pool_frames,
    pooled_length,
)
from encoders.whisper.checkpoint import load_tower, read_config
from encoders.whisper.preprocessor import FRAMES_PER_TOKEN, TOKENS_PER_S, WhisperPreprocessor

if TYPE_CHECKING:
    from typing_extensions import Self

_WHO = "audio encoder 'whisper'"


class WhisperEncoder(Encoder):
    """Whisper's encoder over windows of a clip; its last hidden states are the feature tokens, 50 a second.

    The cost follows a clip's length: a window that a clip does not fill uses only as many positions as it has frames.
    Every clip has `num_tokens` tokens, those after its end invalid; an empty clip counts as one token of silence.

    Args:
        config: the options.
        tower: transformers' Whisper encoder.
        preprocessor: makes the spectrograms.
        window_tokens: tokens of one window.
    Source: Whisper (arXiv 2212.04356), section 2.2; SALMONN (arXiv 2310.13289) uses it so, with padded windows.
    """

    modality = "audio"

    @dataclass
    class Config:
        """Options of the `whisper` encoder.

        Attributes:
            pretrained: a name of the `whisper` package ("large-v3"; needs the extra `audio`), a `.pt` file of it, or a
                folder, hub name or `embedded:…` of transformers' Whisper.
            max_duration_s: longest clip; what comes after is cut off.
            window_s: longer clips are encoded in windows of this length; None takes all positions that the checkpoint
                has, 30 s for the released ones.
            pad_windows: True fills a clip's last window with silence, as in Whisper's training, at the cost of a whole
                window however short the clip is. The silence gives no tokens.
            pool: so many frames are averaged into one token.
            revision: branch, tag or commit of a hub repository.
        """

        pretrained: str
        name: Literal["whisper"] = "whisper"
        max_duration_s: float = 30.0
        window_s: float | None = None
        pad_windows: bool = False
        pool: int = 1
        revision: str = "main"

        def __post_init__(self) -> None:
            check_durations(_WHO, max_duration_s=self.max_duration_s, window_s=self.window_s)
            check_pool(_WHO, self.pool)

    def __init__(
        self, config: Config, *, tower: PreTrainedModel, preprocessor: WhisperPreprocessor, window_tokens: int
    ) -> None:
        super().__init__()
        self.config = config
        self.tower = tower
        self._preprocessor = preprocessor
        self._window_tokens = window_tokens
        self.freeze()

    @classmethod
    def from_config(cls, config: Config, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load the encoder part strictly; the checkpoint may hold the decoder besides.

        Raises:
            CheckpointError: if the checkpoint is missing, damaged, not a Whisper or does not fit its config.
            ConfigError: if `window_s` is longer than the checkpoint's positions.
            MissingExtraError: for a name of the `whisper` package, where it is not installed.
        """
        tower = load_tower(locate(config.pretrained), who=_WHO, revision=config.revision, dtype=dtype)
        return cls(
            config,
            tower=tower,
            preprocessor=_front_end(config, tower.config),
            window_tokens=_window_tokens(config, tower.config),
        ).to(device)

    @classmethod
    def load_preprocessor(cls, config: Config) -> WhisperPreprocessor:
        """The front end for the checkpoint's mel bands, without weights.

        Raises:
            CheckpointError, ConfigError: as `from_config`.
        """
        return _front_end(config, read_config(locate(config.pretrained), who=_WHO, revision=config.revision))

    @property
    def feature_dim(self) -> int:
        """D of the tokens."""
        return self.tower.config.d_model

    @property
    def num_tokens(self) -> int:
        """T: tokens of a clip of `max_duration_s`."""
        return pooled_length(self._preprocessor.max_tokens, self.config.pool)

    def preprocess(self, media: list[Any]) -> dict[str, Tensor]:
        """`Audio` values → `input_features` (B, M, F) float32 and `num_tokens` (B,) int64 on the CPU.

        Raises:
            MediaError: if there is no sound, or a value is not an `Audio`.
        """
        return self._preprocessor(media)

    def encode(self, batch: dict[str, Tensor]) -> Features:
        """Encode sounds.

        Args:
            batch: `input_features` (B, M, F) and `num_tokens` (B,), as `preprocess` makes them, on any device.
        Returns:
            Features with tokens (B, T, D) in the encoder's dtype; a token is valid if any of its frames is the clip's.
        Raises:
            MediaError: if the tensors have other shapes.
        """
        features_BMF, num_tokens = batch["input_features"], batch["num_tokens"].tolist()
        self._check(features_BMF, num_tokens)
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            clips = self._encode_clips(features_BMF.to(self.device, self.dtype), num_tokens)
        return fixed_features(clips, self.num_tokens)

    def _check(self, features_BMF: Tensor, num_tokens: list[int]) -> None:
        mels, longest = self._preprocessor.mels, self._preprocessor.max_tokens
        padded = max((self._padded(length) for length in num_tokens), default=0)
        fits = features_BMF.ndim == 3 and len(features_BMF) == len(num_tokens) and features_BMF.shape[1] == mels
        if not fits or features_BMF.shape[2] < padded * FRAMES_PER_TOKEN:
            raise MediaError(
                f"{_WHO}: input_features of shape {tuple(features_BMF.shape)} for num_tokens {num_tokens}, "
                f"expected (B, {mels}, {FRAMES_PER_TOKEN} or more frames a token); make them with preprocess()"
            )
        if not all(1 <= length <= longest for length in num_tokens):
            raise MediaError(
                f"{_WHO}: num_tokens {num_tokens} given, expected 1 to {longest}; make them with preprocess()"
            )

    def _padded(self, tokens: int) -> int:
        return pooled_length(tokens, self._preprocessor.pad_to_tokens) * self._preprocessor.pad_to_tokens

    def _encode_clips(self, features_BMF: Tensor, num_tokens: list[int]) -> list[Tensor]:
        """Tokens (T, D) of every clip, T its own."""
        windows, owners = [], []
        for owner, length in enumerate(num_tokens):
            frames_MF = features_BMF[owner, :, : self._padded(length) * FRAMES_PER_TOKEN]
            for window_MF in frames_MF.split(self._window_tokens * FRAMES_PER_TOKEN, dim=1):
                windows.append(window_MF)
                owners.append(owner)
        encoded: dict[int, Tensor] = {}
        for _, group in groups_of_equal_length([window_MF.shape[1] for window_MF in windows]):
            states_BTD = self._run_tower(torch.stack([windows[index] for index in group]))
            encoded.update(zip(group, states_BTD, strict=True))
        clips = []
        for owner, length in enumerate(num_tokens):
            states_TD = torch.cat([encoded[index] for index, own in enumerate(owners) if own == owner])
            clips.append(pool_frames(states_TD[:length], self.config.pool))
        return clips

    def _run_tower(self, features_BMF: Tensor) -> Tensor:
        """The tower's own forward pass, which takes nothing but whole windows, over the first positions."""
        tower = self.tower
        states_BDT = F.gelu(tower.conv2(F.gelu(tower.conv1(features_BMF))))
        states_BTD = states_BDT.transpose(1, 2)
        states_BTD = states_BTD + tower.embed_positions.weight[: states_BTD.shape[1]]
        for layer in tower.layers:
            states_BTD = layer(states_BTD, None)
        return tower.layer_norm(states_BTD)


def _window_tokens(config: WhisperEncoder.Config, tower_config: PreTrainedConfig) -> int:
    positions = tower_config.max_source_positions
    if config.window_s is None:
        return positions
    tokens = round(config.window_s * TOKENS_PER_S)
    if not 1 <= tokens <= positions:
        raise ConfigError(
            f"{_WHO}: window_s={config.window_s}, but '{config.pretrained}' has positions for "
            f"{1 / TOKENS_PER_S} to {positions / TOKENS_PER_S} s; set window_s between them, or to null for all"
        )
    return tokens


def _front_end(config: WhisperEncoder.Config, tower_config: PreTrainedConfig) -> WhisperPreprocessor:
    return WhisperPreprocessor(
        who=_WHO,
        mels=tower_config.num_mel_bins,
        max_tokens=max(1, round(config.max_duration_s * TOKENS_PER_S)),
        pad_to_tokens=_window_tokens(config, tower_config) if config.pad_windows else 1,
    )
