"""All stages in this process, each with a thread and a batching queue of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from anygpt.errors import StageError
from anygpt.messages import Message
from anygpt.options import GenerationOptions, SamplingOptions
from anygpt.tensors import Conditioning, Features
from pipelines.executors.contract import OnStep, ReplyEvent, ShouldStop
from pipelines.executors.runners import BackboneRunner, EncoderRunner, GeneratorRunner
from pipelines.stack.backbone_stage import ConversationFeatures
from pipelines.stack.build import Stack
from pipelines.stack.bundle import save_bundle


class LocalExecutor:
    """Runs a stack's stages on threads of this process."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.in_flight: set[object] = set()
        self.failure: StageError | None = None  # what can fail here fails with the program
        self.supports_saving = True
        self.input_modalities = tuple(stack.encoders)
        self.output_modalities = tuple(stack.generators)
        placed, in_flight = stack.config.placed, lambda: len(self.in_flight)
        self._encoders = {
            modality: EncoderRunner(stage := f"encoders.{modality}", placed(stage), in_flight, encoder)
            for modality, encoder in stack.encoders.items()
        }
        self._backbone = BackboneRunner("backbone", placed("backbone"), in_flight, stack.backbone)
        self._generators = {
            modality: GeneratorRunner(stage := f"generators.{modality}", placed(stage), in_flight, generator)
            for modality, generator in stack.generators.items()
        }

    def save_adapters(self, folder: Path) -> None:
        """See `Executor.save_adapters`."""
        save_bundle(self.stack.backbone, self.stack.config, folder)

    def close(self) -> None:
        """See `Executor.close`."""
        for runner in (*self._encoders.values(), self._backbone, *self._generators.values()):
            runner.close()

    async def stage_states(self) -> dict[str, str]:
        """See `Executor.stage_states`; stages of this process are ready once they are loaded."""
        return dict.fromkeys(self.stack.config.stages, "ready")

    async def encode(self, modality: str, media: Sequence[Any]) -> tuple[Features, float]:
        """See `Executor.encode`."""
        return await self._encoders[modality].encode(media)

    def reply(
        self,
        conversation: Sequence[Message],
        features: ConversationFeatures,
        options: SamplingOptions,
        seed: int,
        should_stop: ShouldStop,
    ) -> AsyncIterator[ReplyEvent]:
        """See `Executor.reply`."""
        return self._backbone.reply(conversation, features, options, seed, should_stop)

    async def check_generation(self, modality: str, options: GenerationOptions) -> None:
        """See `Executor.check_generation`."""
        self._generators[modality].check(options)

    async def generate(
        self,
        modality: str,
        conditioning: Conditioning,
        options: GenerationOptions,
        on_step: OnStep,
        should_stop: ShouldStop,
    ) -> tuple[Any, float]:
        """See `Executor.generate`."""
        return await self._generators[modality].generate(conditioning, options, on_step, should_stop)
