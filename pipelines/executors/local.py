"""All stages in this process, each with a thread and a batching queue of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import torch

from anygpt.errors import RequestError
from anygpt.messages import Message
from anygpt.requests import GenerationOptions, SamplingOptions
from anygpt.tensors import Conditioning, Features
from backbone.contract import RowDone, TextPiece
from generators.contract import Generator
from pipelines.backbone_stage import ConversationFeatures, MediumRequest
from pipelines.executors.contract import OnStep, ShouldStop
from pipelines.executors.worker import Job, Worker
from pipelines.stack import Stack


class LocalExecutor:
    """Runs a stack's stages on threads of this process."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.in_flight: set[object] = set()
        self.input_modalities = tuple(stack.encoders)
        self.output_modalities = tuple(stack.generators)
        self._encoders = {m: self._worker(f"encoders.{m}", self._encode_batch) for m in stack.encoders}
        # A reply that has begun cannot be taken back, so the backbone's jobs are checked before and never run again.
        self._backbone = self._worker("backbone", self._reply_batch, retry_alone=False)
        self._generators = {m: self._worker(f"generators.{m}", self._generate_batch) for m in stack.generators}

    def _worker(self, stage: str, run_batch: Any, retry_alone: bool = True) -> Worker:
        placed = self.stack.config.placed(stage)
        return Worker(
            stage,
            run_batch,
            max_batch_size=placed.max_batch_size,
            max_queue=placed.max_queue,
            max_wait_s=placed.max_wait_s,
            requests=lambda: len(self.in_flight),
            retry_alone=retry_alone,
        )

    def close(self) -> None:
        """See `Executor.close`."""
        for worker in (*self._encoders.values(), self._backbone, *self._generators.values()):
            worker.close()

    async def encode(self, modality: str, media: Sequence[Any]) -> tuple[Features, float]:
        """See `Executor.encode`."""
        if modality not in self._encoders:
            known = ", ".join(self._encoders) or "nothing else"
            raise RequestError(f"conversation: {modality} given, but this stack only takes in: text, {known}")
        jobs = [Job((modality, medium), request=media) for medium in media]
        parts = await asyncio.gather(*map(asyncio.wrap_future, self._encoders[modality].submit_all(jobs)))
        tokens = torch.cat([features.tokens for features, _ in parts])
        valid_mask = torch.cat([features.valid_mask for features, _ in parts])
        return Features(tokens, valid_mask), max(seconds for _, seconds in parts)

    def _encode_batch(self, jobs: list[Job]) -> list[Any]:
        modality = jobs[0].payload[0]
        encoder = self.stack.encoders[modality]
        features = encoder.encode(encoder.preprocess([job.payload[1] for job in jobs]))
        return [Features(features.tokens[i : i + 1], features.valid_mask[i : i + 1]) for i in range(len(jobs))]

    async def reply(
        self,
        conversation: Sequence[Message],
        features: ConversationFeatures,
        options: SamplingOptions,
        seed: int,
        should_stop: ShouldStop,
    ) -> AsyncIterator[TextPiece | MediumRequest | RowDone | float]:
        """See `Executor.reply`."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Any] = asyncio.Queue()

        def emit(event: Any) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        self.stack.backbone.check(conversation)
        job = Job((conversation, features, options, seed), emit=emit, should_stop=should_stop)
        result = self._backbone.submit(job)
        result.add_done_callback(lambda future: emit(future))
        while True:
            event = await events.get()
            if event is result:
                yield event.result()[1]
                return
            yield event

    def _reply_batch(self, jobs: list[Job]) -> list[Any]:
        conversations, features, options, seeds = zip(*(job.payload for job in jobs), strict=True)
        events = self.stack.backbone.reply(
            conversations, features, options, seeds, should_stop=lambda row: jobs[row].should_stop()
        )
        for event in events:
            jobs[event.row].emit(event)
        return [None] * len(jobs)

    async def check_generation(self, modality: str, options: GenerationOptions) -> None:
        """See `Executor.check_generation`."""
        self.stack.generators[modality].compatibility_key(options)

    async def generate(
        self,
        modality: str,
        conditioning: Conditioning,
        options: GenerationOptions,
        on_step: OnStep,
        should_stop: ShouldStop,
    ) -> tuple[Any, float]:
        """See `Executor.generate`."""
        loop = asyncio.get_running_loop()
        generator = self.stack.generators[modality]
        key = (modality, generator.compatibility_key(options))

        def emit(step: tuple[int, int]) -> None:
            loop.call_soon_threadsafe(on_step, *step)

        job = Job((generator, conditioning, options), key, emit=emit, should_stop=should_stop)
        return await asyncio.wrap_future(self._generators[modality].submit(job))

    def _generate_batch(self, jobs: list[Job]) -> list[Any]:
        generator: Generator = jobs[0].payload[0]
        conditioning = {name: torch.cat([job.payload[1][name] for job in jobs]) for name in jobs[0].payload[1]}

        def on_step(step: int, steps: int) -> None:
            for job in jobs:
                job.emit((step, steps))

        return generator.generate(
            conditioning,
            [job.payload[2] for job in jobs],
            on_step,
            should_stop=lambda: all(job.should_stop() for job in jobs),
        )
