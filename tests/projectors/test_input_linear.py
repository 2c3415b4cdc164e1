"""`LinearInputProjector`, per token and pooled."""

from __future__ import annotations

import pytest
import torch

from anygpt.errors import ConfigError
from projectors import INPUT_PROJECTORS
from projectors.input.linear import LinearInputProjector
from tests.projectors.projector_contract import IN_TOKENS, InputProjectorContract, make_features


class TestLinear(InputProjectorContract):
    projector_class = LinearInputProjector
    config = LinearInputProjector.Config()

    def test_every_token_is_kept(self) -> None:
        assert self.build().num_tokens == IN_TOKENS


class TestLinearCls(InputProjectorContract):
    projector_class = LinearInputProjector
    config = LinearInputProjector.Config(pool="cls")

    def test_only_the_first_token_is_read(self) -> None:
        projector, features = self.build(), make_features()
        before, _ = projector(features)
        features.tokens[:, 1:] = 0
        assert projector.num_tokens == 1
        assert torch.equal(projector(features)[0], before)


class TestLinearMean(InputProjectorContract):
    projector_class = LinearInputProjector
    config = LinearInputProjector.Config(pool="mean", output_std=None)

    def test_the_mean_is_over_the_valid_tokens(self) -> None:
        projector, features = self.build(), make_features(lengths=(6, 4, 1))
        embeddings, _ = projector(features)
        weight, bias = projector.parameters()
        for item, length in enumerate((6, 4, 1)):
            expected = features.tokens[item, :length].mean(dim=0) @ weight.T + bias
            torch.testing.assert_close(embeddings[item, 0], expected)


def test_the_registry_knows_the_projector() -> None:
    assert INPUT_PROJECTORS.resolve("linear") is LinearInputProjector


def test_an_unknown_pool_is_refused() -> None:
    with pytest.raises(ConfigError, match="pool='max', expected one of none, cls, mean; set pool=none"):
        LinearInputProjector.Config(pool="max")  # type: ignore[arg-type]
