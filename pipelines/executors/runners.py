"""Stages at work: a part and a worker that batches its jobs. Executors decide in which process they live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import torch

from anygpt.config.schema import StagePlacement
from anygpt.messages import Message
from anygpt.options import GenerationOptions, SamplingOptions
from anygpt.tensors import Conditioning, Features
from backbone.steps import RowDone
from encoders.contract import Encoder
from generators.contract import Generator
from pipelines.executors.contract import OnStep, ReplyEvent, ShouldStop
from pipelines.executors.worker import Job, Worker
from pipelines.stack.backbone_stage import BackboneStage, ConversationFeatures
from pipelines.stack.stage_types import StageTime

InFlight = Callable[[], int] | None


class Runner:
    """One stage: a worker placed as the config says.

    Args:
        stage: its name, "encoders.image".
        placed: batch size, queue and time limits.
        in_flight: how many requests are being answered, where that is known; a batch waits for no more than these.
    """

    def __init__(self, stage: str, placed: StagePlacement, in_flight: InFlight, *, retry_alone: bool = True) -> None:
        self.stage = stage
        self._worker = Worker(
            stage,
            self._run_batch,
            max_batch_size=placed.max_batch_size,
            max_queue=placed.max_queue,
            max_wait_s=placed.max_wait_s,
            time_limit_s=placed.timeout_s,
            requests=in_flight,
            retry_alone=retry_alone,
        )

    def _run_batch(self, jobs: list[Job]) -> list[Any]:
        raise NotImplementedError

    def close(self) -> None:
        """Stop the worker."""
        self._worker.close()


class EncoderRunner(Runner):
    """Encodes media, those of several requests in one batch."""

    def __init__(self, stage: str, placed: StagePlacement, in_flight: InFlight, encoder: Encoder) -> None:
        self.encoder = encoder
        super().__init__(stage, placed, in_flight)

    async def encode(self, media: Sequence[Any]) -> tuple[Features, float]:
        """Features (media, T, D) and the seconds inside the encoder."""
        jobs = [Job(medium, request=media) for medium in media]
        parts = await asyncio.gather(*map(asyncio.wrap_future, self._worker.submit_all(jobs)))
        tokens = torch.cat([features.tokens for features, _ in parts])
        valid_mask = torch.cat([features.valid_mask for features, _ in parts])
        return Features(tokens, valid_mask), max(seconds for _, seconds in parts)

    def _run_batch(self, jobs: list[Job]) -> list[Any]:
        features = self.encoder.encode(self.encoder.preprocess([job.payload for job in jobs]))
        return [Features(features.tokens[i : i + 1], features.valid_mask[i : i + 1]) for i in range(len(jobs))]


class BackboneRunner(Runner):
    """Writes replies, several in one batch."""

    def __init__(self, stage: str, placed: StagePlacement, in_flight: InFlight, backbone: BackboneStage) -> None:
        self.backbone = backbone
        backbone.backbone.fold()
        # A reply that has begun cannot be taken back, so the backbone's jobs are checked before and never run again.
        super().__init__(stage, placed, in_flight, retry_alone=False)

    async def reply(
        self,
        conversation: Sequence[Message],
        features: ConversationFeatures,
        options: SamplingOptions,
        seed: int,
        should_stop: ShouldStop,
    ) -> AsyncIterator[ReplyEvent]:
        """See `Executor.reply`."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Any] = asyncio.Queue()

        def emit(event: Any) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        self.backbone.check(conversation)
        job = Job((conversation, features, options, seed), emit=emit, should_stop=should_stop)
        result = self._worker.submit(job)
        result.add_done_callback(emit)
        while (event := await events.get()) is not result:
            yield event
        yield StageTime(result.result()[1])

    def _run_batch(self, jobs: list[Job]) -> list[Any]:
        wanted = [job for job in jobs if not job.unwanted()]
        for index, job in enumerate(jobs):
            if job not in wanted:
                job.report(RowDone(index, "cancelled", prompt_tokens=0, completion_tokens=0))
        if wanted:
            conversations, features, options, seeds = zip(*(job.payload for job in wanted), strict=True)
            events = self.backbone.reply(
                conversations, features, options, seeds, should_stop=lambda row: wanted[row].unwanted()
            )
            for event in events:
                wanted[event.row].report(event)
        return [None] * len(jobs)


class GeneratorRunner(Runner):
    """Makes media, those with equal options in one batch."""

    def __init__(self, stage: str, placed: StagePlacement, in_flight: InFlight, generator: Generator) -> None:
        self.generator = generator
        super().__init__(stage, placed, in_flight)

    def check(self, options: GenerationOptions) -> None:
        """See `Executor.check_generation`."""
        self.generator.compatibility_key(options)

    async def generate(
        self, conditioning: Conditioning, options: GenerationOptions, on_step: OnStep, should_stop: ShouldStop
    ) -> tuple[Any, float]:
        """See `Executor.generate`."""
        loop = asyncio.get_running_loop()

        def emit(step: tuple[int, int]) -> None:
            loop.call_soon_threadsafe(on_step, *step)

        key = self.generator.compatibility_key(options)
        job = Job((conditioning, options), key, emit=emit, should_stop=should_stop)
        return await asyncio.wrap_future(self._worker.submit(job))

    def _run_batch(self, jobs: list[Job]) -> list[Any]:
        conditioning = {name: torch.cat([job.payload[0][name] for job in jobs]) for name in jobs[0].payload[0]}

        def on_step(step: int, steps: int) -> None:
            for job in jobs:
                job.report((step, steps))

        return self.generator.generate(
            conditioning,
            [job.payload[1] for job in jobs],
            on_step,
            should_stop=lambda: all(job.unwanted() for job in jobs),
        )
