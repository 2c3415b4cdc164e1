from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anygpt.errors import StageError, TimedOutError
from pipelines.executors.worker import MAX_OVERDUE, Job, Worker

WAIT_S = 30


class Stage:
    """Doubles numbers, keeps account of its batches, and can be held at its next batch."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.entered, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()

    def run(self, jobs: list[Job]) -> list[Any]:
        self.batches.append([job.payload for job in jobs])
        self.entered.set()
        assert self.may_go_on.wait(WAIT_S)
        if any(job.payload == "bad" for job in jobs):
            raise ValueError("bad job")
        return [job.payload * 2 for job in jobs]

    def hold(self) -> None:
        self.entered.clear()
        self.may_go_on.clear()


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def start(stage: Stage) -> Iterator[Callable[..., Worker]]:
    workers = []

    def started(run: Callable[[list[Job]], list[Any]] = stage.run, **options: Any) -> Worker:
        settings = {"max_batch_size": 3, "max_queue": 10, "max_wait_s": 0.0, **options}
        workers.append(Worker("test", run, **settings))
        return workers[-1]

    yield started
    stage.may_go_on.set()
    for worker in workers:
        worker.close()


def held(stage: Stage, worker: Worker, payload: Any = 0) -> Any:
    """A job that keeps the worker busy until `stage.may_go_on` is set; what is submitted meanwhile waits."""
    stage.hold()
    result = worker.submit(Job(payload))
    assert stage.entered.wait(WAIT_S)
    return result


def value(result: Any) -> Any:
    return result.result(WAIT_S)[0]


def test_worker_gives_the_value_and_the_seconds_inside_the_stage(start):
    doubled, seconds = start().submit(Job(21)).result(WAIT_S)
    assert doubled == 42
    assert 0.0 <= seconds < WAIT_S


def test_worker_batches_what_waits_up_to_the_limit(stage, start):
    worker = start()
    first = held(stage, worker)
    results = [worker.submit(Job(number)) for number in range(1, 8)]
    stage.may_go_on.set()
    assert [value(result) for result in [first, *results]] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert stage.batches == [[0], [1, 2, 3], [4, 5, 6], [7]]


def test_worker_waits_for_company(stage, start):
    worker = start(max_batch_size=2, max_wait_s=WAIT_S)
    results = [worker.submit(Job(1)), worker.submit(Job(2))]
    assert [value(result) for result in results] == [2, 4]
    assert stage.batches == [[1, 2]]


def test_worker_runs_an_incomplete_batch_when_nobody_comes(stage, start):
    assert value(start(max_batch_size=9, max_wait_s=0.01).submit(Job(1))) == 2


def test_worker_waits_for_no_more_than_there_are_requests(stage, start):
    worker = start(max_batch_size=9, max_wait_s=WAIT_S, requests=lambda: 2)
    results = [worker.submit(Job(1)), worker.submit(Job(2))]
    assert [value(result) for result in results] == [2, 4]
    assert stage.batches == [[1, 2]]


def test_worker_takes_the_jobs_of_one_request_together(stage, start):
    worker = start(max_batch_size=9, max_wait_s=WAIT_S, requests=lambda: 1)
    results = worker.submit_all([Job(number, request="a") for number in (1, 2, 3)])
    assert [value(result) for result in results] == [2, 4, 6]
    assert stage.batches == [[1, 2, 3]]


def test_worker_refuses_all_jobs_of_a_request_that_are_over_the_limit_together(stage, start):
    worker = start(max_queue=2)
    with pytest.raises(StageError, match="0 jobs are waiting, 3 more are over the limit of 2; try again later"):
        worker.submit_all([Job(number) for number in (1, 2, 3)])
    assert stage.batches == []


def test_worker_batches_equal_keys_alone_and_skips_past_a_mismatched_head(stage, start):
    worker = start()
    held(stage, worker)
    results = [worker.submit(Job(payload, key)) for payload, key in ((1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "b"))]
    stage.may_go_on.set()
    assert [value(result) for result in results] == [2, 4, 6, 8, 10]
    assert stage.batches == [[0], [1, 3], [2, 5], [4]]


def test_worker_refuses_more_than_the_queue_holds(stage, start):
    worker = start(max_queue=2)
    held(stage, worker)
    results = [worker.submit(Job(number)) for number in (1, 2)]
    with pytest.raises(StageError, match="stage 'test': 2 jobs are waiting, which is the limit; try again later"):
        worker.submit(Job(3))
    stage.may_go_on.set()
    assert [value(result) for result in results] == [2, 4]
    assert value(worker.submit(Job(3))) == 6


def test_worker_failed_batch_fails_its_jobs_and_nothing_else(stage, start):
    worker = start()
    held(stage, worker)
    results = [worker.submit(Job(payload)) for payload in (1, "bad", 2)]
    stage.may_go_on.set()
    for result in results:
        with pytest.raises(StageError, match="ValueError: bad job"):
            result.result(WAIT_S)
    assert value(worker.submit(Job(3))) == 6


def test_worker_that_retries_alone_fails_the_bad_job_alone(stage, start):
    worker = start(retry_alone=True)
    held(stage, worker)
    good, bad, other = (worker.submit(Job(payload)) for payload in (1, "bad", 2))
    stage.may_go_on.set()
    assert (value(good), value(other)) == (2, 4)
    with pytest.raises(StageError, match="ValueError: bad job"):
        bad.result(WAIT_S)
    assert stage.batches == [[0], [1, "bad", 2], [1], ["bad"], [2]]


def test_worker_takes_exceptions_as_values(start):
    worker = start(lambda jobs: [StageError("test", "no luck") if job.payload else "fine" for job in jobs])
    with pytest.raises(StageError, match="no luck"):
        worker.submit(Job(1)).result(WAIT_S)
    assert value(worker.submit(Job(0))) == "fine"


def test_worker_survives_a_stage_that_returns_too_little(start):
    worker = start(lambda jobs: [] if jobs[0].payload else ["fine"])
    with pytest.raises(StageError, match="0 results for 1 jobs, expected one for each"):
        worker.submit(Job(1)).result(WAIT_S)
    assert value(worker.submit(Job(0))) == "fine"


def test_worker_survives_a_result_that_was_cancelled(stage, start):
    worker = start()
    first = held(stage, worker)
    waiting = worker.submit(Job(1))
    assert waiting.cancel()
    assert not first.cancel()  # a running job cannot be taken back
    stage.may_go_on.set()
    assert value(worker.submit(Job(2))) == 4
    assert stage.batches == [[0], [2]]


def test_worker_emits_from_its_own_thread(start):
    seen = []

    def run(jobs: list[Job]) -> list[Any]:
        jobs[0].emit("half")
        return [None]

    start(run).submit(Job(1, emit=lambda event: seen.append((event, threading.current_thread().name)))).result(WAIT_S)
    assert seen == [("half", "anygpt-test")]


def test_worker_close_fails_waiting_jobs_and_lets_the_running_one_end(stage, start):
    worker = start()
    running = held(stage, worker, payload=5)
    waiting, cancelled = worker.submit(Job(1)), worker.submit(Job(2))
    cancelled.cancel()
    closer = threading.Thread(target=worker.close)
    closer.start()
    with pytest.raises(StageError, match="stage 'test': was closed before the job ran"):
        waiting.result(WAIT_S)
    stage.may_go_on.set()
    assert value(running) == 10
    closer.join(WAIT_S)
    assert not worker._thread.is_alive()
    with pytest.raises(StageError, match="stage 'test': is closed"):
        worker.submit(Job(1))


def test_worker_close_ends_an_idle_worker_and_one_that_waits_for_company_and_may_come_twice(stage, start):
    idle, waiting = start(), start(max_wait_s=WAIT_S)
    result = waiting.submit(Job(1))
    for worker in (idle, waiting, idle):
        worker.close()
        assert not worker._thread.is_alive()
    with pytest.raises(StageError, match="was closed before the job ran"):
        result.result(WAIT_S)
    assert stage.batches == []


def slow_until(over: threading.Event) -> Callable[[list[Job]], list[Any]]:
    """A stage whose slow jobs take until then."""
    return lambda jobs: [over.wait(WAIT_S) if job.payload == "slow" else "done" for job in jobs]


def test_worker_gives_up_what_takes_too_long_and_goes_on(start):
    over = threading.Event()
    worker = start(slow_until(over), time_limit_s=0.2)
    slow = worker.submit(Job("slow"))
    with pytest.raises(TimedOutError, match=r"no result within its timeout_s=0.2 seconds"):
        slow.result(WAIT_S)
    assert value(worker.submit(Job("quick"))) == "done"
    over.set()


def test_worker_takes_no_work_while_too_many_batches_are_overdue(start):
    over = threading.Event()
    worker = start(slow_until(over), time_limit_s=0.1)
    for _ in range(MAX_OVERDUE + 1):
        with pytest.raises(TimedOutError):
            worker.submit(Job("slow")).result(WAIT_S)
    with pytest.raises(StageError, match=f"'test': {MAX_OVERDUE + 1} batches still compute past their time"):
        worker.submit(Job("quick"))
    over.set()
    for _ in range(100):
        try:
            assert value(worker.submit(Job("quick"))) == "done"
            return
        except StageError:
            time.sleep(0.05)
    raise AssertionError("the worker did not take up its work again")
