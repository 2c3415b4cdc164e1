"""Training samples, and the sources that give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from anygpt.messages import Message
from anygpt.registry import Registry

# Name, as a training config's `data` gives it → a class that takes (objective, inputs, outputs, target_media): the
# objective's name, the modalities that the stack takes in and makes, and whether the media of replies are needed.
SAMPLE_SOURCES = Registry("sample source", "anygpt.sample_sources", {"world": "pipelines.tiny.samples:WorldSource"})


@dataclass(frozen=True)
class Target:
    """A medium that a reply should hold.

    Attributes:
        caption: what the generator's text encoder would be asked for; its embedding is what the projector learns.
        medium: the medium itself, for the denoising loss; None where there is none or nobody needs it.
    """

    modality: str
    caption: str
    medium: Any | None = None


@dataclass(frozen=True)
class Sample:
    """A conversation whose replies are learned, and the media of those replies in order.

    Attributes:
        forbidden: modalities that this conversation's requests do not allow; its replies have none of them.
        origin: where it is from, for messages: "cats.jsonl, line 7".
    """

    conversation: tuple[Message, ...]
    targets: tuple[Target, ...]
    forbidden: frozenset[str] = frozenset()
    origin: str = "world"


class SampleSource(Protocol):
    """Gives the samples of any step, the same ones for the same step and seed."""

    def batch(self, seed: int, step: int, size: int) -> list[Sample]:
        """`size` samples."""

    def fingerprint(self) -> str:
        """A hash of what the samples are made of."""


def open_source(
    data: str, objective: str, inputs: Sequence[str], outputs: Sequence[str], target_media: bool
) -> SampleSource:
    """The source that a training config's `data` names: a registered one, or else a JSON lines file.

    Raises:
        ConfigError: if the data cannot be used.
    """
    if data in SAMPLE_SOURCES.names():
        source: SampleSource = SAMPLE_SOURCES.resolve(data)(objective, inputs, outputs, target_media)
        return source
    from pipelines.training.json_lines import JsonLinesSource

    return JsonLinesSource(Path(data), target_media)
