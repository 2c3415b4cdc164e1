"""The process that speaks to Ray, on behalf of the program that has started it (`driver_process.DriverProcess`).

Ray takes the process that is connected to it along when it dies: calls block for ever, `ray.shutdown` may raise or
hang, and a minute after its GCS the process is ended from within. So it is not the program's own. This one can be
killed at any time, and it ends Ray itself when the program is gone, however that died.

The program sends `Start`, then calls; it gets `Ready` or `Failed`, and `Alive` twice a second.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, BinaryIO

import psutil
import ray

from anygpt.errors import AnyGPTError, StageError
from pipelines.executors.driver_messages import Alive, Call, Cancel, Event, Failed, Gone, Ready, Release, Start
from pipelines.executors.messages import pack, read_packed, unpack, write_packed
from pipelines.executors.pulse import Pulse
from pipelines.executors.ray_cluster import CONTROLLER_SILENT_S, Cluster, restart_controller
from pipelines.executors.ray_folder import begin_to_end_session, stopped_members
from pipelines.executors.ray_stages import RayStages

ALIVE_EVERY_S = 0.5
LOOK_EVERY_S = 0.5
DELETE_S = 20.0  # for the stages in a cluster that is left
CONTROLLER_START_S = 15.0  # before a controller that was started again is given up


class Driver:
    """Runs the stages, and answers the program's calls about them."""

    def __init__(self, commands: BinaryIO, answers: BinaryIO) -> None:
        self._commands = commands
        self._answers = answers
        self._sending = threading.Lock()
        self._numbers = itertools.count()
        self._held: dict[int, ray.ObjectRef] = {}  # what the program knows by its number
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._is_gone = False
        self.start: Start = self._receive()
        self.stages = RayStages(self.start.config, self.start.app, self.start.threads)

    def run(self) -> None:
        """Start or join Ray, deploy the stages, and answer until the program ends."""
        threading.Thread(target=self._listen, name="anygpt-commands", daemon=True).start()
        try:
            cluster = Cluster(self.start.config, self.start.address, self.start.folder)
            threading.Thread(target=self._watch, args=(cluster,), name="anygpt-watch", daemon=True).start()
            self.stages.deploy()
        except AnyGPTError as error:
            self.send(Failed(error))
        except Exception as error:
            self.send(Failed(StageError("pipeline", f"cannot be started on Ray: {_one_line(error)}")))
        else:
            self.send(Ready(self.stages.states()))
            threading.Thread(target=self._report, name="anygpt-report", daemon=True).start()
        self._loop.run_forever()

    def send(self, message: Any) -> None:
        """Tell the program."""
        packed = pack(message, self._number_of)
        with self._sending, suppress(OSError, ValueError):  # a program that is gone is noticed where it is listened to
            write_packed(self._answers, packed)

    def _receive(self) -> Any:
        return unpack(read_packed(self._commands), lambda number: self._held[number])

    def _number_of(self, value: Any) -> int | None:
        """What Ray holds stays here; the program gets its number."""
        if not isinstance(value, ray.ObjectRef):
            return None
        number = next(self._numbers)
        self._held[number] = value
        return number

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                command = self._receive()
                self._loop.call_soon_threadsafe(self._obey, command)
        self._end()

    def _obey(self, command: Any) -> None:
        if isinstance(command, Call):
            task = self._loop.create_task(self._answer(command))
            self._tasks[command.number] = task
            task.add_done_callback(lambda _: self._tasks.pop(command.number, None))
        elif isinstance(command, Cancel) and command.number in self._tasks:
            self._tasks[command.number].cancel()
        elif isinstance(command, Release):
            self._held.pop(command.number, None)

    async def _answer(self, call: Call) -> None:
        """Send what a call gives; errors become those that the program knows."""
        number = call.number
        try:
            async for event in _events_of(getattr(self.stages, call.method)(*call.arguments)):
                self.send(Event(number, event))
            self.send(Event(number, is_last=True))
        except AnyGPTError as error:
            self.send(Event(number, error=error, is_last=True))
        except Exception as error:
            self.send(Event(number, error=StageError(call.stage, _one_line(error)), is_last=True))

    def _watch(self, cluster: Cluster) -> None:
        """Tell the program when Ray has died.

        A process of our own Ray that has been stopped is killed: Ray, or the program, replaces what is dead.
        """
        stopped_before: set[psutil.Process] = set()
        while (reason := cluster.lost()) is None:
            stopped = set(stopped_members(os.getpid())) if cluster.is_own else set()
            for process in stopped & stopped_before:
                with suppress(psutil.Error):
                    process.kill()
            stopped_before = stopped
            time.sleep(LOOK_EVERY_S)
        self._is_gone = True
        self.send(Gone(reason))

    def _report(self) -> None:
        """Tell the program again and again how the stages are, by way of the loop that answers calls."""
        states = Pulse("controller", self.stages.states)
        restarted_at = -CONTROLLER_START_S
        while True:
            silent_s = states.silent_s
            self._loop.call_soon_threadsafe(self.send, Alive(states.latest, silent_s))
            if silent_s > CONTROLLER_SILENT_S and time.monotonic() > restarted_at + CONTROLLER_START_S:
                restarted_at = time.monotonic()
                _in_thread(restart_controller)
            time.sleep(ALIVE_EVERY_S)

    def _end(self) -> None:
        """The program has ended, or needs this process no more: end everything that it had on Ray."""
        if self.start.address is not None and not self._is_gone:
            _in_thread(self.stages.delete).join(DELETE_S)
        begin_to_end_session(self.start.folder, os.getpid())
        os._exit(0)


async def _events_of(answer: Any) -> AsyncIterator[Any]:
    """A call gives either a stream or one value."""
    if hasattr(answer, "__aiter__"):
        async for event in answer:
            yield event
    else:
        yield await answer


def _in_thread(work: Callable[[], None]) -> threading.Thread:
    """Begin what may hang or fail."""

    def attempt() -> None:
        with suppress(Exception):
            work()

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    return thread


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])


def main() -> None:
    """Answer on standard input and output, which nobody else may use: what is printed goes to standard error."""
    commands, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    Driver(commands, answers).run()


if __name__ == "__main__":
    main()
