"""Stages on Ray: placed, batched, killed, and cleared away."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from anygpt import AnyGPT, load_image
from anygpt.errors import AnyGPTError, ConfigError, StageError
from pipelines.assistant import Reply
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.oracle import READERS
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene

STAR = Scene("star", "red", "large", "left")
ANSWER_S = 15  # each request is answered or failed within this, whatever dies
BACK_S = 60
MARK = "ANYGPT_TEST_RUN"


def states(model: AnyGPT) -> dict[str, str]:
    return asyncio.run(model.executor.stage_states())


def places(model: AnyGPT) -> dict[str, dict[str, Any]]:
    return asyncio.run(model.executor.places())


def contents(reply: Reply) -> list[Any]:
    return [part if isinstance(part, str) else part.tobytes() for part in reply.parts]


def test_replies_are_those_of_the_local_executor(tiny, ray_tiny):
    messages = ["Hello", [render_image(STAR, 1), "Now make it green."], "Draw a small blue circle and a red square."]
    for options in ({}, {"temperature": 1.0}, {"modalities": ["image"], "steps": 3}):
        one, other = (model.chat_batch(messages, seeds=[3, 4, 5], **options) for model in (tiny, ray_tiny))
        assert [contents(reply) for reply in one] == [contents(reply) for reply in other]


def test_stages_run_in_the_processes_that_the_config_names(ray_tiny):
    placed = places(ray_tiny)
    assert set(placed) == set(ray_tiny.config.stages)
    processes = {name: {placed[s]["pid"] for s in stages} for name, stages in ray_tiny.config.processes.items()}
    assert set(processes) == {"encoders", "backbone", "generators"}
    assert all(len(pids) == 1 for pids in processes.values())
    assert len(set().union({os.getpid()}, *processes.values())) == 4
    assert states(ray_tiny) == dict.fromkeys(ray_tiny.config.stages, "ready")


def test_reply_that_is_closed_early_is_cancelled(ray_tiny):
    stream = ray_tiny.stream("Draw a small blue circle at the top left.", steps=200)
    started = time.monotonic()
    next(event for event in stream if type(event).__name__ == "MediaProgress")
    stream.close()
    assert ray_tiny.chat("Draw a red star.", steps=2).images  # the generator is free again
    assert time.monotonic() - started < 30


def test_refusals_of_a_stage_are_its_own_errors(ray_tiny):
    with pytest.raises(AnyGPTError, match="width_px: 65 given"):
        ray_tiny.chat("Draw a star.", width_px=65)
    with pytest.raises(AnyGPTError, match="the context holds"):
        ray_tiny.chat("red " * 5000)


REQUESTS = {  # by stage, one of each process: a request that needs it, and of which modality its reply is
    "encoders.audio": ("audio", "Draw it.", "image"),
    "backbone": ("points", "Play it.", "audio"),
    "generators.video": ("image", "Film it.", "video"),
}


@pytest.mark.parametrize("stage", REQUESTS)
def test_killed_stage_costs_its_own_and_comes_back(ray_tiny, stage):
    """Requests keep coming while the stage's process is killed; none stays without an answer."""
    source, request, target = REQUESTS[stage]

    def ask(at: int) -> tuple[float, str]:
        started = time.monotonic()
        try:
            reply = ray_tiny.chat([render(STAR.in_modality(source), source, at), request], seed=at)
            outcome = "lost" if reply.errors else "whole"
            if reply.errors:
                assert {lost.stage for lost in reply.errors} == {f"generators.{target}"}
                assert reply.text
            else:
                (medium,) = (part for part in reply.parts if not isinstance(part, str))
                assert READERS[target](medium).shape == "star"
        except StageError as error:
            outcome = error.stage
        return time.monotonic() - started, outcome

    def wait_until_whole() -> float:
        """Seconds until a reply is whole again."""
        started = time.monotonic()
        while time.monotonic() - started < BACK_S:
            if ask(1)[1] == "whole":
                return time.monotonic() - started
            time.sleep(0.2)
        raise AssertionError(f"not back within {BACK_S} seconds: {states(ray_tiny)}")

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, at) for at in range(4)]
        time.sleep(0.2)
        os.kill(places(ray_tiny)[stage]["pid"], signal.SIGKILL)
        asked += [pool.submit(ask, at) for at in range(4, 8)]
        results = [future.result() for future in asked]
    assert max(seconds for seconds, _ in results) < ANSWER_S, results
    assert {outcome for _, outcome in results} <= {"whole", "lost" if stage.startswith("generators") else stage}, (
        results
    )
    assert wait_until_whole() < BACK_S


def test_a_stage_without_a_process_is_not_waited_for_long(ray_tiny, monkeypatch):
    monkeypatch.setattr("pipelines.executors.ray.MISSING_S", 0.2)
    os.kill(places(ray_tiny)["backbone"]["pid"], signal.SIGKILL)
    refusals: list[str] = []
    until = time.monotonic() + BACK_S
    while time.monotonic() < until:
        try:
            ray_tiny.chat("Hello")
            break
        except StageError as error:
            refusals.append(str(error))
            time.sleep(0.1)
    assert "stage 'backbone': its process is being started; try again in a minute" in refusals
    assert ray_tiny.chat("Hello").text


def test_no_such_cluster_is_one_line():
    script = (
        "from anygpt import AnyGPT, ConfigError\n"
        "try:\n    AnyGPT.from_config('tiny', executor='ray', address='127.0.0.1:1')\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("address: '127.0.0.1:1' given, where no Ray cluster answers")


def test_executor_of_another_name_is_refused():
    with pytest.raises(ConfigError, match="executor: 'cloud' given, expected one of local, ray"):
        AnyGPT.from_config("tiny", executor="cloud")
    with pytest.raises(ConfigError, match="address: 'auto' given with the local executor"):
        AnyGPT.from_config("tiny", address="auto")


def test_cluster_of_two_nodes_gets_the_stages_where_they_are_placed(everything_file):
    """Some with a process of their own, some that share one; and the cluster's end is noticed."""
    script = Path(__file__).with_name("cluster_of_two.py")
    command = [sys.executable, str(script), str(everything_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    alone = {
        "encoders.image": ("small", {"CPU": 0.5, "GPU": 0.75, "small": 1.0}),
        "backbone": ("big", {"CPU": 1.0, "GPU": 0.5, "big": 1.0}),
        "generators.image": ("big", {"CPU": 0.5, "GPU": 0.5}),
    }
    for stage, (node, resources) in alone.items():
        assert (found[stage]["node"], found[stage]["resources"]) == (node, resources)
    shared = {
        ("encoders.audio", "encoders.video", "encoders.points"): {"CPU": 0.75},
        ("generators.audio", "generators.video"): {"CPU": 0.5},
    }
    for stages, resources in shared.items():
        assert [found[stage]["resources"] for stage in stages] == [resources] * len(stages)
        assert len({found[stage]["pid"] for stage in stages}) == 1
    assert len({found[stage]["pid"] for stage in (*alone, *(s for stages in shared for s in stages))}) == len(
        alone
    ) + len(shared)
    assert found["samples"] > 0
    request, executor = found["lost"]
    assert request == "stage 'backbone': the Ray cluster is gone"
    assert re.fullmatch(r"stage 'pipeline': the Ray cluster at '[\d.:]+' is gone: its .* has ended; .*", executor)


def test_nothing_is_left_after_a_run(tmp_path, stack_file):
    """No process once the last has had a moment to end, no shared memory and no temporary file."""
    before, mark = files_of_ray(), secrets.token_hex(8)
    command = [sys.executable, "-m", "pipelines", "generate", "Draw.", "--modalities", "image", "--executor", "ray"]
    options = ["--config", str(stack_file), "--out", str(tmp_path)]
    with subprocess.Popen(
        [*command, *options], env={**os.environ, MARK: mark}, stderr=subprocess.PIPE, text=True
    ) as program:
        seen = 0
        while program.poll() is None:
            seen = max(seen, len(marked_processes(mark)))
            time.sleep(0.5)
        assert program.returncode == 0, program.stderr.read()[-2000:]
    assert seen > 5  # the program, Ray's own processes and those of the stages all carry the mark
    assert load_image(tmp_path / "reply-1.png").size == (64, 64)
    deadline = time.monotonic() + 5
    while (left := marked_processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    assert not files_of_ray() - before
    assert not list(Path("/tmp").glob(f"anygpt-{program.pid}-*"))


def marked_processes(mark: str) -> list[list[str]]:
    """The command lines of all processes whose environment has the mark: those that a program began, and theirs."""
    marked = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                marked.append(process.cmdline())
    return marked


def files_of_ray() -> set[Path]:
    """Ray's files in shared memory and among the temporary ones."""
    files = (path for place in ("/dev/shm", "/tmp") for path in Path(place).glob("*"))
    return {path for path in files if path.name.startswith(("plasma", "ray"))}
