"""A fixed number of learned queries that read any number of feature tokens.

Legend: B batch, T feature tokens, D feature width, W projector width, M queries, H LLM width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from projectors.contract import InputProjector, check_attention, check_sizes
from projectors.input.embedding_scale import check_output_std, embedding_scale

_WHO = "input projector 'perceiver'"
# About the scale of the projected tokens that positions are added to, so that a position counts from the first step.
_POSITION_STD = 0.5


class PerceiverInputProjector(InputProjector):
    """Cross-attention from M learned queries to the tokens.

    Tokens are normalised, projected to W and given a learned position each; layers of cross-attention and FFN follow,
    and a linear layer to H. An item without any valid token gives M embeddings marked invalid.

    Source: Perceiver (arXiv 2103.03206), section 3.1; Flamingo's resampler (arXiv 2204.14198), section 3.1.1, without
    the queries among the keys.
    """

    @dataclass
    class Config:
        """Options of the `perceiver` input projector.

        Attributes:
            in_dim: D; None takes the encoder's.
            queries: M.
            dim: W, a multiple of `heads`.
            layers, heads, ffn_dim, dropout: of the attention layers.
            output_std: see `embedding_scale`.
        """

        name: Literal["perceiver"] = "perceiver"
        in_dim: int | None = None
        queries: int = 32
        dim: int = 512
        layers: int = 2
        heads: int = 8
        ffn_dim: int = 2048
        dropout: float = 0.0
        output_std: float | None = 0.02

        def __post_init__(self) -> None:
            check_sizes(
                _WHO, queries=self.queries, dim=self.dim, layers=self.layers, heads=self.heads, ffn_dim=self.ffn_dim
            )
            check_attention(_WHO, dim=self.dim, heads=self.heads, dropout=self.dropout)
            check_output_std(_WHO, self.output_std)

    def __init__(self, config: Config, *, in_dim: int, in_tokens: int, out_dim: int) -> None:
        super().__init__(config, in_dim=in_dim, in_tokens=in_tokens, out_dim=out_dim)
        self.in_norm = nn.LayerNorm(in_dim)
        self.in_proj = nn.Linear(in_dim, config.dim)
        self.positions = nn.Parameter(torch.randn(in_tokens, config.dim) * _POSITION_STD)
        self.queries = nn.Parameter(torch.randn(config.queries, config.dim))
        self.layers = nn.ModuleList(_CrossAttentionLayer(config) for _ in range(config.layers))
        self.out_norm = nn.LayerNorm(config.dim)
        self.out_proj = nn.Linear(config.dim, out_dim)
        self.scale = embedding_scale(out_dim, config.output_std)

    @property
    def num_tokens(self) -> int:
        """M: the number of queries."""
        return len(self.queries)

    def project(self, tokens_BTD: Tensor, valid_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Let the queries read the valid tokens."""
        tokens_BTW = self.in_proj(self.in_norm(tokens_BTD)) + self.positions
        readable_B1 = valid_BT.any(dim=1, keepdim=True)
        ignored_BT = ~valid_BT & readable_B1  # attention over nothing at all may be NaN, by backend
        queries_BMW = self.queries.expand(len(tokens_BTD), -1, -1)
        for layer in self.layers:
            queries_BMW = layer(queries_BMW, tokens_BTW, ignored_BT)
        embeddings_BMH = self.scale(self.out_proj(self.out_norm(queries_BMW)))
        return embeddings_BMH, readable_B1.expand(-1, self.num_tokens)


class _CrossAttentionLayer(nn.Module):
    """Pre-norm cross-attention and FFN, each with a residual connection."""

    def __init__(self, config: PerceiverInputProjector.Config) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(config.dim)
        self.token_norm = nn.LayerNorm(config.dim)
        self.attention = nn.MultiheadAttention(config.dim, config.heads, dropout=config.dropout, batch_first=True)
        self.ffn = nn.Sequential(
            nn.LayerNorm(config.dim),
            nn.Linear(config.dim, config.ffn_dim),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.ffn_dim, config.dim),
        )

    def forward(self, queries_BMW: Tensor, tokens_BTW: Tensor, ignored_BT: Tensor) -> Tensor:
        """The queries (B, M, W) after reading the tokens where `ignored_BT` is False."""
        keys_BTW = self.token_norm(tokens_BTW)
        read_BMW, _ = self.attention(
            self.query_norm(queries_BMW), keys_BTW, keys_BTW, key_padding_mask=ignored_BT, need_weights=False
        )
        queries_BMW = queries_BMW + read_BMW
        return queries_BMW + self.ffn(queries_BMW)
