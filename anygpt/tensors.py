"""The tensors that travel between stages.

Legend: B batch, T tokens, D feature width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Features:
    """What an encoder perceives.

    Attributes:
        tokens: (B, T, D) in the encoder's dtype.
        valid_mask: (B, T) bool, True = a real token, False = padding.
    """

    tokens: Tensor
    valid_mask: Tensor

    def __post_init__(self) -> None:
        if self.tokens.ndim != 3 or self.valid_mask.shape != self.tokens.shape[:2]:
            raise ValueError(
                f"features: tokens {tuple(self.tokens.shape)} and valid_mask {tuple(self.valid_mask.shape)} given, "
                "expected (B, T, D) and (B, T)"
            )

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Features:
        """The same features on a device, tokens in a dtype."""
        return Features(self.tokens.to(device, dtype), self.valid_mask.to(device))


@dataclass(frozen=True)
class TensorSpec:
    """Shape of one named tensor of a generator's conditioning, without the batch dimension.

    Attributes:
        shape: (T, D) for embeddings, (T,) for a mask.
        is_mask: True where the tensor is an int64 attention mask (1 = attend) and not learned.
    """

    shape: tuple[int, ...]
    is_mask: bool = False


# Names and shapes that a generator accepts, and the batched tensors (B, *shape) themselves.
ConditioningSpec = dict[str, TensorSpec]
Conditioning = dict[str, "Tensor"]
