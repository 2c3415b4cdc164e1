"""Every stage a Ray Serve deployment: placement, replicas, health checks and restarts are Ray's.

What travels between stages (features, conditioning) goes from the process that makes it to the one that needs it as an
object reference; this process, where the pipeline runs, only hands the reference on. Batching inside a replica is the
same as in the local executor: a `Runner`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from anygpt.config import StackConfig
from anygpt.errors import AnyGPTError, CancelledError, ConfigError, MissingExtraError, OverloadedError, StageError
from anygpt.messages import Message
from anygpt.requests import GenerationOptions, SamplingOptions
from anygpt.tensors import ConditioningSpec
from backbone.contract import RowDone, TextPiece
from pipelines.backbone_stage import FeatureShape, MediumRequest
from pipelines.executors.contract import OnStep, ShouldStop
from pipelines.executors.runners import BackboneRunner, EncoderRunner, GeneratorRunner
from pipelines.stack import build_backbone, build_encoder, build_generator

try:
    import ray
    from ray import serve
    from ray.serve.handle import DeploymentHandle
except ImportError as error:
    raise MissingExtraError("the Ray executor needs ray: pip install 'anygpt[serve]'") from error

POLL_S = 0.05  # how often a waiting call looks whether its request was cancelled
KNOCK_S = 5.0
STARTING_STATES = ("UPDATING", "DEPLOYING", "UPSCALING", "DOWNSCALING")

END = None

# A reference inside a list: Ray hands it on as it is, where a bare one would be fetched for the call.
Ref = list[Any]


class Replica:
    """What all stages have in common: one process that holds one part."""

    def __init__(self, config: StackConfig, stage: str, threads: int) -> None:
        torch.set_num_threads(threads)  # as the local executor would have it: sums of floats depend on it
        self.stage = stage
        self.placed = config.placed(stage)
        self.in_flight = 1

    def told(self, in_flight: int) -> None:
        """Take note of how many requests the caller has: a batch waits for no more company than that."""
        self.in_flight = in_flight

    async def place(self) -> dict[str, Any]:
        """Which node, process and share of a GPU this is."""
        context = ray.get_runtime_context()
        return {"node": context.get_node_id(), "pid": os.getpid(), "resources": context.get_assigned_resources()}


class EncoderReplica(Replica):
    """An encoder stage."""

    def __init__(self, config: StackConfig, modality: str, threads: int) -> None:
        super().__init__(config, f"encoders.{modality}", threads)
        self.runner = EncoderRunner(self.stage, self.placed, lambda: self.in_flight, build_encoder(config, modality))

    async def describe(self) -> FeatureShape:
        """What the backbone has to know of it."""
        return FeatureShape(self.runner.encoder.feature_dim, self.runner.encoder.num_tokens)

    async def encode(self, media: Sequence[Any], in_flight: int) -> tuple[Ref, float]:
        """A reference to the features, and the seconds inside the encoder."""
        self.told(in_flight)
        features, seconds = await self.runner.encode(media)
        return [ray.put(features)], seconds


class GeneratorReplica(Replica):
    """A generator stage."""

    def __init__(self, config: StackConfig, modality: str, threads: int) -> None:
        super().__init__(config, f"generators.{modality}", threads)
        self.runner = GeneratorRunner(
            self.stage, self.placed, lambda: self.in_flight, build_generator(config, modality)
        )

    async def describe(self) -> ConditioningSpec:
        """What the backbone has to know of it."""
        return self.runner.generator.conditioning_spec

    async def check(self, options: GenerationOptions) -> None:
        """See `Executor.check_generation`."""
        self.runner.check(options)

    async def generate(self, conditioning: Ref, options: GenerationOptions, in_flight: int) -> AsyncIterator[list[Any]]:
        """(step, steps) for every step, and at the end (medium, seconds); in lists of what has come together."""
        self.told(in_flight)
        loaded = await conditioning[0]
        events: asyncio.Queue[Any] = asyncio.Queue()
        stop = threading.Event()

        async def generate() -> None:
            try:
                await events.put(await self.runner.generate(loaded, options, on_step, stop.is_set))
            finally:
                await events.put(END)

        def on_step(step: int, steps: int) -> None:
            events.put_nowait((step, steps))

        task = asyncio.create_task(generate())
        try:
            async for batch in _batches(events):
                yield batch
            await task
        finally:
            stop.set()


class BackboneReplica(Replica):
    """The backbone stage; it learns from the other stages what they give and want, without loading them."""

    async def __init__(  # type: ignore[misc]
        self,
        config: StackConfig,
        encoders: Mapping[str, DeploymentHandle],
        generators: Mapping[str, DeploymentHandle],
        threads: int,
    ) -> None:
        super().__init__(config, "backbone", threads)
        shapes = {modality: await handle.describe.remote() for modality, handle in encoders.items()}
        specs = {modality: await handle.describe.remote() for modality, handle in generators.items()}
        self.runner = BackboneRunner(
            self.stage, self.placed, lambda: self.in_flight, build_backbone(config, shapes, specs)
        )

    async def reply(
        self,
        conversation: Sequence[Message],
        features: Mapping[str, Ref],
        options: SamplingOptions,
        seed: int,
        in_flight: int,
    ) -> AsyncIterator[list[Any]]:
        """The reply's events, conditioning as references; in lists of what has come together."""
        self.told(in_flight)
        loaded = {modality: await reference[0] for modality, reference in features.items()}
        events: asyncio.Queue[Any] = asyncio.Queue()
        stop = threading.Event()

        async def reply() -> None:
            try:
                async for event in self.runner.reply(conversation, loaded, options, seed, stop.is_set):
                    if isinstance(event, MediumRequest):
                        event = replace(event, conditioning=[ray.put(event.conditioning)])
                    await events.put(event)
            finally:
                await events.put(END)

        task = asyncio.create_task(reply())
        try:
            async for batch in _batches(events):
                yield batch
            await task
        finally:
            stop.set()


async def _batches(events: asyncio.Queue[Any]) -> AsyncIterator[list[Any]]:
    """What is in the queue, as soon as there is something, until `END`: handing on costs more than making a token."""
    ended = False
    while not ended:
        batch = [await events.get()]
        while not events.empty():
            batch.append(events.get_nowait())
        ended = batch[-1] is END
        if len(batch) > ended:
            yield batch[:-1] if ended else batch


class RayExecutor:
    """Runs a stack's stages as one Serve application.

    Args:
        config: the stack; its `placement` says how many replicas with which share of a node each stage gets.
        address: a running cluster ("auto" finds the one of this machine); None starts a Ray of its own, which ends with
            the executor.
    Raises:
        ConfigError: if there is no such cluster.
        StageError: if a stage cannot be started.
    """

    def __init__(self, config: StackConfig, address: str | None = None) -> None:
        self.config = config
        self.in_flight: set[object] = set()
        self.input_modalities = tuple(config.encoders)
        self.output_modalities = tuple(config.generators)
        self.app = f"anygpt-{config.name}-{os.getpid()}"
        self._connected = not ray.is_initialized()
        self._own_folder = _start_ray(config, address) if self._connected else None
        try:
            self._handles = self._deploy()
        except BaseException:
            self.close()
            raise

    def _deploy(self) -> dict[str, DeploymentHandle]:
        config, threads = self.config, torch.get_num_threads()
        encoders = {
            m: self._deployment(EncoderReplica, f"encoders.{m}").bind(config, m, threads) for m in config.encoders
        }
        generators = {
            m: self._deployment(GeneratorReplica, f"generators.{m}").bind(config, m, threads) for m in config.generators
        }
        backbone = self._deployment(BackboneReplica, "backbone").bind(config, encoders, generators, threads)
        serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
        try:
            serve.run(backbone, name=self.app, route_prefix=None, logging_config={"log_level": "ERROR"})
        except RuntimeError as error:
            raise self._start_failure(error) from error
        return {stage: serve.get_deployment_handle(stage, self.app) for stage in config.stages}

    def _deployment(self, replica: type[Replica], stage: str) -> Any:
        placed = self.config.placed(stage)
        options = {"num_cpus": placed.num_cpus, "num_gpus": placed.num_gpus, "resources": placed.resources}
        scale: dict[str, Any] = {"num_replicas": placed.replicas}
        if placed.max_replicas is not None:
            scale = {"autoscaling_config": {"min_replicas": placed.replicas, "max_replicas": placed.max_replicas}}
        return serve.deployment(
            name=stage,
            ray_actor_options=options,
            max_ongoing_requests=placed.max_queue + placed.max_batch_size,
            health_check_period_s=1.0,
            health_check_timeout_s=10.0,
            graceful_shutdown_timeout_s=2.0,
            **scale,
        )(replica)

    def _start_failure(self, error: RuntimeError) -> AnyGPTError:
        """The stage that did not start, and why, in one line."""
        for stage, state in self._deployments().items():
            if state.message:
                lines = [line.strip() for line in state.message.splitlines() if line.strip()]
                return StageError(stage, f"cannot be started on Ray: {lines[-1]}")
        return StageError("pipeline", f"cannot be started on Ray: {str(error).splitlines()[0]}")

    def close(self) -> None:
        """Delete the application; a Ray of our own ends with all its processes and files."""
        if not ray.is_initialized():
            return
        serve.delete(self.app)
        if self._connected:
            ray.shutdown()
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    def _deployments(self) -> Mapping[str, Any]:
        applications = serve.status().applications
        return applications[self.app].deployments if self.app in applications else {}

    async def stage_states(self) -> dict[str, str]:
        """See `Executor.stage_states`."""
        deployments = await asyncio.to_thread(self._deployments)
        states = {}
        for stage in self.config.stages:
            status = deployments[stage].status if stage in deployments else "gone"
            running = deployments[stage].replica_states.get("RUNNING", 0) if stage in deployments else 0
            states[stage] = "ready" if running else "starting" if status in STARTING_STATES else status.lower()
        return states

    async def places(self) -> dict[str, dict[str, Any]]:
        """Where one replica of every stage runs: its node, process and resources."""
        return {stage: await handle.place.remote() for stage, handle in self._handles.items()}

    async def encode(self, modality: str, media: Sequence[Any]) -> tuple[Ref, float]:
        """See `Executor.encode`; the features stay where they are."""
        stage = f"encoders.{modality}"
        with _Failures(stage):
            return await self._handles[stage].encode.remote(list(media), len(self.in_flight))

    async def reply(
        self,
        conversation: Sequence[Message],
        features: Mapping[str, Ref],
        options: SamplingOptions,
        seed: int,
        should_stop: ShouldStop,
    ) -> AsyncIterator[TextPiece | MediumRequest | RowDone | float]:
        """See `Executor.reply`."""
        call = self._handles["backbone"].options(stream=True).reply
        try:
            async for event in _events(
                "backbone", call.remote(conversation, features, options, seed, len(self.in_flight)), should_stop
            ):
                yield event
        except CancelledError:
            yield RowDone(0, "cancelled", prompt_tokens=0, completion_tokens=0)

    async def check_generation(self, modality: str, options: GenerationOptions) -> None:
        """See `Executor.check_generation`."""
        stage = f"generators.{modality}"
        with _Failures(stage):
            await self._handles[stage].check.remote(options)

    async def generate(
        self, modality: str, conditioning: Ref, options: GenerationOptions, on_step: OnStep, should_stop: ShouldStop
    ) -> tuple[Any, float]:
        """See `Executor.generate`."""
        stage = f"generators.{modality}"
        call = self._handles[stage].options(stream=True).generate
        event: Any = None
        async for event in _events(stage, call.remote(conditioning, options, len(self.in_flight)), should_stop):
            if isinstance(event[0], int):
                on_step(*event)
        return event


class _Failures:
    """Turns what Ray raises into our errors: the stage's own, or one that names the stage."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, ray.exceptions.RayTaskError):
            cause = error.cause
            if isinstance(cause, AnyGPTError):
                raise cause from None
            raise StageError(self.stage, f"{type(cause).__name__}: {str(cause).splitlines()[0]}") from error
        if isinstance(error, (serve.exceptions.BackPressureError,)):
            raise OverloadedError(
                self.stage, "all its replicas are busy and the queue is full; try again later"
            ) from error
        if isinstance(error, (ray.exceptions.RayError, serve.exceptions.RayServeException)):
            raise StageError(
                self.stage, f"its process is gone ({type(error).__name__}); it is started again"
            ) from error


async def _events(stage: str, stream: Any, should_stop: ShouldStop) -> AsyncIterator[Any]:
    """A replica's stream, cut short with a `CancelledError` when the request is cancelled."""
    iterator = aiter(stream)
    finished = False
    try:
        while True:
            waiting = asyncio.ensure_future(anext(iterator))
            while not waiting.done() and not should_stop():
                await asyncio.wait({waiting}, timeout=POLL_S)
            if not waiting.done():
                waiting.cancel()
                raise CancelledError(f"stage '{stage}': cancelled")
            with _Failures(stage):
                try:
                    batch = waiting.result()
                except StopAsyncIteration:
                    finished = True
                    return
            for event in batch:
                yield event
    finally:
        if not finished:
            stream.cancel()


def _start_ray(config: StackConfig, address: str | None) -> str | None:
    """Join a cluster, or start one for this process alone; returns the folder to remove at its end."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is not None:
        try:
            _check_reachable(address)
            ray.init(address=address, **quiet)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"address: '{address}' given, where no Ray cluster answers: {reason}") from error
        return None
    placements = [config.placed(stage) for stage in config.stages]
    room = sum(placed.num_cpus * (placed.max_replicas or placed.replicas) for placed in placements)
    folder = tempfile.mkdtemp(prefix="anygpt-")
    ray.init(
        "local", include_dashboard=False, num_cpus=max(os.cpu_count() or 1, int(room) + 1), _temp_dir=folder, **quiet
    )
    return folder


def _check_reachable(address: str) -> None:
    """Knock at host:port, which Ray itself would try for minutes.

    Raises:
        OSError, ValueError: if nobody listens there, or the port is none.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()
