"""The stages on Ray (`ray_stages.py`), behind a process that speaks to it (`ray_driver.py`).

Ray may die at any time, as a whole or in parts, and the process that is connected to it with it. The program only
speaks to that process, waits for it no longer than said here, and replaces it, with the whole of Ray, when it is over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anygpt.config.schema import StackConfig
from anygpt.errors import AnyGPTError, CancelledError, MissingExtraError, RequestError, StageError
from anygpt.messages import Message
from anygpt.options import GenerationOptions, SamplingOptions
from backbone.steps import RowDone
from pipelines.executors.cluster_address import address_of_this_process, check_reachable
from pipelines.executors.contract import OnStep, ReplyEvent, ShouldStop
from pipelines.executors.driver_process import Answer, DriverProcess
from pipelines.executors.patience import PATIENCE, Patience

POLL_S = 0.05  # how often a waiting call looks whether its request was cancelled
MISSING_S = 6.0  # how long a request waits for stages that have no process, in all its calls together
RAY_S = 3.0  # how long a call waits for Ray
SILENT_S = 4.0  # a driver that says nothing for so long does not answer
UNKNOWN_S = 10.0  # states that are older say nothing any more
MOST_BETWEEN_STARTS_S = 30.0

log = logging.getLogger("anygpt")


class RayExecutor:
    """Runs a stack's stages as one Serve application.

    Args:
        config: the stack; its `placement` says how many replicas with which share of a node each stage gets.
        address: a running cluster ("auto" finds the one of this machine); None starts a Ray of its own, which ends with
            the executor, and is started again when it dies.
    Attributes:
        failure: set when the cluster that was joined is gone; the executor is of no use any more.
    Raises:
        MissingExtraError: if ray is not installed.
        ConfigError: if there is no such cluster.
        StageError: if a stage cannot be started.
    """

    def __init__(self, config: StackConfig, address: str | None = None) -> None:
        if find_spec("ray") is None:
            raise MissingExtraError("the Ray executor needs ray: pip install 'anygpt[serve]'")
        self.config = config
        self.failure: StageError | None = None
        self.supports_saving = False
        self.in_flight: set[object] = set()
        self.input_modalities = tuple(config.encoders)
        self.output_modalities = tuple(config.generators)
        self.app = f"anygpt-{config.name}-{os.getpid()}"
        self._address = address_of_this_process() if address is None else address
        if self._address is not None:
            check_reachable(self._address)
        self._closing = threading.Event()
        self._changing = threading.Lock()
        self._driver = DriverProcess(config, self._address, self.app)
        try:
            self._driver.started.result()
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._keep, name="anygpt-ray-keeper", daemon=True).start()

    def close(self) -> None:
        """Delete the application; a Ray of our own ends with all its processes and files."""
        self._closing.set()
        with self._changing:
            self._driver.close()

    def _keep(self) -> None:
        """Whenever the driver is over, replace it; a cluster that was joined is not ours to start."""
        while True:
            reason = self._driver.wait_until_over()
            if self._closing.is_set():
                return
            if self._address is not None:
                self.failure = StageError(
                    "pipeline", f"the Ray cluster at '{self._address}' is gone: {reason}; start it again, then this"
                )
                return
            log.warning("anygpt: Ray has died (%s); it is started again", reason)
            if self._start_again():
                log.warning("anygpt: Ray is back, with all stages")

    def _start_again(self) -> bool:
        """Try until it works; False if the executor is closed meanwhile."""
        pause_s = 1.0
        while not self._closing.is_set():
            self._driver.close()
            with self._changing:
                if self._closing.is_set():
                    return False
                self._driver = DriverProcess(self.config, None, self.app)
            try:
                self._driver.started.result()
                return True
            except AnyGPTError as error:
                if not self._closing.is_set():
                    log.warning("anygpt: Ray cannot be started again (%s); trying once more in %g s", error, pause_s)
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, MOST_BETWEEN_STARTS_S)
        return False

    async def stage_states(self) -> dict[str, str]:
        """See `Executor.stage_states`; never waits for Ray."""
        driver = self._driver
        if self.failure is not None:
            return dict.fromkeys(self.config.stages, "gone")
        if not driver.is_ready:
            return dict.fromkeys(self.config.stages, "starting")
        if driver.silent_s > SILENT_S or driver.states_age_s > UNKNOWN_S:
            return dict.fromkeys(self.config.stages, "not answering")
        return driver.states

    def save_adapters(self, folder: Path) -> None:
        """See `Executor.save_adapters`."""
        raise RequestError("save_pretrained: the stages run on Ray; load the stack with the local executor to save")

    async def places(self) -> dict[str, dict[str, Any]]:
        """Where one replica of every stage runs: its node, process and resources."""
        return await self._value("backbone", "places")

    async def encode(self, modality: str, media: Sequence[Any]) -> tuple[Any, float]:
        """See `Executor.encode`; the features stay where they are."""
        stage = f"encoders.{modality}"
        return await self._value(stage, "encode", stage, list(media), len(self.in_flight))

    async def reply(
        self,
        conversation: Sequence[Message],
        features: Mapping[str, Any],
        options: SamplingOptions,
        seed: int,
        should_stop: ShouldStop,
    ) -> AsyncIterator[ReplyEvent]:
        """See `Executor.reply`."""
        arguments = (conversation, features, options, seed, len(self.in_flight))
        try:
            async for event in self._events("backbone", "reply", arguments, should_stop):
                yield event
        except CancelledError:
            yield RowDone(0, "cancelled", prompt_tokens=0, completion_tokens=0)

    async def check_generation(self, modality: str, options: GenerationOptions) -> None:
        """See `Executor.check_generation`."""
        stage = f"generators.{modality}"
        await self._value(stage, "check", stage, options)

    async def generate(
        self, modality: str, conditioning: Any, options: GenerationOptions, on_step: OnStep, should_stop: ShouldStop
    ) -> tuple[Any, float]:
        """See `Executor.generate`."""
        stage = f"generators.{modality}"
        event: Any = None
        arguments = (stage, conditioning, options, len(self.in_flight))
        async for event in self._events(stage, "generate", arguments, should_stop):
            if isinstance(event[0], int):
                on_step(*event)
        return event

    async def _value(self, stage: str, method: str, *arguments: Any) -> Any:
        """What a method that does not stream gives."""
        values = [value async for value in self._events(stage, method, arguments)]
        return values[-1]

    async def _events(
        self, stage: str, method: str, arguments: tuple[Any, ...], should_stop: ShouldStop = lambda: False
    ) -> AsyncIterator[Any]:
        """What a method of `RayStages` gives.

        Raises:
            CancelledError: if the request is cancelled meanwhile.
            StageError: if the stage fails, has no process for long, or Ray has died.
        """
        driver = await self._ready_driver(stage, should_stop)
        answer = driver.call(stage, method, arguments)
        try:
            while not answer.is_over:
                event = await self._next(driver, answer, stage, should_stop)
                if event.error is not None:
                    raise event.error
                if not event.is_last:
                    yield event.value
        finally:
            driver.leave(answer)

    async def _next(self, driver: DriverProcess, answer: Answer, stage: str, should_stop: ShouldStop) -> Any:
        """A call's next event; no request waits for long where none can come."""
        started, patience = time.monotonic(), PATIENCE.get() or Patience()
        while True:
            try:
                event = await answer.next(POLL_S)
            except EOFError:
                raise self._without_ray(stage) from None
            if event is not None:
                return event
            if should_stop():
                raise CancelledError(f"stage '{stage}': cancelled")
            if driver.silent_s > SILENT_S and time.monotonic() - started > RAY_S:
                raise StageError(stage, "Ray does not answer; try again in a minute")
            if driver.is_missing(stage):
                patience.look()
                if patience.waited_s > MISSING_S:
                    raise StageError(stage, "its process is being started; try again in a minute")

    async def _ready_driver(self, stage: str, should_stop: ShouldStop) -> DriverProcess:
        """Wait a little while Ray is started again."""
        started = time.monotonic()
        while not (driver := self._driver).is_ready:
            if should_stop():
                raise CancelledError(f"stage '{stage}': cancelled")
            if self.failure is not None or self._closing.is_set() or time.monotonic() - started > RAY_S:
                raise self._without_ray(stage)
            await asyncio.sleep(POLL_S)
        return driver

    def _without_ray(self, stage: str) -> StageError:
        if self._closing.is_set():
            return StageError(stage, "is closed")
        if self.failure is not None or self._address is not None:
            return StageError(stage, "the Ray cluster is gone")
        return StageError(stage, "Ray has died and is started again; try again in a minute")
