"""Every stage a Ray Serve deployment, or several of a kind: placement, replicas, health checks and restarts are Ray's.

What travels between stages (features, conditioning) goes from the process that makes it to the one that needs it as an
object reference (`replicas.Ref`); this process only hands the reference on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from anygpt.config.schema import StackConfig
from anygpt.errors import AnyGPTError, OverloadedError, StageError
from anygpt.messages import Message
from anygpt.options import GenerationOptions, SamplingOptions
from pipelines.executors import replicas
from pipelines.executors.contract import ReplyEvent
from pipelines.executors.replicas import Ref

QUIET_LOG = {"log_level": "ERROR", "enable_access_log": False}
STARTING_STATES = ("UPDATING", "DEPLOYING", "UPSCALING", "DOWNSCALING")
# A process that gives no sign of life is replaced after three checks in a row.
HEALTH_CHECK_PERIOD_S = 1.0
HEALTH_CHECK_TIMEOUT_S = 3.0
SHUTDOWN_S = 2.0


class RayStages:
    """A stack's stages as one Serve application.

    Args:
        config: the stack; its `placement` says how many replicas with which share of a node each stage gets.
        app: the application's name.
        threads: torch threads of a process whose placement names none.
    """

    def __init__(self, config: StackConfig, app: str, threads: replicas.Threads) -> None:
        self.config = config
        self.app = app
        self._threads = threads
        self._handles: dict[str, DeploymentHandle] = {}

    def deploy(self) -> None:
        """Every process a deployment; the backbone's, which all others are bound to, is the application.

        Raises:
            StageError: if one cannot be started.
        """
        config = self.config
        kinds = {"encoders": replicas.EncoderReplica, "generators": replicas.GeneratorReplica}
        others: dict[str, Any] = {}
        for process, stages in config.processes.items():
            if (replica := kinds.get(stages[0].partition(".")[0])) is not None:
                bound = self._deployment(replica, process, stages).bind(config, stages, self._threads)
                others |= dict.fromkeys(stages, bound)
        (backbone,) = (process for process, stages in config.processes.items() if "backbone" in stages)
        app = self._deployment(replicas.BackboneReplica, backbone, ["backbone"]).bind(config, others, self._threads)
        serve.start(proxy_location="Disabled", logging_config=QUIET_LOG)
        try:
            serve.run(app, name=self.app, route_prefix=None, logging_config=QUIET_LOG)
        except RuntimeError as error:
            raise self._start_failure(error) from error
        handles = {process: serve.get_deployment_handle(process, self.app) for process in config.processes}
        self._handles = {stage: handles[process] for process, stages in config.processes.items() for stage in stages}
        self._reply = self._stream("backbone", "reply")
        self._generate = {m: self._stream(f"generators.{m}", "generate") for m in config.generators}

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
        number, most = placed[0].replicas, placed[0].max_replicas  # the same for all of a process
        scale: dict[str, Any] = {"num_replicas": number}
        if most is not None:
            scale = {"autoscaling_config": {"min_replicas": number, "max_replicas": most}}
        return serve.deployment(
            name=process,
            ray_actor_options=options,
            max_ongoing_requests=sum(placement.max_queue + placement.max_batch_size for placement in placed),
            health_check_period_s=HEALTH_CHECK_PERIOD_S,
            health_check_timeout_s=HEALTH_CHECK_TIMEOUT_S,
            graceful_shutdown_timeout_s=SHUTDOWN_S,
            **scale,
        )(replica)

    def _start_failure(self, error: RuntimeError) -> AnyGPTError:
        """The stage that did not start, and why, in one line."""
        for stage, state in self._deployments().items():
            if state.message:
                lines = [line.strip() for line in state.message.splitlines() if line.strip()]
                return StageError(stage, f"cannot be started on Ray: {lines[-1]}")
        return StageError("pipeline", f"cannot be started on Ray: {str(error).splitlines()[0]}")

    def delete(self) -> None:
        """Stop all stages."""
        serve.delete(self.app)

    def _deployments(self) -> Mapping[str, Any]:
        applications = serve.status().applications
        return applications[self.app].deployments if self.app in applications else {}

    def states(self) -> dict[str, str]:
        """Stage → "ready", "starting" or what is wrong with it; may hang with Serve's controller."""
        deployments = self._deployments()
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

    async def encode(self, stage: str, media: Sequence[Any], in_flight: int) -> tuple[Ref, float]:
        """A reference to the features, and the seconds inside the encoder."""
        return await self._answer(stage, self._handles[stage].encode.remote(stage, media, in_flight))

    async def check(self, stage: str, options: GenerationOptions) -> None:
        """See `Executor.check_generation`."""
        await self._answer(stage, self._handles[stage].check.remote(stage, options))

    def reply(
        self,
        conversation: Sequence[Message],
        features: Mapping[str, Ref],
        options: SamplingOptions,
        seed: int,
        in_flight: int,
    ) -> AsyncIterator[ReplyEvent]:
        """See `Executor.reply`."""
        return self._events("backbone", self._reply.remote(conversation, features, options, seed, in_flight))

    def generate(
        self, stage: str, conditioning: Ref, options: GenerationOptions, in_flight: int
    ) -> AsyncIterator[tuple[Any, Any]]:
        """(step, steps) for every step, and at the end (medium, seconds)."""
        modality = replicas.modality_of_stage(stage)
        return self._events(stage, self._generate[modality].remote(stage, conditioning, options, in_flight))

    async def _answer(self, stage: str, response: Any) -> Any:
        """What a replica answers to one call; nobody waiting any more cancels it."""
        is_over = False
        try:
            with _failures_of(stage):
                answer = await response
            is_over = True
            return answer
        finally:
            if not is_over:
                response.cancel()

    async def _events(self, stage: str, stream: Any) -> AsyncIterator[Any]:
        """A replica's stream."""
        iterator = aiter(stream)
        finished = False
        try:
            while not finished:
                with _failures_of(stage):
                    finished, events = await anext(iterator)
                for event in events:
                    yield event
        finally:
            if not finished:
                stream.cancel()


@contextmanager
def _failures_of(stage: str) -> Iterator[None]:
    """Turns what Ray raises into our errors: the stage's own, or one that names the stage."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, AnyGPTError):
            raise cause from None
        raise StageError(stage, f"{type(cause).__name__}: {str(cause).splitlines()[0]}") from error
    except serve.exceptions.BackPressureError as error:
        raise OverloadedError(stage, "all its replicas are busy and the queue is full; try again later") from error
    except (ray.exceptions.RayError, serve.exceptions.RayServeException) as error:
        raise StageError(stage, f"its process is gone ({type(error).__name__}); it is started again") from error
