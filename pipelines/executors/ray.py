"""Every stage a Ray Serve deployment, or several of a kind: placement, replicas, health checks and restarts are Ray's.

What travels between stages (features, conditioning) goes from the process that makes it to the one that needs it as an
object reference (`replicas.Ref`); this process, where the pipeline runs, only hands the reference on.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from anygpt.config import StackConfig
from anygpt.errors import AnyGPTError, CancelledError, ConfigError, MissingExtraError, OverloadedError, StageError
from anygpt.messages import Message
from anygpt.requests import GenerationOptions, SamplingOptions
from backbone.steps import RowDone, TextPiece
from pipelines.executors.contract import OnStep, ShouldStop
from pipelines.stage_types import MediumRequest

try:
    import ray
    from ray import serve
    from ray.serve.handle import DeploymentHandle
except ImportError as error:
    raise MissingExtraError("the Ray executor needs ray: pip install 'anygpt[serve]'") from error

POLL_S = 0.05  # how often a waiting call looks whether its request was cancelled
KNOCK_S = 5.0
GONE_S = 9.0  # how long a call waits for a stage that has no process
LOOK_EVERY_S = 1.0  # how often it is looked for then
QUIET_LOG = {"log_level": "ERROR", "enable_access_log": False}
# Our replicas never block their event loop, so Serve's need not be in a thread of its own: two switches of threads less
# on every call. The processes of a Ray that we start inherit this.
REPLICA_SETTINGS = {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0"}
STARTING_STATES = ("UPDATING", "DEPLOYING", "UPSCALING", "DOWNSCALING")


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
        with ThreadPoolExecutor(1) as pool:  # torch and the stages are imported while Ray starts
            replicas = pool.submit(import_module, "pipelines.executors.replicas")
            self._own_folder = _start_ray(config, address) if self._connected else None
        try:
            self._handles = self._deploy(replicas.result())
            self._reply = self._stream("backbone", "reply")
            self._generate = {m: self._stream(f"generators.{m}", "generate") for m in self.output_modalities}
        except BaseException:
            self.close()
            raise

    def _deploy(self, replicas: Any) -> dict[str, DeploymentHandle]:
        """Every process a deployment; the backbone's, which all others are bound to, is the application."""
        config, threads = self.config, replicas.torch_threads()
        kinds = {"encoders": replicas.EncoderReplica, "generators": replicas.GeneratorReplica}
        others: dict[str, Any] = {}
        for process, stages in config.processes.items():
            if (replica := kinds.get(stages[0].partition(".")[0])) is not None:
                bound = self._deployment(replica, process, stages).bind(config, stages, threads)
                others |= dict.fromkeys(stages, bound)
        (backbone,) = (process for process, stages in config.processes.items() if "backbone" in stages)
        app = self._deployment(replicas.BackboneReplica, backbone, ["backbone"]).bind(config, others, threads)
        serve.start(proxy_location="Disabled", logging_config=QUIET_LOG)
        try:
            serve.run(app, name=self.app, route_prefix=None, logging_config=QUIET_LOG)
        except RuntimeError as error:
            raise self._start_failure(error) from error
        handles = {process: serve.get_deployment_handle(process, self.app) for process in config.processes}
        return {stage: handles[process] for process, stages in config.processes.items() for stage in stages}

    def _stream(self, stage: str, method: str) -> DeploymentHandle:
        """A handle for a method that streams; made once, since making one takes part of a millisecond."""
        return getattr(self._handles[stage].options(stream=True), method)

    def _deployment(self, replica: type, process: str, stages: Sequence[str]) -> Any:
        placed = [self.config.placed(stage) for stage in stages]
        names = {name for placement in placed for name in placement.resources}
        options = {
            "num_cpus": sum(placement.num_cpus for placement in placed),
            "num_gpus": sum(placement.num_gpus for placement in placed),
            "resources": {name: sum(placement.resources.get(name, 0) for placement in placed) for name in names},
        }
        replicas, most = placed[0].replicas, placed[0].max_replicas  # the same for all of a process
        scale: dict[str, Any] = {"num_replicas": replicas}
        if most is not None:
            scale = {"autoscaling_config": {"min_replicas": replicas, "max_replicas": most}}
        return serve.deployment(
            name=process,
            ray_actor_options=options,
            max_ongoing_requests=sum(placement.max_queue + placement.max_batch_size for placement in placed),
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
        states: dict[str, str] = {}
        for process, stages in self.config.processes.items():
            status = deployments[process].status if process in deployments else "gone"
            running = deployments[process].replica_states.get("RUNNING", 0) if process in deployments else 0
            state = "ready" if running else "starting" if status in STARTING_STATES else status.lower()
            states |= dict.fromkeys(stages, state)
        return {stage: states[stage] for stage in self.config.stages}

    async def places(self) -> dict[str, dict[str, Any]]:
        """Where one replica of every stage runs: its node, process and resources."""
        return {stage: await handle.place.remote() for stage, handle in self._handles.items()}

    async def encode(self, modality: str, media: Sequence[Any]) -> tuple[Any, float]:
        """See `Executor.encode`; the features stay where they are."""
        stage = f"encoders.{modality}"
        return await self._answer(stage, self._handles[stage].encode.remote(stage, list(media), len(self.in_flight)))

    async def reply(
        self,
        conversation: Sequence[Message],
        features: Mapping[str, Any],
        options: SamplingOptions,
        seed: int,
        should_stop: ShouldStop,
    ) -> AsyncIterator[TextPiece | MediumRequest | RowDone | float]:
        """See `Executor.reply`."""
        try:
            async for event in self._events(
                "backbone", self._reply.remote(conversation, features, options, seed, len(self.in_flight)), should_stop
            ):
                yield event
        except CancelledError:
            yield RowDone(0, "cancelled", prompt_tokens=0, completion_tokens=0)

    async def check_generation(self, modality: str, options: GenerationOptions) -> None:
        """See `Executor.check_generation`."""
        stage = f"generators.{modality}"
        await self._answer(stage, self._handles[stage].check.remote(stage, options))

    async def generate(
        self, modality: str, conditioning: Any, options: GenerationOptions, on_step: OnStep, should_stop: ShouldStop
    ) -> tuple[Any, float]:
        """See `Executor.generate`."""
        stage = f"generators.{modality}"
        event: Any = None
        stream = self._generate[modality].remote(stage, conditioning, options, len(self.in_flight))
        async for event in self._events(stage, stream, should_stop):
            if isinstance(event[0], int):
                on_step(*event)
        return event

    async def _answer(self, stage: str, response: Any) -> Any:
        """What a replica answers to one call."""

        async def answer() -> Any:
            return await response

        waiting = asyncio.ensure_future(answer())
        try:
            with _Failures(stage):
                await self._wait(stage, waiting)
                return waiting.result()
        finally:
            if not waiting.done():
                response.cancel()
                _give_up(waiting)

    async def _events(self, stage: str, stream: Any, should_stop: ShouldStop) -> AsyncIterator[Any]:
        """A replica's stream, cut short with a `CancelledError` when the request is cancelled."""
        iterator = aiter(stream)
        finished = False
        try:
            while not finished:
                waiting = asyncio.ensure_future(anext(iterator))
                try:
                    await self._wait(stage, waiting, should_stop)
                finally:
                    if not waiting.done():
                        _give_up(waiting)
                with _Failures(stage):
                    finished, events = waiting.result()
                for event in events:
                    yield event
        finally:
            if not finished:
                stream.cancel()

    async def _wait(self, stage: str, waiting: asyncio.Future[Any], should_stop: ShouldStop = lambda: False) -> None:
        """Wait until a call is done.

        Raises:
            CancelledError: if the request is cancelled meanwhile.
            StageError: if the stage's process is gone and not back after `GONE_S`: no request waits for long.
        """
        look_at = time.monotonic() + GONE_S
        while not waiting.done():
            if should_stop():
                raise CancelledError(f"stage '{stage}': cancelled")
            if time.monotonic() > look_at:
                if (await self.stage_states())[stage] != "ready":
                    raise StageError(stage, "its process is being started; try again in a minute")
                look_at = time.monotonic() + LOOK_EVERY_S
            await asyncio.wait({waiting}, timeout=POLL_S)


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


def _give_up(waiting: asyncio.Future[Any]) -> None:
    """Cancel a wait; nobody is told how it ends."""
    waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    waiting.cancel()


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
    # Serve's controller and ours: Ray has them ready.
    processes = 1 + sum(config.placed(stages[0]).replicas for stages in config.processes.values())
    num_cpus = max(os.cpu_count() or 1, int(room) + 1, processes)
    folder = _own_folder()
    for name, value in REPLICA_SETTINGS.items():
        os.environ.setdefault(name, value)
    ray.init("local", include_dashboard=False, num_cpus=num_cpus, _temp_dir=folder, **quiet)
    return folder


def _own_folder() -> str:
    """A new folder for this process's Ray; those that killed processes left behind are removed."""
    for folder in Path(tempfile.gettempdir()).glob("anygpt-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists() and Path("/proc").exists():
            shutil.rmtree(folder, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"anygpt-{os.getpid()}-")


def _check_reachable(address: str) -> None:
    """Knock at host:port, which Ray itself would try for minutes.

    Raises:
        OSError, ValueError: if nobody listens there, or the port is none.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()
