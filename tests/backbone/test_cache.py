"""The decoding cache beside transformers' dynamic one."""

from __future__ import annotations

import torch
from transformers import DynamicCache, LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicSlidingWindowLayer

from backbone.cache import BLOCK, RoomyLayer, decoding_cache

CONFIG = LlamaConfig(num_hidden_layers=2, hidden_size=12, num_attention_heads=3, num_key_value_heads=3)


def test_holds_what_a_dynamic_cache_holds() -> None:
    ours, theirs = decoding_cache(CONFIG), DynamicCache(config=CONFIG)
    generator = torch.Generator().manual_seed(0)
    rows = 4
    for step, tokens in enumerate([5, 1, 1, 3, BLOCK, 1, 2 * BLOCK + 1, 1]):
        if step == 3:
            rows, kept = 2, torch.tensor([3, 1])
            ours.batch_select_indices(kept)
            theirs.batch_select_indices(kept)
        for layer in range(CONFIG.num_hidden_layers):
            states = torch.randn(2, rows, 3, tokens, 4, generator=generator)
            got, expected = ours.update(*states, layer), theirs.update(*states, layer)
            assert all(torch.equal(mine, other) for mine, other in zip(got, expected, strict=True))
        assert ours.get_seq_length() == theirs.get_seq_length()
        assert ours.get_mask_sizes(1, 0) == theirs.get_mask_sizes(1, 0)


def test_a_step_moves_only_its_own_tokens() -> None:
    layer = RoomyLayer()
    keys, _ = layer.update(torch.zeros(1, 1, 5, 4), torch.zeros(1, 1, 5, 4))
    longer, _ = layer.update(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4))
    assert longer.data_ptr() == keys.data_ptr()
    assert longer.shape[-2] == 6


def test_sliding_windows_stay_as_they_are() -> None:
    layers = decoding_cache(MistralConfig(num_hidden_layers=1, sliding_window=8)).layers
    assert [type(layer) for layer in layers] == [DynamicSlidingWindowLayer]
