"""The stages as Ray Serve replicas: what runs in the processes that Ray starts.

Batching inside a replica is the same as in the local executor: a `Runner`. Torch and the parts are imported where they
are used, since the process that describes the replicas to Ray needs none of them.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import ray
from ray.serve.handle import DeploymentHandle

from anygpt.config.schema import StackConfig
from anygpt.messages import Message
from anygpt.options import GenerationOptions, SamplingOptions
from pipelines.executors.contract import ShouldStop
from pipelines.stack.stage_types import FeatureShape, MediumRequest

if TYPE_CHECKING:
    from anygpt.tensors import ConditioningSpec
    from pipelines.executors.runners import EncoderRunner, GeneratorRunner

BACKBONE = "backbone"
LOADED_NICENESS = 5
KEPT_S = 30.0
BUNDLE_S = 0.05  # twenty looks a second are a steady stream to the eye

# How many torch threads, or what OMP_NUM_THREADS is to be when torch is loaded, which then decides.
Threads = int | str | None

# A reference inside a list: Ray hands it on as it is, where a bare one would be fetched for the call.
Ref = list[Any]


# Events, and whether they are the last: to learn it from the stream's end would take another way there and back.
Bundle = tuple[bool, list[Any]]


class Put(Protocol):
    """Hands an event on to the caller of a replica."""

    def __call__(self, event: Any, urgent: bool = False) -> None: ...


def set_torch_threads(threads: Threads) -> None:
    """Let torch use as many threads here as elsewhere, since sums of floats depend on it.

    Ray gives every process an OMP_NUM_THREADS of its own, which torch would go by.
    """
    os.environ.pop("OMP_NUM_THREADS", None)
    if isinstance(threads, str):
        os.environ["OMP_NUM_THREADS"] = threads
    import torch

    if isinstance(threads, int):
        torch.set_num_threads(threads)


def modality_of_stage(stage: str) -> str:
    """ "audio" of "encoders.audio"."""
    return stage.partition(".")[2]


def let_others_load() -> None:
    """Give the threads that compute here a lower priority than a process that is being started.

    A stage whose process has died is back sooner then, although the others go on. Only Linux has it.
    """
    if sys.platform == "linux":
        for thread in threading.enumerate():
            if thread.name.startswith("anygpt-") and thread.native_id is not None:
                os.setpriority(os.PRIO_PROCESS, thread.native_id, LOADED_NICENESS)


def reference_to(value: Any) -> Ref:
    """What is sent in a value's place. The value is kept here for `KEPT_S` seconds at least.

    On a busy machine Ray can free what a streamed answer refers to before its receiver has said that it needs it.
    """
    reference = ray.put(value)
    asyncio.get_running_loop().call_later(KEPT_S, lambda: reference)  # the loop holds it for so long
    return [reference]


class Replica:
    """What all have in common: one process that holds one part, or several of a kind."""

    def __init__(self, config: StackConfig, stages: Sequence[str], threads: Threads) -> None:
        self.placed = {stage: config.placed(stage) for stage in stages}
        set_torch_threads(self.placed[stages[0]].threads or threads)
        self.in_flight = 1

    def update_in_flight(self, in_flight: int) -> None:
        """Take note of how many requests the caller has: a batch waits for no more company than that."""
        self.in_flight = in_flight

    async def place(self) -> dict[str, Any]:
        """Which node, process and share of a GPU this is."""
        context = ray.get_runtime_context()
        return {"node": context.get_node_id(), "pid": os.getpid(), "resources": context.get_assigned_resources()}


class EncoderReplica(Replica):
    """Encoder stages."""

    async def __init__(self, config: StackConfig, stages: Sequence[str], threads: Threads) -> None:  # type: ignore[misc]
        super().__init__(config, stages, threads)
        from pipelines.executors.runners import EncoderRunner
        from pipelines.stack.build import build_encoder

        self.runners: dict[str, EncoderRunner] = {}
        for stage, placed in self.placed.items():
            encoder = await asyncio.to_thread(build_encoder, config, modality_of_stage(stage))
            self.runners[stage] = EncoderRunner(stage, placed, lambda: self.in_flight, encoder)
        let_others_load()

    async def describe(self, stage: str) -> FeatureShape:
        """What the backbone has to know of it."""
        encoder = self.runners[stage].encoder
        return FeatureShape(encoder.feature_dim, encoder.num_tokens)

    async def encode(self, stage: str, media: Sequence[Any], in_flight: int) -> tuple[Ref, float]:
        """A reference to the features, and the seconds inside the encoder."""
        self.update_in_flight(in_flight)
        features, seconds = await self.runners[stage].encode(media)
        return reference_to(features), seconds


class GeneratorReplica(Replica):
    """Generator stages."""

    async def __init__(self, config: StackConfig, stages: Sequence[str], threads: Threads) -> None:  # type: ignore[misc]
        super().__init__(config, stages, threads)
        from pipelines.executors.runners import GeneratorRunner
        from pipelines.stack.build import build_generator

        self.runners: dict[str, GeneratorRunner] = {}
        for stage, placed in self.placed.items():
            generator = await asyncio.to_thread(build_generator, config, modality_of_stage(stage))
            self.runners[stage] = GeneratorRunner(stage, placed, lambda: self.in_flight, generator)
        let_others_load()

    async def describe(self, stage: str) -> ConditioningSpec:
        """What the backbone has to know of it."""
        return self.runners[stage].generator.conditioning_spec

    async def check(self, stage: str, options: GenerationOptions) -> None:
        """See `Executor.check_generation`."""
        self.runners[stage].check(options)

    async def generate(
        self, stage: str, conditioning: Ref, options: GenerationOptions, in_flight: int
    ) -> AsyncIterator[Bundle]:
        """(step, steps) for every step, and at the end (medium, seconds)."""
        self.update_in_flight(in_flight)
        runner, loaded = self.runners[stage], await conditioning[0]

        async def generate(put: Put, should_stop: ShouldStop) -> None:
            put(await runner.generate(loaded, options, lambda *step: put(step), should_stop))

        async for bundle in _bundles(generate):
            yield bundle


class BackboneReplica(Replica):
    """The backbone stage; it learns from the other stages what they give and want, without loading them."""

    async def __init__(  # type: ignore[misc]
        self, config: StackConfig, others: Mapping[str, DeploymentHandle], threads: Threads
    ) -> None:
        super().__init__(config, [BACKBONE], threads)
        from pipelines.executors.runners import BackboneRunner
        from pipelines.stack.build import build_backbone, build_backbone_stage

        loading = asyncio.create_task(asyncio.to_thread(build_backbone, config))  # while the other stages load
        described = {stage: await handle.describe.remote(stage) for stage, handle in others.items()}
        shapes = {modality: described[f"encoders.{modality}"] for modality in config.encoders}
        specs = {modality: described[f"generators.{modality}"] for modality in config.generators}
        stage = build_backbone_stage(config, await loading, shapes, specs)
        self.runner = BackboneRunner(BACKBONE, self.placed[BACKBONE], lambda: self.in_flight, stage)
        let_others_load()

    async def reply(
        self,
        conversation: Sequence[Message],
        features: Mapping[str, Ref],
        options: SamplingOptions,
        seed: int,
        in_flight: int,
    ) -> AsyncIterator[Bundle]:
        """The reply's events, conditioning as references."""
        self.update_in_flight(in_flight)
        loaded = {modality: await reference[0] for modality, reference in features.items()}

        async def reply(put: Put, should_stop: ShouldStop) -> None:
            async for event in self.runner.reply(conversation, loaded, options, seed, should_stop):
                if isinstance(event, MediumRequest):
                    put(replace(event, conditioning=reference_to(event.conditioning)), urgent=True)
                else:
                    put(event)

        async for bundle in _bundles(reply):
            yield bundle


async def _bundles(produce: Callable[[Put, ShouldStop], Coroutine[Any, Any, None]]) -> AsyncIterator[Bundle]:
    """What `produce` puts, in bundles, since handing on costs more than making a token.

    The first event, an urgent one and the end go at once, others not more often than every `BUNDLE_S`.
    """
    loop, stop = asyncio.get_running_loop(), threading.Event()
    events: list[Any] = []
    due = asyncio.Event()
    quiet_until = 0.0

    def put(event: Any, urgent: bool = False) -> None:
        events.append(event)
        if urgent or loop.time() >= quiet_until:
            due.set()
        elif len(events) == 1:
            loop.call_at(quiet_until, due.set)

    task = asyncio.create_task(produce(put, stop.is_set))
    task.add_done_callback(lambda _: due.set())
    try:
        while events or not task.done():
            await due.wait()
            due.clear()
            if events:
                bundle, events[:] = list(events), []
                quiet_until = loop.time() + BUNDLE_S
                yield task.done() and task.exception() is None, bundle
        await task
    finally:
        stop.set()
