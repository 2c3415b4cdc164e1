"""Which stage lies on which device, and whether the devices hold what lies on them; needs no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anygpt.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from pipelines.planning.needs import StageNeed

# What a process takes of a GPU before it does anything: CUDA's context, its kernels and cuBLAS's workspace.
CONTEXT_BYTES = 512 * 2**20
_ROUNDING = 1e-9  # of sums of shares
_UNITS = {"GiB": 2**30, "MiB": 2**20, "GB": 10**9, "MB": 10**6}
_SIZE = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})")


@dataclass
class Load:
    """What lies on one device.

    Attributes:
        device: "cpu", "cuda:0" and so on.
        capacity: its bytes; None where they are not known, as for the memory of the machine.
        needs: the stages there, one entry for every replica.
        processes: how many processes use it.
        share: of the GPU that Ray has given away.
    """

    device: str
    capacity: int | None = None
    needs: list[StageNeed] = field(default_factory=list)
    processes: int = 0
    share: float = 0.0

    @property
    def is_gpu(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def context(self) -> int:
        """Bytes that the processes take by being there."""
        return self.processes * CONTEXT_BYTES if self.is_gpu else 0

    @property
    def needed(self) -> int:
        """Bytes of all that lies here, all stages at work at once."""
        return sum(need.total for need in self.needs) + self.context

    @property
    def free(self) -> int:
        """Bytes that are left; less than 0 where they do not suffice, and 0 where the capacity is not known."""
        return 0 if self.capacity is None else self.capacity - self.needed


@dataclass(frozen=True)
class StageOnDevice:
    """All devices in use, and what makes a placement impossible whatever the memory."""

    loads: list[Load]
    problems: list[str]

    @property
    def fits(self) -> bool:
        return not self.problems and all(load.free >= 0 for load in self.loads)


PlacingRule = Callable[["Sequence[StageNeed]", Sequence[int]], StageOnDevice]


def parse_gpus(text: str) -> list[int]:
    """Bytes of every GPU: "24GiB,24GiB" for two.

    Raises:
        RequestError: if it is something else.
    """
    sizes = []
    for item in text.split(","):
        match = _SIZE.fullmatch(item.strip())
        size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
        if size < 1:
            raise RequestError(
                f"--gpu: '{text}' given, expected the memory of every GPU in {', '.join(_UNITS)}, as in: 24GiB,24GiB"
            )
        sizes.append(size)
    return sizes


def placing_rule(executor: str) -> PlacingRule:
    """How an executor puts stages on devices.

    Raises:
        ConfigError: if there is no such executor.
    """
    rules: dict[str, PlacingRule] = {"local": place_in_one_process, "ray": place_by_ray}
    if executor not in rules:
        raise ConfigError(f"executor: '{executor}' given, expected one of {', '.join(rules)}")
    return rules[executor]


def place_in_one_process(needs: Sequence[StageNeed], gpus: Sequence[int]) -> StageOnDevice:
    """Where the local executor puts the stages: every one on the device that its placement names."""
    loads = {f"cuda:{index}": Load(f"cuda:{index}", size, processes=1) for index, size in enumerate(gpus)}
    problems = []
    for need in needs:
        device = "cuda:0" if need.placement.device == "cuda" else need.placement.device
        if device.startswith("cuda") and device not in loads:
            problems.append(
                f"placement.{need.stage}.device: '{device}' given, but --gpu tells of {len(gpus)}; name another"
            )
            continue
        loads.setdefault(device, Load(device)).needs.append(need)
    return StageOnDevice([load for load in loads.values() if load.needs], problems)


def place_by_ray(needs: Sequence[StageNeed], gpus: Sequence[int]) -> StageOnDevice:
    """Where Ray can put the stages' processes: each on the first GPU with as large a share left as it reserves.

    Ray's own choice may differ. Whole GPUs are given for shares of 1 and more; the stage itself lies on one of them.
    """
    loads, machine = [Load(f"cuda:{index}", size) for index, size in enumerate(gpus)], Load("cpu")
    problems = []
    for held in _by_process(needs):
        on_gpu = [need for need in held if need.placement.device.startswith("cuda")]
        machine.needs += [need for need in held if need not in on_gpu] * held[0].placement.replicas
        if not on_gpu:
            continue
        share = sum(need.placement.num_gpus for need in held)
        unseen = [problem for need in on_gpu if (problem := _unseen(need, share))]
        problems += unseen
        if not unseen and not all(_reserve(loads, on_gpu, share) for _ in range(held[0].placement.replicas)):
            whose = ", ".join(f"placement.{need.stage}.num_gpus" for need in held)
            given = f"{share:g} given" if len(held) == 1 else f"{share:g} given together"
            problems.append(
                f"{whose}: {given}, but no GPU has so large a share left; lower the shares, or give more GPUs"
            )
    return StageOnDevice([load for load in (*loads, machine) if load.needs], problems)


def _by_process(needs: Sequence[StageNeed]) -> list[list[StageNeed]]:
    """The stages of each process on Ray."""
    processes: dict[str, list[StageNeed]] = {}
    for need in needs:
        processes.setdefault(need.placement.process or need.stage, []).append(need)
    return list(processes.values())


def _unseen(need: StageNeed, share: float) -> str | None:
    """Why a process with this share of GPUs would not see a stage's device: Ray shows as many as it reserves."""
    placement = need.placement
    visible = math.ceil(share)
    number = int(placement.device.partition(":")[2] or 0)
    if visible == 0:
        return f"placement.{need.stage}.num_gpus: 0 given, and Ray shows the stage no GPU then; set a share"
    if number >= visible:
        return f"placement.{need.stage}.device: '{placement.device}' given, but Ray shows the stage its own; set cuda:0"
    return None


def _reserve(loads: Sequence[Load], needs: Sequence[StageNeed], share: float) -> bool:
    """Put one process with these stages on the GPUs, if they have room by share."""
    whole = math.ceil(share)
    roomy = [load for load in loads if (load.share == 0 if share >= 1 else load.share + share <= 1 + _ROUNDING)]
    if len(roomy) < whole:
        return False
    for load in roomy[:whole]:
        load.share += min(share, 1.0)
    roomy[0].needs += needs
    roomy[0].processes += 1
    return True
