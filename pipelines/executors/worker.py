"""A stage's worker: one thread that takes jobs from a bounded queue and runs them in compatible batches."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from anygpt.errors import StageError


@dataclass
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


class Worker:
    """Runs one stage in one thread.

    A batch is the oldest job and all waiting jobs with its key, up to `max_batch_size`; others keep their place.

    Args:
        name: the stage, for errors.
        run_batch: takes jobs with equal keys and returns one value for each; an exception as a value fails that job.
        max_batch_size, max_queue: limits.
        max_wait_s: how long an incomplete batch waits for company.
        requests: how many requests may have a job here; a batch waits for no more than these. None: nobody knows.
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
        requests: Callable[[], int] | None = None,
        retry_alone: bool = False,
    ) -> None:
        self.name = name
        self._run_batch = run_batch
        self._max_batch_size = max_batch_size
        self._max_queue = max_queue
        self._max_wait_s = max_wait_s
        self._requests = requests
        self._retry_alone = retry_alone
        self._waiting: list[Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"anygpt-{name}", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Future[Any]:
        """Queue a job; see `submit_all`."""
        return self.submit_all([job])[0]

    def submit_all(self, jobs: Sequence[Job]) -> list[Future[Any]]:
        """Queue jobs at once, all of them or none.

        Raises:
            StageError: if the queue is full or the worker is closed.
        """
        with self._changed:
            if self._closed:
                raise StageError(self.name, "is closed")
            if len(self._waiting) + len(jobs) > self._max_queue:
                full = len(self._waiting) >= self._max_queue
                limit = "which is the limit" if full else f"{len(jobs)} more are over the limit of {self._max_queue}"
                raise StageError(self.name, f"{len(self._waiting)} jobs are waiting, {limit}; try again later")
            self._waiting += jobs
            self._changed.notify()
        return [job.result for job in jobs]

    def close(self) -> None:
        """Refuse new jobs, fail the waiting ones, and let the running batch end."""
        with self._changed:
            self._closed = True
            abandoned, self._waiting = self._waiting, []
            self._changed.notify()
        for job in abandoned:
            if job.result.set_running_or_notify_cancel():
                job.result.set_exception(StageError(self.name, "was closed before the job ran"))
        self._thread.join(timeout=30)

    def _work(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            wanted = [job for job in batch if job.result.set_running_or_notify_cancel()]
            started = time.perf_counter()
            values = self._values(wanted) if wanted else []
            seconds = time.perf_counter() - started
            for job, value in zip(wanted, values, strict=True):
                if isinstance(value, Exception):
                    job.result.set_exception(value)
                else:
                    job.result.set_result((value, seconds))

    def _values(self, jobs: list[Job]) -> list[Any]:
        """A value or an exception for each job; whatever a model raises is its jobs' failure, not the worker's."""
        try:
            values = self._run_batch(jobs)
            if len(values) != len(jobs):
                raise StageError(self.name, f"{len(values)} results for {len(jobs)} jobs, expected one for each")
        except Exception as error:
            if len(jobs) > 1 and self._retry_alone:
                return [value for job in jobs for value in self._values([job])]
            return [error] * len(jobs)
        return values

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
