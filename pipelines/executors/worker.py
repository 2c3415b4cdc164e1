"""A stage's worker: one thread that takes jobs from a bounded queue and runs them in compatible batches."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from anygpt.errors import AnyGPTError, OverloadedError, StageError, TimedOutError

OVERDUE = "anygpt: overdue"  # name of a thread whose batch was given up
MAX_OVERDUE = 2  # threads that may compute on unheard, beside the one at work


@dataclass(eq=False)
class Job:
    """One item of work.

    Attributes:
        payload: what the stage needs.
        key: only jobs with equal keys share a batch.
        request: whose job it is; jobs of one request come together.
        emit: called from the worker's thread with whatever the stage reports on the way.
        should_stop: True where nobody waits for the result any more.
        result: set by the worker: (value, seconds inside the stage), or an exception.
    """

    payload: Any
    key: Hashable = None
    request: object = field(default_factory=object)
    emit: Callable[[Any], None] = lambda event: None
    should_stop: Callable[[], bool] = lambda: False
    result: Future[Any] = field(default_factory=Future)

    def unwanted(self) -> bool:
        """True where the result would not be heard: nobody waits, or the stage was too slow for it."""
        return self.result.done() or self.should_stop()

    def report(self, event: Any) -> None:
        """Pass an event on, as long as there is no result."""
        if not self.result.done():
            self.emit(event)


class Worker:
    """Runs one stage in one thread.

    A batch is the oldest job and all waiting jobs with its key, up to `max_batch_size`; others keep their place.

    Args:
        name: the stage, for errors.
        run_batch: takes jobs with equal keys and returns one value for each; an exception as a value fails that job.
        max_batch_size, max_queue: limits.
        max_wait_s: how long an incomplete batch waits for company.
        requests: how many requests may have a job here; a batch waits for no more than these. None: nobody knows.
        time_limit_s: a batch that takes longer fails, and the stage goes on in a new thread; the old one ends unheard.
            While `MAX_OVERDUE` of such threads still compute, the stage takes no work.
        retry_alone: run the jobs of a batch that fails one by one, so that a bad one costs only itself; for stages
            whose jobs may be run twice.
    """

    def __init__(
        self,
        name: str,
        run_batch: Callable[[list[Job]], list[Any]],
        *,
        max_batch_size: int,
        max_queue: int,
        max_wait_s: float,
        time_limit_s: float = math.inf,
        requests: Callable[[], int] | None = None,
        retry_alone: bool = False,
    ) -> None:
        self.name = name
        self._run_batch = run_batch
        self._max_batch_size = max_batch_size
        self._max_queue = max_queue
        self._max_wait_s = max_wait_s
        self._time_limit_s = time_limit_s
        self._requests = requests
        self._retry_alone = retry_alone
        self._waiting: list[Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self._running: tuple[list[Job], float] | None = None  # the batch at work and when it is given up
        self._over = threading.Event()
        self._thread: threading.Thread | None = self._start_thread()
        self._overdue: list[threading.Thread] = []  # whose batch was given up
        self._watcher = threading.Thread(target=self._watch, name=f"anygpt-{name}-limit", daemon=True)
        if time_limit_s < threading.TIMEOUT_MAX:
            self._watcher.start()

    def _start_thread(self) -> threading.Thread:
        thread = threading.Thread(target=self._work, name=f"anygpt-{self.name}", daemon=True)
        thread.start()
        return thread

    def submit(self, job: Job) -> Future[Any]:
        """Queue a job; see `submit_all`."""
        return self.submit_all([job])[0]

    def submit_all(self, jobs: Sequence[Job]) -> list[Future[Any]]:
        """Queue jobs at once, all of them or none.

        Raises:
            OverloadedError: if the queue is full.
            StageError: if the worker is closed.
        """
        with self._changed:
            if self._closed:
                raise StageError(self.name, "is closed")
            if self._thread is None:
                raise self._stuck()
            if len(self._waiting) + len(jobs) > self._max_queue:
                full = len(self._waiting) >= self._max_queue
                limit = "which is the limit" if full else f"{len(jobs)} more are over the limit of {self._max_queue}"
                raise OverloadedError(self.name, f"{len(self._waiting)} jobs are waiting, {limit}; try again later")
            self._waiting += jobs
            self._changed.notify()
        return [job.result for job in jobs]

    def close(self) -> None:
        """Refuse new jobs, fail the waiting ones, and let the running batch end."""
        with self._changed:
            self._closed = True
            abandoned, self._waiting = self._waiting, []
            self._changed.notify()
        self._over.set()
        for job in abandoned:
            if job.result.set_running_or_notify_cancel():
                job.result.set_exception(StageError(self.name, "was closed before the job ran"))
        for thread in (self._thread, self._watcher):
            if thread is not None and thread.is_alive():
                thread.join(timeout=30)

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            wanted = [job for job in batch if job.result.set_running_or_notify_cancel()]
            if wanted and not self._run(wanted):
                return

    def _run(self, jobs: list[Job]) -> bool:
        """Run a batch and set its results; False where it came too late, and another thread has taken over."""
        started = time.perf_counter()
        self._running = jobs, started + self._time_limit_s
        values = self._values(jobs)
        seconds = time.perf_counter() - started
        with self._changed:
            me = threading.current_thread()
            if me in self._overdue:
                self._overdue.remove(me)
                if self._thread is not None or self._closed:
                    return False
                self._thread = me  # all others are overdue: this one takes up the work again
                return True
            self._running = None
            for job, value in zip(jobs, values, strict=True):
                if isinstance(value, Exception):
                    job.result.set_exception(value)
                else:
                    job.result.set_result((value, seconds))
        return True

    def _watch(self) -> None:
        """Look at the batch at work whenever it could be over its limit, which none is that began since."""
        while True:
            running = self._running
            left = running[1] - time.perf_counter() if running else self._time_limit_s
            if left <= 0:
                self._abandon_batch()
            elif self._over.wait(left):
                return

    def _abandon_batch(self) -> None:
        """Fail a batch that takes too long and replace its thread, which cannot be stopped."""
        with self._changed:
            if self._running is None or self._running[1] > time.perf_counter():
                return  # it has just ended
            jobs, self._running = self._running[0], None
            assert self._thread is not None, "a batch runs in the worker's own thread"
            self._thread.name = OVERDUE
            self._overdue.append(self._thread)
            error: StageError = TimedOutError(
                self.name, f"no result within its timeout_s={self._time_limit_s:g} seconds"
            )
            for job in jobs:
                job.result.set_exception(error)
            if len(self._overdue) <= MAX_OVERDUE:
                self._thread = self._start_thread()
                return
            self._thread = None
            waiting, self._waiting = self._waiting, []
            for job in waiting:
                if job.result.set_running_or_notify_cancel():
                    job.result.set_exception(self._stuck())

    def _stuck(self) -> StageError:
        return StageError(self.name, f"{len(self._overdue)} batches still compute past their time; try again later")

    def _values(self, jobs: list[Job]) -> list[Any]:
        """A value or an exception for each job; whatever a model raises is its jobs' failure, not the worker's."""
        try:
            values = self._run_batch(jobs)
            if len(values) != len(jobs):
                raise StageError(self.name, f"{len(values)} results for {len(jobs)} jobs, expected one for each")
        except Exception as error:
            if len(jobs) > 1 and self._retry_alone:
                return [value for job in jobs for value in self._values([job])]
            return [self._named(error)] * len(jobs)
        return [self._named(value) if isinstance(value, Exception) else value for value in values]

    def _named(self, error: Exception) -> Exception:
        """What a part raised as an error that names the stage; our own errors stay as they are."""
        if isinstance(error, AnyGPTError):
            return error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        named = StageError(self.name, ": ".join([type(error).__name__, *lines[:1]]))
        named.__cause__ = error
        return named

    def _next_batch(self) -> list[Job] | None:
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            deadline = time.perf_counter() + self._max_wait_s
            while len(self._compatible()) < self._max_batch_size and self._may_get_company():
                left = deadline - time.perf_counter()
                if left <= 0 or not self._changed.wait(left):
                    break
            batch = self._compatible()
            chosen = set(map(id, batch))
            self._waiting = [job for job in self._waiting if id(job) not in chosen]
            return batch or None if self._closed else batch

    def _may_get_company(self) -> bool:
        known = self._requests() if self._requests is not None else math.inf
        return not self._closed and len({id(job.request) for job in self._waiting}) < known

    def _compatible(self) -> list[Job]:
        if not self._waiting:
            return []
        key = self._waiting[0].key
        return [job for job in self._waiting if job.key == key][: self._max_batch_size]
