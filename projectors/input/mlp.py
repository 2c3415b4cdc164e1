"""Two linear layers per token, as LLaVA-1.5 projects CLIP's patches.

Legend: B batch, T feature tokens, D feature width, H LLM width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from projectors.contract import InputProjector, check_sizes
from projectors.input.embedding_scale import check_output_std, embedding_scale

_WHO = "input projector 'mlp'"


class MlpInputProjector(InputProjector):
    """Linear, GELU, linear on every token; M = T.

    Source: LLaVA-1.5 (arXiv 2310.03744), section 3.2, `mlp2x_gelu`.
    """

    @dataclass
    class Config:
        """Options of the `mlp` input projector.

        Attributes:
            in_dim: D; None takes the encoder's.
            hidden_dim: width between the layers; None takes H, as LLaVA.
            output_std: see `embedding_scale`.
        """

        name: Literal["mlp"] = "mlp"
        in_dim: int | None = None
        hidden_dim: int | None = None
        output_std: float | None = 0.02

        def __post_init__(self) -> None:
            check_sizes(_WHO, hidden_dim=self.hidden_dim)
            check_output_std(_WHO, self.output_std)

    def __init__(self, config: Config, *, in_dim: int, in_tokens: int, out_dim: int) -> None:
        super().__init__(config, in_dim=in_dim, in_tokens=in_tokens, out_dim=out_dim)
        hidden_dim = config.hidden_dim or out_dim
        self.mlp = nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, out_dim))
        self.scale = embedding_scale(out_dim, config.output_std)

    @property
    def num_tokens(self) -> int:
        """M = T."""
        return self.in_tokens

    def project(self, tokens_BTD: Tensor, valid_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Project every token by itself."""
        return self.scale(self.mlp(tokens_BTD)), valid_BT
