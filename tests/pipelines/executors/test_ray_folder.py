"""Where Ray puts its files, and what is left of programs that have died."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from anygpt.errors import ConfigError
from pipelines.executors import ray_folder

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def gone_pid() -> int:
    """The number of a process that has ended."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """Processes that are entered here are killed at the end."""
    with ExitStack() as stack:
        yield stack


def sleeping(running: ExitStack, *arguments: str) -> subprocess.Popen[bytes]:
    """A process that leads a session of its own."""
    process = running.enter_context(subprocess.Popen([sys.executable, "-c", SLEEP, *arguments], start_new_session=True))
    running.callback(process.kill)
    return process


@pytest.mark.parametrize(
    "name", ["var-folders-vv-v17lwmd95j797hl-wlmt03cw00gn-T", "x" * 200, "with blanks", "müßig", "it's"]
)
def test_folder_that_rays_sockets_or_commands_do_not_take_is_replaced(tmp_path, name):
    given = tmp_path / name
    given.mkdir()
    assert ray_folder.usable_base(str(given), "/tmp") == "/tmp"


def test_short_and_plain_folder_is_taken():
    assert ray_folder.usable_base("/var/tmp", "/tmp") == "/var/tmp"


def test_longest_socket_in_a_folder_that_is_taken_fits():
    room = ray_folder.SOCKET_PATH_BYTES - len(ray_folder.FOLDER_NAME) - len(ray_folder.SOCKET)
    assert room >= len("/var/tmp")
    assert len("/" * room + ray_folder.FOLDER_NAME + ray_folder.SOCKET) == ray_folder.SOCKET_PATH_BYTES


def test_no_folder_that_ray_can_use_is_one_line():
    with pytest.raises(ConfigError, match=r"TMPDIR: '/a b' given, expected at most \d+ plain characters.*'/missing'"):
        ray_folder.usable_base("/a b", "/missing")


def test_what_a_killed_program_left_is_ended_and_removed(tmp_path, gone_pid, running):
    left = tmp_path / f"anygpt-{gone_pid}-abc"
    (left / "session_1").mkdir(parents=True)
    process = sleeping(running, str(left))
    ray_folder.note_session(str(left), process.pid)
    ray_folder.remove_leftovers(str(tmp_path))
    assert not psutil.pid_exists(process.pid)
    assert not left.exists()


def test_living_programs_and_strangers_are_left_alone(tmp_path, gone_pid, running):
    owner = sleeping(running)
    owned = tmp_path / f"anygpt-{owner.pid}-abc"
    others = tmp_path / "anygpt-demo-abc"
    left = tmp_path / f"anygpt-{gone_pid}-abc"
    for folder in (owned, others, left):
        folder.mkdir()
    stranger = sleeping(running)  # it has got the number that a dead driver had
    ray_folder.note_session(str(left), stranger.pid)
    ray_folder.note_session(str(owned), owner.pid)
    ray_folder.remove_leftovers(str(tmp_path))
    assert sorted(tmp_path.iterdir()) == sorted([owned, others])
    assert all(psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE for process in (owner, stranger))


def test_session_can_be_ended_by_one_of_its_own_processes(tmp_path, running):
    """Those with a group of their own, too, as Ray's workers are; and itself."""
    folder = tmp_path / "anygpt-1-abc"
    folder.mkdir()
    code = f"""if True:
        import os, subprocess, sys, time
        from pipelines.executors.ray_folder import begin_to_end_session
        subprocess.Popen([sys.executable, "-c", "{SLEEP}"], preexec_fn=os.setpgrp)
        begin_to_end_session("{folder}", os.getpid())
        time.sleep(60)
    """
    leader = running.enter_context(subprocess.Popen([sys.executable, "-c", code], start_new_session=True))
    running.callback(leader.kill)
    members: list[psutil.Process] = []
    while len(members) < 2:
        members = psutil.Process(leader.pid).children()
    assert leader.wait(20) == -signal.SIGKILL
    psutil.wait_procs(members, timeout=10)
    assert not any(member.is_running() for member in members)
    assert not folder.exists()
