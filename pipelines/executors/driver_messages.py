"""What a program and its driver process tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anygpt.config.schema import StackConfig
from anygpt.errors import AnyGPTError


@dataclass(frozen=True)
class Start:
    """First of all: what to run where.

    Attributes:
        address: of a cluster to join; None starts one.
        folder: for the driver's files, removed at its end.
        app: name of the stages in the cluster.
        threads: torch threads of a process whose placement names none, or what OMP_NUM_THREADS is in the program.
    """

    config: StackConfig
    address: str | None
    folder: str
    app: str
    threads: int | str | None


@dataclass(frozen=True)
class Call:
    """Call a method of `RayStages` about a stage; its values come as events of this number."""

    number: int
    stage: str
    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Cancel:
    """Nobody waits for that call any more."""

    number: int


@dataclass(frozen=True)
class Release:
    """Nobody knows that value any more, which the driver holds."""

    number: int


@dataclass(frozen=True)
class Ready:
    """The stages are there."""

    states: dict[str, str]


@dataclass(frozen=True)
class Failed:
    """They cannot be started."""

    error: AnyGPTError


@dataclass(frozen=True)
class Alive:
    """The driver answers; what it knows of the stages, and how old that is."""

    states: dict[str, str] | None
    age_s: float


@dataclass(frozen=True)
class Gone:
    """Ray has died."""

    reason: str


@dataclass(frozen=True)
class Event:
    """A call's next value, its end, or its failure."""

    number: int
    value: Any = None
    error: AnyGPTError | None = None
    is_last: bool = False
