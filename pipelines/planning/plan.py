"""What a stack needs, stage by stage, and whether given GPUs hold it; nothing is downloaded and no weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anygpt.config.schema import StackConfig
from pipelines.planning.devices import StageOnDevice, placing_rule
from pipelines.planning.needs import StageNeed, measure
from pipelines.planning.report import table, verdict
from pipelines.planning.weightless import build_without_weights


@dataclass(frozen=True)
class Plan:
    """The needs of all stages, and where they lie if GPUs were given."""

    needs: list[StageNeed]
    placed: StageOnDevice | None

    def __str__(self) -> str:
        return table(self.needs) if self.placed is None else f"{table(self.needs)}\n\n{verdict(self.placed)}"


def make_plan(config: StackConfig, gpus: Sequence[int] | None = None, executor: str = "local") -> Plan:
    """Measure a stack on the meta device and lay it on GPUs.

    Args:
        gpus: bytes of every GPU, in the order of their numbers; None only measures.
        executor: "local" takes the devices by their names, "ray" by the shares that stages reserve.
    Raises:
        ConfigError: if the stack cannot be built, its dimensions do not chain, or there is no such executor.
        CheckpointError: if a checkpoint's architecture is not known.
    """
    place = placing_rule(executor)
    needs = measure(config, build_without_weights(config))
    return Plan(needs, None if gpus is None else place(needs, gpus))
