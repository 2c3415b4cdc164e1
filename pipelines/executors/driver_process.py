"""The program's side of the process that speaks to Ray: no method here waits for Ray longer than it says."""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone  # not the built-in one before Python 3.11
from contextlib import suppress
from typing import Any

import psutil

from anygpt.config.schema import StackConfig
from anygpt.errors import StageError
from pipelines.executors.driver_messages import Alive, Call, Cancel, Event, Failed, Gone, Ready, Release, Start
from pipelines.executors.messages import pack, read_packed, unpack, write_packed
from pipelines.executors.ray_folder import end_session, new_folder, note_session

MODULE = "pipelines.executors.ray_driver"
LOG = "driver.log"
DEAD_S = 15.0  # a driver that says nothing for so long is given up
LEAVE_S = 4.0  # for taking the stages out of a cluster that others go on using
# For a Ray of our own. Our replicas never block their event loop, so Serve's need not be in a thread of its own: two
# switches of threads less on every call. And a frozen process is killed sooner than after 5 s.
SETTINGS = {
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_kill_worker_timeout_milliseconds": "1000",
    "RAY_USAGE_STATS_ENABLED": "0",
}


class Held:
    """What the driver holds for the program: features or conditioning, which travel from stage to stage on Ray."""

    def __init__(self, driver: DriverProcess, number: int) -> None:
        self.driver = driver
        self.number = number
        weakref.finalize(self, driver.release, number).atexit = False


class Answer:
    """What a call gives, as it comes."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_over = False
        self._events: deque[Event | None] = deque()
        self._loop = asyncio.get_running_loop()
        self._some = asyncio.Event()

    async def next(self, within_s: float) -> Event | None:
        """The next event, or None if there is none within that time.

        Raises:
            EOFError: if the driver is over.
        """
        if not self._events:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._some.wait(), within_s)
        self._some.clear()
        if not self._events:
            return None
        event = self._events.popleft()
        if event is None:
            self.is_over = True
            raise EOFError
        self.is_over = event.is_last
        return event

    def put(self, event: Event | None) -> None:
        """Add an event, from any thread; None where no more can come."""
        self._events.append(event)
        with suppress(RuntimeError):  # whoever waited is gone, and the loop with it
            self._loop.call_soon_threadsafe(self._some.set)


class DriverProcess:
    """A process that has started or joined Ray for this program.

    Args:
        config: what to run.
        address: of a cluster to join; None starts a Ray of our own.
        app: name of the stages in the cluster.
    Attributes:
        started: done when all stages are there; fails with what is wrong.
        over: why the driver can be used no more, once it cannot.
    """

    def __init__(self, config: StackConfig, address: str | None, app: str) -> None:
        self.started: Future[None] = Future()
        self.over: Future[str] = Future()
        self._is_own = address is None
        self._states: dict[str, str] = {}
        self._states_age_s = 0.0
        self._heard_at = time.monotonic()
        self._numbers = itertools.count()
        self._answers: dict[int, Answer] = {}
        self._answering = threading.Lock()
        self._commands: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.folder = new_folder()
        self._process = _spawn(self.folder, self._is_own)
        for work in (self._write, self._read):
            threading.Thread(target=work, name=f"anygpt-driver-{work.__name__}", daemon=True).start()
        self._send(Start(config, address, self.folder, app, _threads()))

    @property
    def is_ready(self) -> bool:
        """True once all stages were there, and until the driver is over."""
        return self.started.done() and self.started.exception() is None and not self.over.done()

    @property
    def silent_s(self) -> float:
        """Seconds since the driver's last sign of life."""
        return time.monotonic() - self._heard_at

    @property
    def states(self) -> dict[str, str]:
        """Stage → its state, as far as known."""
        return self._states

    @property
    def states_age_s(self) -> float:
        """How old that is, in seconds."""
        return self._states_age_s + self.silent_s

    def is_missing(self, stage: str) -> bool:
        """True where the stage has no process that can take work."""
        return self._states.get(stage) != "ready"

    def call(self, stage: str, method: str, arguments: tuple[Any, ...]) -> Answer:
        """Call a method of `RayStages`.

        Raises:
            StageError: if an argument is of another, earlier driver.
        """
        answer = Answer(next(self._numbers))
        packed = pack(Call(answer.number, stage, method, arguments), lambda value: self._number_of(stage, value))
        with self._answering:
            self._answers[answer.number] = answer
            if self.over.done():
                answer.put(None)
        self._commands.put(packed)
        return answer

    def leave(self, answer: Answer) -> None:
        """Nobody waits for that answer any more."""
        self._answers.pop(answer.number, None)
        if not answer.is_over:
            self._send(Cancel(answer.number))

    def release(self, number: int) -> None:
        """Nobody knows that value any more; may be called from a destructor."""
        self._send(Release(number))

    def wait_until_over(self) -> str:
        """Wait until the driver can be used no more, and return why."""
        while True:
            try:
                return self.over.result(timeout=1.0)
            except NotDone:
                if self.is_ready and (self.silent_s > DEAD_S or self._is_stopped()):
                    self._fail("its driver process does not answer")

    def close(self) -> None:
        """End the process and all that it has started."""
        self._fail("it was closed")
        self._commands.put(None)
        if self._is_own:
            self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # it goes on leaving the cluster by itself
            self._process.wait(LEAVE_S)
        if self._process.poll() is not None:
            end_session(self.folder, self._process.pid)

    def last_words(self) -> str:
        """The last line of the driver's log."""
        with suppress(OSError), open(os.path.join(self.folder, LOG), encoding="utf-8", errors="replace") as log:
            lines = [line.strip() for line in log if line.strip()]
            return lines[-1] if lines else "it said nothing"
        return "it said nothing"

    def _is_stopped(self) -> bool:
        with suppress(psutil.Error):
            return psutil.Process(self._process.pid).status() == psutil.STATUS_STOPPED
        return False

    def _send(self, message: Any) -> None:
        self._commands.put(pack(message, lambda value: None))

    def _number_of(self, stage: str, value: Any) -> int | None:
        if not isinstance(value, Held):
            return None
        if value.driver is not self:
            raise StageError(stage, "what it needs of another stage was lost with Ray; try again")
        return value.number

    def _write(self) -> None:
        pipe: Any = self._process.stdin
        with suppress(OSError, ValueError):
            while (packed := self._commands.get()) is not None:
                write_packed(pipe, packed)
        with suppress(OSError, ValueError):
            pipe.close()

    def _read(self) -> None:
        pipe: Any = self._process.stdout
        with pipe, suppress(EOFError, OSError):
            while True:
                message = unpack(read_packed(pipe), lambda number: Held(self, number))
                self._heard_at = time.monotonic()
                self._take(message)
        self._fail("its driver process has ended")

    def _take(self, message: Any) -> None:
        if isinstance(message, Event):
            answer = self._answers.get(message.number)
            if answer is not None:
                answer.put(message)
        elif self.over.done():
            return
        elif isinstance(message, Ready):
            self._states = message.states
            self.started.set_result(None)
        elif isinstance(message, Failed):
            self.started.set_exception(message.error)
        elif isinstance(message, Alive):
            self._states_age_s = message.age_s
            if message.states is not None:
                self._states = message.states
        elif isinstance(message, Gone):
            self._fail(message.reason)

    def _fail(self, reason: str) -> None:
        """Fail all calls, also those that are still to come."""
        with self._answering:
            if self.over.done():
                return
            self.over.set_result(reason)
            answers = list(self._answers.values())
        for answer in answers:
            answer.put(None)
        if not self.started.done():
            why = f"cannot be started on Ray: {reason}: {self.last_words()}"
            self.started.set_exception(StageError("pipeline", why))


def _spawn(folder: str, is_own: bool) -> subprocess.Popen[bytes]:
    """The driver, in a session of its own: Ctrl-C at the terminal is for the program."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    if is_own:
        environment = {**SETTINGS, **environment}
    with open(os.path.join(folder, LOG), "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    note_session(folder, process.pid)
    return process


def _threads() -> int | str | None:
    """As many torch threads as this program has; where it has not loaded torch, what tells torch how many to take."""
    torch = sys.modules.get("torch")
    return os.environ.get("OMP_NUM_THREADS") if torch is None else torch.get_num_threads()
