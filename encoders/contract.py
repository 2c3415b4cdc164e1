"""What every encoder is: a frozen model from media values to feature tokens.

Legend: B batch, T tokens, D feature width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from anygpt.tensors import Features

if TYPE_CHECKING:
    from typing_extensions import Self  # typing.Self needs Python 3.11

# Media values → CPU tensors with a leading batch dimension.
Preprocessor = Callable[[list[Any]], dict[str, Tensor]]


class Encoder(nn.Module, ABC):
    """A frozen modality encoder.

    Preprocessing needs no weights and may run in another process than `encode`. Subclasses set `modality` and a
    `Config` dataclass that owns their options, and call `freeze()` at the end of `__init__`.
    """

    modality: ClassVar[str]
    Config: ClassVar[type]

    @classmethod
    @abstractmethod
    def from_config(cls, config: Any, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load weights by `config.pretrained` (a folder, a hub name or `embedded:…`), strictly.

        Raises:
            CheckpointError: if the weights are missing, damaged or do not fit.
        """

    @classmethod
    @abstractmethod
    def load_preprocessor(cls, config: Any) -> Preprocessor:
        """The encoder's `preprocess` as a picklable callable, without loading weights.

        Raises:
            CheckpointError: if its settings are missing or damaged.
        """

    @property
    @abstractmethod
    def feature_dim(self) -> int:
        """D of the tokens."""

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """The largest T that one item can have."""

    @abstractmethod
    def preprocess(self, media: list[Any]) -> dict[str, Tensor]:
        """Media values → CPU tensors with a leading batch dimension."""

    @abstractmethod
    def encode(self, batch: dict[str, Tensor]) -> Features:
        """Preprocessed tensors → features in the encoder's dtype and on its device, without gradients.

        Runs in `inference_mode` and without the caller's autocast, but returns ordinary tensors: a trained projector
        must be able to keep them for its backward pass.
        """

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights, and so the features, are made of."""
        return next(self.parameters()).dtype

    def freeze(self) -> None:
        """Turn off gradients and training behaviour for good."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Frozen means frozen: stays in eval mode whatever is asked."""
        return super().train(False)
