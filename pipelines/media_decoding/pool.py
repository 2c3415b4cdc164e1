"""A pool of decoding processes for an asyncio program."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any

from anygpt import errors
from anygpt.errors import AnyGPTError, MediaError, OverloadedError
from pipelines.media_decoding.frames import Buffer, framed_medium, read_frame, write_frame

PER_MODALITY = 4  # files of one modality at a time, so that slow videos leave room for pictures
PER_CLIENT = 3  # of them of one address, so that nobody takes all places
WAITING_PER_CLIENT = 32
AT_ONCE = 8
MAX_WAITING = 64
KEPT_IDLE = 2
WORKER = "pipelines.media_decoding.worker"


class DecoderPool:
    """Decodes media in other processes, several at a time; close it to end them.

    Args:
        timeout_s: longest time for one file; fetching it and starting a process count.
    Attributes:
        working: the processes that are decoding now.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._idle: list[_Process] = []
        self.working: set[_Process] = set()
        self._threads = ThreadPoolExecutor(AT_ONCE, "anygpt-decoding")
        self._places = asyncio.Semaphore(AT_ONCE)
        self._places_of: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(PER_MODALITY))
        self._shares: dict[str | None, dict[str, asyncio.Semaphore]] = {}  # client → modality → its places
        self._waiting: Counter[str | None] = Counter()

    def start(self) -> None:
        """Start a process for the first file, so that it does not wait for one."""
        self._idle.append(_Process())

    def close(self) -> None:
        """End all processes; files that are being decoded fail."""
        for process in (*self._idle, *self.working):
            process.kill()
        self._idle.clear()
        self._threads.shutdown(wait=False)

    async def decode(
        self, modality: str, source: Any, limits: Any, *, fetched_for: str | None = None, client: str | None = None
    ) -> Any:
        """The medium of a source; cancelling the call ends the process that works on it.

        Args:
            modality: of the medium: "image", …
            source: a path, a data URL, the file's bytes, or an address on an allowed host.
            limits: on media of that modality.
            fetched_for: what messages call the source, if it is an address to fetch.
            client: who wants it, and gets only a share of the places; None gets any.
        Raises:
            MediaError: if the file cannot be used or takes too long.
            OverloadedError: if too many files are waiting.
            MissingExtraError: if what decodes it is not installed.
        """
        waiting = self._waiting[client] if client else 0
        if self._waiting.total() >= MAX_WAITING or waiting >= WAITING_PER_CLIENT:
            raise OverloadedError("decoding", f"{self._waiting.total()} files are waiting to be read; try again later")
        is_bytes = isinstance(source, (bytes, bytearray))
        job = {
            "modality": modality,
            "limits": dataclasses.asdict(limits),
            "deadline_s": self.timeout_s,
            "source": "bytes" if is_bytes else "text",
            "fetched_for": fetched_for,
        }
        payload = source if is_bytes else os.fspath(source).encode("utf-8", "surrogatepass")
        self._waiting[client] += 1
        try:
            async with self._share_of(client, modality), self._places_of[modality], self._places:
                answer, payloads = await self._ask(job, payload)
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]
                self._shares.pop(client, None)
        if "error" in answer:
            raise _error_of(answer)
        return framed_medium(modality, answer["medium"], payloads)

    def _share_of(self, client: str | None, modality: str) -> Any:
        if client is None:
            return nullcontext()
        return self._shares.setdefault(client, {}).setdefault(modality, asyncio.Semaphore(PER_CLIENT))

    async def _ask(self, job: dict[str, Any], payload: Buffer) -> tuple[dict[str, Any], list[bytearray]]:
        """Let a process work on a job; it is ended if it takes too long or nobody waits any more."""
        process = self._idle.pop() if self._idle else _Process()
        self.working.add(process)
        work = asyncio.get_running_loop().run_in_executor(self._threads, process.ask, job, payload)
        work.add_done_callback(_take_note)
        try:
            answer = await asyncio.wait_for(asyncio.shield(work), self.timeout_s)
        except asyncio.TimeoutError as error:
            process.kill()
            raise MediaError(
                f"{job['modality']}: reading it takes longer than limits.decode_timeout_s={self.timeout_s:g} seconds; "
                "shorten or shrink it"
            ) from error
        except (EOFError, OSError, ValueError) as error:
            process.kill()
            raise MediaError(
                f"{job['modality']}: the process that reads it has ended, expected a complete file; save it again"
            ) from error
        except asyncio.CancelledError:
            process.kill()
            raise
        finally:
            self.working.discard(process)
        if len(self._idle) < KEPT_IDLE:
            self._idle.append(process)
        else:
            process.kill()
        return answer


class _Process:
    """One decoding process."""

    def __init__(self) -> None:
        path = os.pathsep.join(place for place in sys.path if place)
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._jobs: Any = self._process.stdin
        self._answers: Any = self._process.stdout

    def ask(self, job: dict[str, Any], payload: Buffer) -> tuple[dict[str, Any], list[bytearray]]:
        """Send a job and wait for the answer, in a thread of the caller's.

        Raises:
            EOFError, OSError, ValueError: if the process has ended.
        """
        write_frame(self._jobs, job, [payload])
        return read_frame(self._answers)

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._jobs, self._answers):
            with suppress(OSError, ValueError):  # what was not sent yet
                pipe.close()


def _error_of(answer: dict[str, Any]) -> AnyGPTError:
    kind: type[AnyGPTError] = getattr(errors, answer["error"])
    return kind(answer["message"])


def _take_note(work: asyncio.Future[Any]) -> None:
    """Look at how a job ended that nobody waits for any more, or asyncio would complain."""
    if not work.cancelled():
        work.exception()
