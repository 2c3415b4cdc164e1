"""`TransformerOutputProjector`."""

from __future__ import annotations

import pytest
import torch

from anygpt.errors import ConfigError
from anygpt.tensors import TensorSpec
from projectors import OUTPUT_PROJECTORS
from projectors.output.transformer import TransformerOutputProjector
from tests.projectors.projector_contract import OutputProjectorContract


class TestTransformer(OutputProjectorContract):
    projector_class = TransformerOutputProjector
    config = TransformerOutputProjector.Config(dim=32, encoder_layers=1, decoder_layers=2, heads=2, ffn_dim=64)

    def test_one_query_per_learned_token(self) -> None:
        assert self.build().queries.shape == (5 + 3, 32)


def test_the_registry_knows_the_projector() -> None:
    assert OUTPUT_PROJECTORS.resolve("transformer") is TransformerOutputProjector


def test_default_size_is_next_gpts() -> None:
    with torch.device("meta"):
        projector = TransformerOutputProjector(
            TransformerOutputProjector.Config(),
            in_dim=4096,
            num_signal_tokens=4,
            spec={"prompt_embeds": TensorSpec((77, 768))},
        )
    # Worked out from the shapes of NExT-GPT's legacy checkpoint.
    attention, ffn, norm = 4 * (512 * 512 + 512), 2 * 512 * 2048 + 2048 + 512, 2 * 512
    encoder = 4 * (attention + ffn + 2 * norm) + norm
    decoder = 4 * (2 * attention + ffn + 3 * norm) + norm
    ends = (4096 * 512 + 512) + 77 * 512 + (512 * 768 + 768)
    total = sum(parameter.numel() for parameter in projector.parameters())
    assert total == encoder + decoder + ends
    assert round(total / 1e6) == 32


def test_legacy_checkpoint_keys_map_by_prefix() -> None:
    with torch.device("meta"):
        projector = TransformerOutputProjector(
            TransformerOutputProjector.Config(),
            in_dim=4096,
            num_signal_tokens=4,
            spec={"prompt_embeds": TensorSpec((77, 768))},
        )
    keys = projector.state_dict().keys()
    assert {key.partition(".")[0] for key in keys} == {"in_proj", "transformer", "queries", "out_proj"}
    for stack in ("encoder", "decoder"):
        assert f"transformer.{stack}.norm.weight" in keys
        assert f"transformer.{stack}.layers.3.self_attn.in_proj_weight" in keys


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="dim=512 cannot be shared by heads=3; set heads to a divisor of 512"):
        TransformerOutputProjector.Config(heads=3)


def test_no_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match="encoder_layers=0, expected 1 to 1024; set encoder_layers in between"):
        TransformerOutputProjector.Config(encoder_layers=0)
