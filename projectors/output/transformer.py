"""NExT-GPT's output projector: a small encoder-decoder transformer with learned queries.

Legend: B batch, n signal tokens, H LLM width, W projector width, Q queries of all tensors together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from anygpt.tensors import ConditioningSpec
from projectors.contract import OutputProjector, check_attention, check_sizes

_WHO = "output projector 'transformer'"


class TransformerOutputProjector(OutputProjector):
    """Signal states are encoded; one query per token of conditioning decodes them.

    The queries of all learned tensors attend to each other and to the same memory; each tensor has its own linear layer
    out. The defaults are NExT-GPT's: 32 M parameters from H=4096 to Stable Diffusion's (77, 768).

    Source: NExT-GPT (arXiv 2309.05519), section 3.3; the legacy code's `gen_text_hidden_fcs` (fc → in_proj, tfm →
    transformer, query_embs → queries, model → out_proj).
    """

    @dataclass
    class Config:
        """Options of the `transformer` output projector.

        Attributes:
            in_dim: H; None takes the backbone's.
            dim: W, a multiple of `heads`.
            encoder_layers, decoder_layers, heads, ffn_dim, dropout: of the transformer.
        """

        name: Literal["transformer"] = "transformer"
        in_dim: int | None = None
        dim: int = 512
        encoder_layers: int = 4
        decoder_layers: int = 4
        heads: int = 4
        ffn_dim: int = 2048
        dropout: float = 0.0

        def __post_init__(self) -> None:
            check_sizes(
                _WHO,
                dim=self.dim,
                encoder_layers=self.encoder_layers,
                decoder_layers=self.decoder_layers,
                heads=self.heads,
                ffn_dim=self.ffn_dim,
            )
            check_attention(_WHO, dim=self.dim, heads=self.heads, dropout=self.dropout)

    def __init__(self, config: Config, *, in_dim: int, num_signal_tokens: int, spec: ConditioningSpec) -> None:
        super().__init__(config, in_dim=in_dim, num_signal_tokens=num_signal_tokens, spec=spec)
        self.in_proj = nn.Linear(in_dim, config.dim)
        self.transformer = _pre_norm_transformer(config)
        num_queries = sum(tokens for tokens, _ in self.learned_shapes.values())
        self.queries = nn.Parameter(torch.randn(num_queries, config.dim))
        self.out_proj = nn.ModuleDict(
            {name: nn.Linear(config.dim, width) for name, (_, width) in self.learned_shapes.items()}
        )

    def project(self, states_BnH: Tensor) -> dict[str, Tensor]:
        """Encode the states, decode all queries, and give every tensor its share."""
        queries_BQW = self.queries.expand(len(states_BnH), -1, -1)
        decoded_BQW = self.transformer(self.in_proj(states_BnH), queries_BQW)
        lengths = [tokens for tokens, _ in self.learned_shapes.values()]
        shares = zip(self.learned_shapes, decoded_BQW.split(lengths, dim=1), strict=True)
        return {name: self.out_proj[name](share) for name, share in shares}


def _pre_norm_transformer(config: TransformerOutputProjector.Config) -> nn.Transformer:
    encoder_layer = nn.TransformerEncoderLayer(
        config.dim, config.heads, config.ffn_dim, config.dropout, batch_first=True, norm_first=True
    )
    # nn.Transformer would build the same encoder but warn that nested tensors and norm_first exclude each other.
    encoder = nn.TransformerEncoder(
        encoder_layer, config.encoder_layers, norm=nn.LayerNorm(config.dim), enable_nested_tensor=False
    )
    return nn.Transformer(
        d_model=config.dim,
        nhead=config.heads,
        num_decoder_layers=config.decoder_layers,
        dim_feedforward=config.ffn_dim,
        dropout=config.dropout,
        custom_encoder=encoder,
        batch_first=True,
        norm_first=True,
    )
