"""All signal states at once through one hidden layer: the cheapest output projector.

Legend: B batch, n signal tokens, H LLM width, W hidden width, T and D a tensor's tokens and width, r rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from anygpt.tensors import ConditioningSpec
from projectors.contract import OutputProjector, check_sizes

_WHO = "output projector 'mlp'"


class MlpOutputProjector(OutputProjector):
    """Normalise, flatten n·H, one hidden layer of width W, and one linear head per learned tensor.

    A head is W → T·D, or W → T·r → T·D with a `rank`: the second has T·D/(r·(T + D/W)) times fewer parameters, 12 times
    fewer for (77, 768) at W=512, r=64.
    """

    @dataclass
    class Config:
        """Options of the `mlp` output projector.

        Attributes:
            in_dim: H; None takes the backbone's.
            hidden_dim: W.
            rank: r; None gives full heads.
        """

        name: Literal["mlp"] = "mlp"
        in_dim: int | None = None
        hidden_dim: int = 512
        rank: int | None = None

        def __post_init__(self) -> None:
            check_sizes(_WHO, hidden_dim=self.hidden_dim, rank=self.rank)

    def __init__(self, config: Config, *, in_dim: int, num_signal_tokens: int, spec: ConditioningSpec) -> None:
        super().__init__(config, in_dim=in_dim, num_signal_tokens=num_signal_tokens, spec=spec)
        self.trunk = nn.Sequential(
            nn.LayerNorm(in_dim),
            nn.Flatten(),
            nn.Linear(num_signal_tokens * in_dim, config.hidden_dim),
            nn.GELU(),
            nn.LayerNorm(config.hidden_dim),
        )
        self.heads = nn.ModuleDict(
            {
                name: _head(config.hidden_dim, tokens, width, config.rank)
                for name, (tokens, width) in self.learned_shapes.items()
            }
        )

    def project(self, states_BnH: Tensor) -> dict[str, Tensor]:
        """One hidden vector per item, read by every head."""
        hidden_BW = self.trunk(states_BnH)
        return {name: self.heads[name](hidden_BW) for name in self.learned_shapes}


def _head(hidden_dim: int, tokens: int, width: int, rank: int | None) -> nn.Module:
    """(B, W) → (B, T, D)."""
    if rank is None:
        return nn.Sequential(nn.Linear(hidden_dim, tokens * width), nn.Unflatten(1, (tokens, width)))
    return nn.Sequential(nn.Linear(hidden_dim, tokens * rank), nn.Unflatten(1, (tokens, rank)), nn.Linear(rank, width))
