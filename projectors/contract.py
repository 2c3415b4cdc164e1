"""What every projector is: the trained bridge on either side of the language model.

Legend: B batch, T feature tokens, D feature width, M prompt embeddings per item, H LLM width, n signal tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from anygpt.errors import ConfigError
from anygpt.tensors import Conditioning, ConditioningSpec, Features

MAX_SIZE = 2**24
MAX_LAYERS = 1024


class InputProjector(nn.Module, ABC):
    """Feature tokens → LLM prompt embeddings.

    Subclasses own a `Config` dataclass with at least `name` and `in_dim`, and implement `num_tokens` and `project`.

    Args:
        config: the subclass's `Config`.
        in_dim: D, as the encoder gives it.
        in_tokens: the largest T that the encoder gives.
        out_dim: H.
    Raises:
        ConfigError: if `config.in_dim` is set and is not D.
    """

    Config: ClassVar[type]

    def __init__(self, config: Any, *, in_dim: int, in_tokens: int, out_dim: int) -> None:
        super().__init__()
        self._who = f"input projector '{config.name}'"
        _check_in_dim(self._who, configured=config.in_dim, given=in_dim, giver="encoder")
        self.config = config
        self.in_dim = in_dim
        self.in_tokens = in_tokens
        self.out_dim = out_dim

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """M: prompt embeddings per item, known before anything runs."""

    @abstractmethod
    def project(self, tokens_BTD: Tensor, valid_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Project exactly `in_tokens` tokens per item, of which the padded ones are zero.

        Returns:
            As `forward`. What a padded token holds must not change any valid embedding.
        """

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """Project.

        Args:
            features: tokens (B, T, D) in any float dtype with T at most `in_tokens`, and valid_mask (B, T).
        Returns:
            Prompt embeddings (B, M, H) and their valid_mask (B, M) bool, True = a real embedding.
        Raises:
            ConfigError: if the features are wider or longer than the projector was made for.
        """
        _, length, width = features.tokens.shape
        if width != self.in_dim or length > self.in_tokens:
            raise ConfigError(
                f"{self._who}: features of shape {tuple(features.tokens.shape)}, expected (B, up to {self.in_tokens}, "
                f"{self.in_dim}); build the projector for the encoder that makes them"
            )
        dtype = next(self.parameters()).dtype
        tokens_BTD = features.tokens.to(dtype).masked_fill(~features.valid_mask[..., None], 0.0)
        missing = self.in_tokens - length
        tokens_BTD = functional.pad(tokens_BTD, (0, 0, 0, missing))
        return self.project(tokens_BTD, functional.pad(features.valid_mask, (0, missing), value=False))


class OutputProjector(nn.Module, ABC):
    """Signal-token states → a generator's conditioning.

    Subclasses own a `Config` dataclass with at least `name` and `in_dim`, and implement `project`.

    Args:
        config: the subclass's `Config`.
        in_dim: H, as the backbone gives it.
        num_signal_tokens: n.
        spec: what the generator wants. The tensors that are no masks, `learned_shapes`, are made by `project`.
    Raises:
        ConfigError: if `config.in_dim` is set and is not H, or the spec holds nothing that can be learned.
    """

    Config: ClassVar[type]

    def __init__(self, config: Any, *, in_dim: int, num_signal_tokens: int, spec: ConditioningSpec) -> None:
        super().__init__()
        self._who = f"output projector '{config.name}'"
        _check_in_dim(self._who, configured=config.in_dim, given=in_dim, giver="backbone")
        self.config = config
        self.in_dim = in_dim
        self.num_signal_tokens = num_signal_tokens
        self.spec = dict(spec)
        self.learned_shapes: dict[str, tuple[int, int]] = {}
        for name, tensor in spec.items():
            if tensor.is_mask:
                continue
            if len(tensor.shape) != 2:
                raise ConfigError(
                    f"{self._who}: the generator wants '{name}' of shape {tensor.shape}, expected (tokens, width); "
                    "declare it so, with 1 token if it is a single vector"
                )
            self.learned_shapes[name] = (tensor.shape[0], tensor.shape[1])
        if not self.learned_shapes:
            raise ConfigError(
                f"{self._who}: the generator wants {list(spec)}, expected at least one tensor that is no mask"
            )

    @abstractmethod
    def project(self, states_BnH: Tensor) -> dict[str, Tensor]:
        """One tensor (B, *shape) for every name in `learned_shapes`."""

    def forward(self, states_BnH: Tensor) -> Conditioning:
        """Project the sum of the signal tokens' last hidden states and input embeddings.

        Args:
            states_BnH: (B, n, H) in any float dtype.
        Returns:
            One tensor (B, *shape) for every name in the spec; masks are int64 ones.
        Raises:
            ConfigError: if the states are not of the shape that the projector was made for.
        """
        if states_BnH.ndim != 3 or states_BnH.shape[1:] != (self.num_signal_tokens, self.in_dim):
            raise ConfigError(
                f"{self._who}: states of shape {tuple(states_BnH.shape)}, expected (B, {self.num_signal_tokens}, "
                f"{self.in_dim}); build the projector for this backbone and its signal tokens"
            )
        batch_size, device = len(states_BnH), states_BnH.device
        learned = self.project(states_BnH.to(next(self.parameters()).dtype))
        return {
            name: torch.ones(batch_size, *tensor.shape, dtype=torch.int64, device=device)
            if tensor.is_mask
            else learned[name]
            for name, tensor in self.spec.items()
        }


def check_sizes(who: str, **sizes: int | None) -> None:
    """Refuse options below 1 or beyond `MAX_SIZE`, layers beyond `MAX_LAYERS`; None means "not set" and passes.

    Raises:
        ConfigError: naming the first such option.
    """
    for option, size in sizes.items():
        most = MAX_LAYERS if option.endswith("layers") else MAX_SIZE
        if size is not None and not 1 <= size <= most:
            raise ConfigError(f"{who}: {option}={size}, expected 1 to {most}; set {option} in between")


def check_attention(who: str, *, dim: int, heads: int, dropout: float) -> None:
    """Refuse a width that the heads cannot share, and a dropout that is no probability below 1.

    Raises:
        ConfigError: naming the option.
    """
    if dim % heads:
        raise ConfigError(f"{who}: dim={dim} cannot be shared by heads={heads}; set heads to a divisor of {dim}")
    if not 0.0 <= dropout < 1.0:
        raise ConfigError(f"{who}: dropout={dropout}, expected 0 <= dropout < 1; set dropout=0.0")


def _check_in_dim(who: str, *, configured: int | None, given: int, giver: str) -> None:
    if configured is not None and configured != given:
        raise ConfigError(
            f"{who}: input width {configured}, but the {giver} gives {given}; set in_dim={given} or leave it out"
        )
