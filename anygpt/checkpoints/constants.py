"""Constants that older libraries saved among a checkpoint's weights: causal masks, positions, rotary frequencies.

A model makes them anew, so a file that holds them is whole. Source: the buffers of transformers' GPT-2, GPT-Neo, GPT-J
and GPT-NeoX before version 4.28, of its BERT, CLIP and LLaMA before 4.31.
"""

from __future__ import annotations

_ANYWHERE = frozenset({"masked_bias", "position_ids", "inv_freq"})
_IN_ATTENTION = frozenset({"bias", "causal_mask"})  # a mask; projections inside attention have names of their own


def is_constant(key: str) -> bool:
    """True for a key of such a constant: "h.0.attn.masked_bias", "h.0.attn.bias"; False for "h.0.attn.c_attn.bias".

    Args:
        key: one that the model itself does not have.
    """
    *path, name = key.split(".")
    return name in _ANYWHERE or (name in _IN_ATTENTION and path[-1:] in (["attn"], ["attention"]))
