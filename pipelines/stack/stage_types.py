"""What stages tell each other; importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FeatureShape:
    """What an encoder gives: width D and the largest number of tokens T of one item."""

    feature_dim: int
    num_tokens: int


@dataclass(frozen=True)
class StageTime:
    """The last event of a stage's work: how many seconds its batch took."""

    seconds: float


@dataclass(frozen=True)
class MediumRequest:
    """Row `row` asks the generator of `modality` for a medium.

    `conditioning` holds tensors (1, *shape), or is an executor's reference to them.
    """

    row: int
    modality: str
    conditioning: Any
