"""`MlpInputProjector`."""

from __future__ import annotations

import pytest
import torch

from anygpt.errors import ConfigError
from projectors import INPUT_PROJECTORS
from projectors.input.mlp import MlpInputProjector
from tests.projectors.projector_contract import IN_TOKENS, InputProjectorContract, make_features


class TestMlp(InputProjectorContract):
    projector_class = MlpInputProjector
    config = MlpInputProjector.Config(hidden_dim=16)

    def test_tokens_do_not_mix(self) -> None:
        projector, features = self.build(), make_features()
        before, _ = projector(features)
        features.tokens[:, 0] += 1
        after, _ = projector(features)
        assert torch.equal(after[:, 1:], before[:, 1:])
        assert projector.num_tokens == IN_TOKENS


def test_the_registry_knows_the_projector() -> None:
    assert INPUT_PROJECTORS.resolve("mlp") is MlpInputProjector


def test_llava_weights_fit_the_plain_default() -> None:
    config = MlpInputProjector.Config(output_std=None)
    with torch.device("meta"):
        projector = MlpInputProjector(config, in_dim=1024, in_tokens=576, out_dim=4096)
    shapes = {name: tuple(value.shape) for name, value in projector.state_dict().items()}
    assert shapes == {
        "mlp.0.weight": (4096, 1024),
        "mlp.0.bias": (4096,),
        "mlp.2.weight": (4096, 4096),
        "mlp.2.bias": (4096,),
    }


def test_a_width_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="hidden_dim=0, expected 1 to 16777216; set hidden_dim in between"):
        MlpInputProjector.Config(hidden_dim=0)
