"""A service on a Ray of its own whose processes are killed and frozen: it says so, and is whole again.

One service suffers all of it, one thing after another; it runs as a program, as Ray may take processes along.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

START_S = 120
BACK_S = 90
FROZEN_IS_SHOWN_S = 10
REFUSED_S = 5
ENDED_S = 20
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}


@dataclass
class Service:
    """A running `anygpt serve --executor ray`."""

    program: subprocess.Popen[bytes]
    url: str
    terminal: Path

    def ready(self) -> tuple[int, dict[str, str]]:
        answer = httpx.get(f"{self.url}/ready", timeout=REFUSED_S)
        return answer.status_code, answer.json()["stages"]

    def ask(self) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/chat/completions", json=HELLO, timeout=30)

    def wait_until_ready(self, within_s: float = BACK_S) -> None:
        deadline = time.monotonic() + within_s
        while (state := self.ready())[0] != 200:
            assert time.monotonic() < deadline, state
            time.sleep(0.2)

    def processes(self) -> list[psutil.Process]:
        """Those of Ray: its driver and all that is of the driver's session."""
        return processes_of_ray(self.program)

    def process(self, part: str) -> psutil.Process:
        """The one with that in its command line."""
        (found,) = (process for process in self.processes() if part in command_line(process))
        return found


@pytest.fixture(scope="module")
def service(stack_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """On a machine whose folder for temporary files has a name as long as macOS', with a blank in it."""
    folder = tmp_path_factory.mktemp("ray-dies")
    temporary = folder / ("temporary files " + "x" * 90)
    temporary.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pipelines", "serve", "--executor", "ray", "--port", str(port)]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with open(folder / "terminal", "wb") as terminal:
        program = subprocess.Popen(
            [*command, "--config", str(stack_file)], env=environment, stdout=terminal, stderr=terminal
        )
    service = Service(program, f"http://127.0.0.1:{port}", folder / "terminal")
    left: list[psutil.Process] = []
    try:
        wait_until_live(service)
        yield service
        left = service.processes() if program.poll() is None else []
    finally:
        program.kill()
        program.wait()
        for process in left:
            if process.is_running():
                process.kill()


def processes_of_ray(program: subprocess.Popen[bytes]) -> list[psutil.Process]:
    children = psutil.Process(program.pid).children(recursive=True)
    drivers = [process.pid for process in children if "ray_driver" in command_line(process)]
    return [process for process in children if process.is_running() and os.getsid(process.pid) in drivers]


def wait_until_live(service: Service) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            assert service.ready()[0] == 200
            return
        except httpx.TransportError:
            assert service.program.poll() is None, service.terminal.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)


def command_line(process: psutil.Process) -> str:
    """Empty where the process has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def alive(processes: list[psutil.Process]) -> list[str]:
    return [p.name() for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_frozen_stage_is_shown_and_replaced(service):
    service.wait_until_ready()
    frozen = service.process(":generators.image")
    frozen.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + FROZEN_IS_SHOWN_S
    while (state := service.ready())[0] == 200:
        assert time.monotonic() < deadline, "a frozen stage is not shown"
        time.sleep(0.2)
    assert [stage for stage, how in state[1].items() if how != "ready"] == ["generators.image"]
    assert service.ask().status_code == 200  # others go on
    service.wait_until_ready()
    assert service.process(":generators.image").pid != frozen.pid


def test_frozen_controller_of_serve_is_replaced_while_requests_are_answered(service):
    service.wait_until_ready()
    frozen = service.process("ServeController")
    frozen.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + BACK_S
    while frozen.is_running():
        assert service.ask().status_code == 200
        assert time.monotonic() < deadline
    service.wait_until_ready()
    assert service.ask().status_code == 200


def test_dead_raylet_is_a_refusal_in_words_until_ray_is_there_again(service):
    service.wait_until_ready()
    before = service.processes()
    service.process("raylet/raylet").kill()
    deadline = time.monotonic() + REFUSED_S
    while set((state := service.ready())[1].values()) != {"starting"}:
        assert time.monotonic() < deadline, "a dead Ray is not shown"
        time.sleep(0.1)
    assert state[0] == 503
    started = time.monotonic()
    refusal = service.ask()
    assert time.monotonic() - started < REFUSED_S
    assert refusal.status_code == 503
    assert refusal.headers["retry-after"] == "1"
    assert refusal.json()["error"] == {
        "message": "stage 'backbone': Ray has died and is started again; try again in a minute",
        "type": "service_unavailable_error",
        "param": "backbone",
        "code": "stage_failed",
    }
    service.wait_until_ready()
    assert service.ask().status_code == 200
    assert alive(before) == []


def test_service_whose_gcs_is_dead_ends_on_sigterm_and_leaves_nothing(service):
    service.wait_until_ready()
    processes = service.processes()
    folder = Path(service.process("ray_driver").cmdline()[-1])
    assert folder.is_dir()
    service.process("gcs_server").kill()
    started = time.monotonic()
    assert service.ask().status_code in (200, 503)
    service.program.send_signal(signal.SIGTERM)
    assert service.program.wait(ENDED_S) == -signal.SIGTERM  # as the local executor's: 143 in a shell
    assert time.monotonic() - started < ENDED_S
    assert alive(processes) == []
    assert not folder.exists()
    lines = service.terminal.read_text().splitlines()
    assert [line for line in lines if not line.startswith("anygpt: ")] == []  # nothing of Ray's
    told = (
        r"anygpt: Ray has died \(its (raylet|GCS|driver process) has ended\); it is started again",
        r"anygpt: Ray is back, with all stages",
    )
    for number, line in enumerate(lines[1:]):  # of the tests before, and of this one where the death was noticed
        assert re.fullmatch(told[number % 2], line)


def test_killed_program_takes_ray_along(stack_file, tmp_path):
    """In the midst of a start, when Ray's own processes and their helpers run."""
    command = [sys.executable, "-m", "pipelines", "generate", "Draw.", "--executor", "ray", "--out", str(tmp_path)]
    program = subprocess.Popen([*command, "--config", str(stack_file)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + START_S
    processes: list[psutil.Process] = []
    while not any("Serve" in process.name() for process in processes):
        assert time.monotonic() < deadline
        assert program.poll() is None
        processes = processes_of_ray(program)
        time.sleep(0.1)
    (folder,) = (Path(process.cmdline()[-1]) for process in processes if "ray_driver" in command_line(process))
    assert folder.is_dir()
    program.kill()
    program.wait()
    deadline = time.monotonic() + ENDED_S
    while (alive(processes) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive(processes) == []
    assert not folder.exists()
    assert len(processes) > 5
