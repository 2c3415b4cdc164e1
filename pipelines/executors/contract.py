"""What an executor does: it runs the stages, wherever they are. The pipeline does not know which one it has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from anygpt.errors import StageError
from anygpt.messages import Message
from anygpt.options import GenerationOptions, SamplingOptions
from backbone.steps import RowDone, TextPiece
from pipelines.stack.stage_types import MediumRequest, StageTime

ReplyEvent: TypeAlias = TextPiece | MediumRequest | RowDone | StageTime
OnStep = Callable[[int, int], None]
ShouldStop = Callable[[], bool]


class Executor(Protocol):
    """Runs the three kinds of stage; every call may be batched with others behind the scenes.

    Attributes:
        in_flight: the requests being answered, as the pipeline keeps account of them; a batch need not wait for company
            when there are no others.
        failure: why the executor can run nothing any more, once it cannot.
        supports_saving: the stages are in this process, so that their adapters can be saved.
    """

    input_modalities: tuple[str, ...]
    output_modalities: tuple[str, ...]
    in_flight: set[object]
    failure: StageError | None
    supports_saving: bool

    async def stage_states(self) -> dict[str, str]:
        """Stage → "ready", "starting" or what is wrong with it."""

    async def encode(self, modality: str, media: Sequence[Any]) -> tuple[Any, float]:
        """Features (media, T, D), or what `reply` takes in their place, and the seconds inside the encoder."""

    def reply(
        self,
        conversation: Sequence[Message],
        features: Mapping[str, Any],
        options: SamplingOptions,
        seed: int,
        should_stop: ShouldStop,
    ) -> AsyncIterator[ReplyEvent]:
        """The reply's events in order.

        The conditioning of a `MediumRequest` is whatever `generate` takes.
        """

    async def check_generation(self, modality: str, options: GenerationOptions) -> None:
        """Refuse with a RequestError what the modality's generator cannot make."""

    async def generate(
        self,
        modality: str,
        conditioning: Any,
        options: GenerationOptions,
        on_step: OnStep,
        should_stop: ShouldStop,
    ) -> tuple[Any, float]:
        """The medium and the seconds inside the generator."""

    def save_adapters(self, folder: Path) -> None:
        """Write the adapters and the config as a bundle, where that is supported.

        Raises:
            RequestError: if it is not.
            CheckpointError: if the folder cannot be written.
        """

    def close(self) -> None:
        """Stop all stages."""
