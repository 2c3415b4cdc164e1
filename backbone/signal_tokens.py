"""Signal tokens: groups of new tokens through which the language model asks for a medium.

Each output modality owns a group of consecutive ids behind the base vocabulary. The base embedding matrices are never
resized or touched: the new input rows and output rows are parameters of their own, the only ones here that train. Only
a group's first token can be written by the model; the others always follow it, so half a group cannot exist.

Legend: B batch, T tokens, H LLM width, V base vocabulary, G groups, S signal tokens in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anygpt.errors import ConfigError
from anygpt.options import OUTPUT_MODALITIES

MAX_GROUP_SIZE = 4096


@dataclass(frozen=True)
class SignalGroup:
    """The consecutive token ids of one output modality."""

    modality: str
    first_id: int
    size: int

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(range(self.first_id, self.first_id + self.size))


class SignalTokens(nn.Module):
    """The new rows of the input embedding and of the output head.

    Args:
        sizes: modality → number of signal tokens, in the order in which ids are given.
        base_vocab_size: V, the first free id.
        embedding_dim: H.
        embedding_std: standard deviation of the base embeddings; new rows start at this scale.
    Raises:
        ConfigError: if a modality is unknown or a size is under 1.
    """

    def __init__(
        self, sizes: Mapping[str, int], base_vocab_size: int, embedding_dim: int, embedding_std: float = 0.02
    ) -> None:
        super().__init__()
        groups, next_id = [], base_vocab_size
        for modality, size in sizes.items():
            if modality not in OUTPUT_MODALITIES[1:]:
                raise ConfigError(
                    f"signal_tokens: modality '{modality}' given, expected one of {', '.join(OUTPUT_MODALITIES[1:])}"
                )
            if not 1 <= size <= MAX_GROUP_SIZE:
                raise ConfigError(f"signal_tokens.{modality}: {size} given, expected 1 to {MAX_GROUP_SIZE}")
            groups.append(SignalGroup(modality, next_id, size))
            next_id += size
        self.groups = tuple(groups)
        self.base_vocab_size = base_vocab_size
        count = next_id - base_vocab_size
        self.input_rows = nn.Parameter(torch.randn(count, embedding_dim) * embedding_std)
        self.output_rows = nn.Parameter(torch.randn(len(groups), embedding_dim) * embedding_std)

    def group(self, modality: str) -> SignalGroup:
        """The group of a modality.

        Raises:
            ConfigError: if the backbone has none.
        """
        for group in self.groups:
            if group.modality == modality:
                return group
        names = ", ".join(group.modality for group in self.groups) or "none"
        raise ConfigError(f"backbone.signal_tokens: no group for '{modality}'; there are: {names}")

    def embed(self, ids: Tensor) -> Tensor:
        """Input embeddings (N, H) of signal ids (N,)."""
        return self.input_rows[ids - self.base_vocab_size]

    def logits(self, hidden_BTH: Tensor) -> Tensor:
        """Logits (B, T, G) of every group's first token, in float32."""
        wide = torch.promote_types(hidden_BTH.dtype, torch.float32)
        return nn.functional.linear(hidden_BTH.to(wide), self.output_rows.to(wide)).float()
