"""Several audio encoders as one: their features side by side, as SALMONN hears with Whisper and BEATs.

Legend: B batch, T tokens, D feature width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anygpt.errors import ConfigError
from anygpt.tensors import Features
from encoders.composition import resolve_inner
from encoders.contract import Encoder, Preprocessor
from encoders.waveforms import fixed_features

if TYPE_CHECKING:
    from typing_extensions import Self

_WHO = "audio encoder 'concat'"


@dataclass(frozen=True)
class ConcatPreprocessor:
    """Every part's preprocessing; their tensors are told apart by "0.", "1." before their names."""

    parts: tuple[Preprocessor, ...]

    def __call__(self, sounds: list[Any]) -> dict[str, Tensor]:
        """`Audio` values → the tensors of all parts, on the CPU.

        Raises:
            MediaError: as the parts.
        """
        return {
            f"{index}.{name}": tensor
            for index, preprocess in enumerate(self.parts)
            for name, tensor in preprocess(sounds).items()
        }


class ConcatEncoder(Encoder):
    """Features of several audio encoders, concatenated along D on the time grid of the one with the fewest tokens.

    A clip's tokens of every other part are averaged over equal shares of the clip, as many as that part has tokens, so
    that the parts must listen to the same seconds.

    Args:
        config: the options.
        parts: the encoders, in the order of their features.
    Source: SALMONN (arXiv 2310.13289), section 3.1. Its Whisper and BEATs have nearly the same number of tokens, and it
    pads the fewer.
    """

    modality = "audio"

    @dataclass
    class Config:
        """Options of the `concat` encoder.

        Attributes:
            parts: sections of two or more audio encoders, each as it would stand under `encoders.audio`.
        """

        parts: list[dict[str, Any]]
        name: Literal["concat"] = "concat"

        def __post_init__(self) -> None:
            if len(self.parts) < 2:
                raise ConfigError(
                    f"parts: {len(self.parts)} given, expected two or more audio encoders; "
                    "name a single one as the encoder itself"
                )
            _check_same_seconds([options for _, options in _resolve_parts(self)])

    def __init__(self, config: Config, *, parts: list[Encoder]) -> None:
        super().__init__()
        self.config = config
        self.parts = nn.ModuleList(parts)
        self._preprocessor = ConcatPreprocessor(tuple(part.preprocess for part in parts))
        self.freeze()

    @classmethod
    def from_config(cls, config: Config, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load every part strictly.

        Raises:
            CheckpointError, ConfigError, MissingExtraError: as the parts.
        """
        parts = [
            part_class.from_config(options, device=device, dtype=dtype)
            for part_class, options in _resolve_parts(config)
        ]
        return cls(config, parts=parts)

    @classmethod
    def load_preprocessor(cls, config: Config) -> ConcatPreprocessor:
        """The parts' preprocessors, without weights.

        Raises:
            CheckpointError: as the parts.
        """
        return ConcatPreprocessor(
            tuple(part_class.load_preprocessor(options) for part_class, options in _resolve_parts(config))
        )

    @property
    def feature_dim(self) -> int:
        """D of the tokens: the sum of the parts'."""
        return sum(part.feature_dim for part in self._encoders)

    @property
    def num_tokens(self) -> int:
        """T: that of the part with the fewest."""
        return min(part.num_tokens for part in self._encoders)

    @property
    def _encoders(self) -> list[Encoder]:
        return list(self.parts)  # type: ignore[arg-type]

    def preprocess(self, media: list[Any]) -> dict[str, Tensor]:
        """`Audio` values → the tensors of all parts, "0.…", "1.…", on the CPU.

        Raises:
            MediaError: as the parts.
        """
        return self._preprocessor(media)

    def encode(self, batch: dict[str, Tensor]) -> Features:
        """Encode sounds.

        Args:
            batch: the parts' tensors, as `preprocess` makes them, on any device.
        Returns:
            Features with tokens (B, T, D) in the encoder's dtype; valid where the part with the fewest tokens has them.
        Raises:
            MediaError: as the parts.
        """
        heard = [part.encode(_of_part(batch, index)) for index, part in enumerate(self._encoders)]
        sparsest = min(range(len(heard)), key=lambda index: self._encoders[index].num_tokens)
        clips = []
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            for row in range(len(heard[0].tokens)):
                own = [features.tokens[row][features.valid_mask[row]] for features in heard]
                length = len(own[sparsest])
                clips.append(torch.cat([_resampled(tokens_TD, length) for tokens_TD in own], dim=1))
        return fixed_features(clips, self.num_tokens)


def _resolve_parts(config: ConcatEncoder.Config) -> list[tuple[Any, Any]]:
    return [resolve_inner(values, f"parts.{index}", modality="audio") for index, values in enumerate(config.parts)]


def _check_same_seconds(parts: list[Any]) -> None:
    """Refuse parts of which one would hear more of a long clip than another."""
    seconds = [getattr(options, "max_duration_s", None) for options in parts]
    first = next((index for index, own in enumerate(seconds) if own is not None), 0)
    for index, own in enumerate(seconds):
        if own not in (None, seconds[first]):
            raise ConfigError(
                f"parts.{index}.max_duration_s: {own} given, but parts.{first} has {seconds[first]}; "
                "give all parts the same, so that their tokens can be aligned"
            )


def _of_part(batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    prefix = f"{index}."
    return {name.removeprefix(prefix): tensor for name, tensor in batch.items() if name.startswith(prefix)}


def _resampled(tokens_TD: Tensor, length: int) -> Tensor:
    """Averages over `length` equal shares of the tokens."""
    if len(tokens_TD) == length:
        return tokens_TD
    return F.adaptive_avg_pool1d(tokens_TD.T[None], length)[0].T
