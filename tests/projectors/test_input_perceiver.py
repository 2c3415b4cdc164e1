"""`PerceiverInputProjector`."""

from __future__ import annotations

import pytest
import torch

from anygpt.errors import ConfigError
from anygpt.tensors import Features
from projectors import INPUT_PROJECTORS
from projectors.input.perceiver import PerceiverInputProjector
from tests.projectors.projector_contract import InputProjectorContract, make_features


class TestPerceiver(InputProjectorContract):
    projector_class = PerceiverInputProjector
    config = PerceiverInputProjector.Config(queries=3, dim=32, layers=2, heads=2, ffn_dim=64)

    def test_the_number_of_embeddings_is_the_number_of_queries(self) -> None:
        assert self.build().num_tokens == 3

    def test_the_order_of_the_tokens_counts(self) -> None:
        projector, features = self.build(), make_features()
        reversed_features = Features(features.tokens.flip(1), features.valid_mask)
        before, _ = projector(features)
        after, _ = projector(reversed_features)
        assert (after - before).abs().max() > 0.1 * before.std()

    def test_padding_is_not_read(self) -> None:
        projector, features = self.build(), make_features(lengths=(4, 4, 4))
        before, _ = projector(features)
        with torch.no_grad():
            projector.positions[4:] += 1
        assert torch.equal(projector(features)[0], before)


def test_the_registry_knows_the_projector() -> None:
    assert INPUT_PROJECTORS.resolve("perceiver") is PerceiverInputProjector


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="dim=32 cannot be shared by heads=3; set heads to a divisor of 32"):
        PerceiverInputProjector.Config(dim=32, heads=3)


def test_dropout_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dropout=1.0, expected 0 <= dropout < 1; set dropout=0.0"):
        PerceiverInputProjector.Config(dropout=1.0)


def test_dropout_acts_only_in_training() -> None:
    torch.manual_seed(0)
    config = PerceiverInputProjector.Config(queries=3, dim=32, heads=2, ffn_dim=64, dropout=0.5)
    features = make_features()
    projector = PerceiverInputProjector(config, in_dim=24, in_tokens=6, out_dim=40)
    assert not torch.equal(projector(features)[0], projector(features)[0])
    projector.eval()
    assert torch.equal(projector(features)[0], projector(features)[0])
