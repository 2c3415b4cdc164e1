"""One linear layer per token, as NExT-GPT projects ImageBind's pooled feature.

Legend: B batch, T feature tokens, D feature width, M prompt embeddings per item, H LLM width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn

from anygpt.errors import ConfigError
from projectors.contract import InputProjector
from projectors.input.embedding_scale import check_output_std, embedding_scale

_WHO = "input projector 'linear'"
Pool = Literal["none", "cls", "mean"]


class LinearInputProjector(InputProjector):
    """A linear layer on every token, or on one pooled token.

    Source: NExT-GPT (arXiv 2309.05519), the legacy code's `llama_proj`: D=1024, one token.
    """

    @dataclass
    class Config:
        """Options of the `linear` input projector.

        Attributes:
            in_dim: D; None takes the encoder's.
            pool: "none" keeps every token (M = T); "cls" keeps the first, "mean" the mean of the valid ones (M = 1).
            output_std: see `embedding_scale`.
        """

        name: Literal["linear"] = "linear"
        in_dim: int | None = None
        pool: Pool = "none"
        output_std: float | None = 0.02

        def __post_init__(self) -> None:
            if self.pool not in get_args(Pool):
                raise ConfigError(
                    f"{_WHO}: pool='{self.pool}', expected one of {', '.join(get_args(Pool))}; set pool=none"
                )
            check_output_std(_WHO, self.output_std)

    def __init__(self, config: Config, *, in_dim: int, in_tokens: int, out_dim: int) -> None:
        super().__init__(config, in_dim=in_dim, in_tokens=in_tokens, out_dim=out_dim)
        self.proj = nn.Linear(in_dim, out_dim)
        self.scale = embedding_scale(out_dim, config.output_std)

    @property
    def num_tokens(self) -> int:
        """M: T, or 1 if pooled."""
        return self.in_tokens if self.config.pool == "none" else 1

    def project(self, tokens_BTD: Tensor, valid_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Pool, then project."""
        pooled_BMD, valid_BM = self._pool(tokens_BTD, valid_BT)
        return self.scale(self.proj(pooled_BMD)), valid_BM

    def _pool(self, tokens_BTD: Tensor, valid_BT: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.pool == "cls":
            return tokens_BTD[:, :1], valid_BT[:, :1]
        if self.config.pool == "mean":
            count_B11 = valid_BT.sum(dim=1).clamp(min=1)[:, None, None]
            return tokens_BTD.sum(dim=1, keepdim=True) / count_B11, valid_BT.any(dim=1, keepdim=True)
        return tokens_BTD, valid_BT
