"""`MlpOutputProjector`, with full and with low-rank heads."""

from __future__ import annotations

import pytest

from anygpt.errors import ConfigError
from projectors import OUTPUT_PROJECTORS
from projectors.contract import OutputProjector
from projectors.output.mlp import MlpOutputProjector
from tests.projectors.projector_contract import OutputProjectorContract


class TestMlp(OutputProjectorContract):
    projector_class = MlpOutputProjector
    config = MlpOutputProjector.Config(hidden_dim=32)


class TestMlpLowRank(OutputProjectorContract):
    projector_class = MlpOutputProjector
    config = MlpOutputProjector.Config(hidden_dim=32, rank=4)

    def test_the_rank_saves_parameters(self) -> None:
        full = self.build(MlpOutputProjector.Config(hidden_dim=32))
        assert _size(self.build()) < _size(full)


def test_the_registry_knows_the_projector() -> None:
    assert OUTPUT_PROJECTORS.resolve("mlp") is MlpOutputProjector


def test_a_rank_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="rank=0, expected 1 to 16777216; set rank in between"):
        MlpOutputProjector.Config(rank=0)


def _size(projector: OutputProjector) -> int:
    return sum(parameter.numel() for parameter in projector.parameters())
