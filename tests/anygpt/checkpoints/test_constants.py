"""Which keys of old checkpoints are constants, and which are weights."""

from __future__ import annotations

import pytest

from anygpt.checkpoints.constants import is_constant


@pytest.mark.parametrize(
    "key",
    [
        "h.0.attn.masked_bias",
        "h.0.attn.bias",
        "transformer.h.3.attn.attention.bias",
        "gpt_neox.layers.0.attention.bias",
        "transformer.h.0.attn.causal_mask",
        "embeddings.position_ids",
        "model.layers.1.self_attn.rotary_emb.inv_freq",
    ],
)
def test_masks_positions_and_frequencies_are_constants(key):
    assert is_constant(key)


@pytest.mark.parametrize(
    "key", ["h.0.attn.c_attn.bias", "attn.out_proj.bias", "encoder.self_attn.bias_k", "bias", "wte.weight", "surplus"]
)
def test_weights_are_none(key):
    assert not is_constant(key)
