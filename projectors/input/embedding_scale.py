"""Bring projected tokens to the scale of the LLM's own token embeddings."""

from __future__ import annotations

from torch import nn

from anygpt.errors import ConfigError


def embedding_scale(width: int, output_std: float | None) -> nn.Module:
    """LayerNorm whose learned gain starts at `output_std`, the standard deviation of the outputs before training.

    Args:
        width: H.
        output_std: about that of the LLM's token embeddings, often 0.02. None changes nothing, as NExT-GPT and LLaVA
            do: their weights fit a projector built with None.
    """
    if output_std is None:
        return nn.Identity()
    norm = nn.LayerNorm(width)
    nn.init.constant_(norm.weight, output_std)
    return norm


def check_output_std(who: str, output_std: float | None) -> None:
    """Refuse a standard deviation that is not positive.

    Raises:
        ConfigError: naming the option.
    """
    if output_std is not None and not 0 < output_std < float("inf"):
        raise ConfigError(f"{who}: output_std={output_std}, expected a positive number or null; set output_std=0.02")
