"""The folder of a Ray of our own, and the processes that belong to it.

The driver process leads a session, as terminals use them, and all that it starts is of that session: Ray's own
processes, the stages', and theirs. So they can be found and ended whatever has died of them, also by the next program.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from anygpt.errors import ConfigError

# The longest that Ray puts into the folder, and what systems allow: sockaddr_un.sun_path without its final zero.
SOCKET = "/session_2026-11-27_14-27-44_043798_4194304/sockets/plasma_store"
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
FOLDER_NAME = "/anygpt-4194304-abcdefgh"
PLAIN = re.compile(r"[A-Za-z0-9/._+~@-]+")  # Ray puts paths into command lines and addresses
SESSION = "session"  # the file that names it
END_S = 5.0


def new_folder() -> str:
    """A folder for this program's Ray, where temporary files go or else in /tmp; what dead programs left is removed.

    Raises:
        ConfigError: if no such folder can be used.
    """
    try:
        base = usable_base(tempfile.gettempdir())
        remove_leftovers(base)
        return tempfile.mkdtemp(prefix=f"anygpt-{os.getpid()}-", dir=base)
    except OSError as error:
        given = os.environ.get("TMPDIR", "")
        raise ConfigError(
            f"TMPDIR: '{given}' given, but no folder for temporary files can be written ({error.strerror}); "
            "set it to one that can"
        ) from error


def note_session(folder: str, session: int) -> None:
    """Write down whose folder it is, for the next program."""
    Path(folder, SESSION).write_text(str(session))


def end_session(folder: str, session: int) -> None:
    """End all processes of a session, and remove its folder.

    Args:
        session: the number of the process that leads it, or has led it.
    """
    _end(lambda process: _session_of(process.pid) == session)
    shutil.rmtree(folder, ignore_errors=True)


def begin_to_end_session(folder: str, session: int) -> None:
    """Let another process do that, for one of the session itself: Ray may take it along any time."""
    command = [sys.executable, "-m", "pipelines.executors.ray_folder", folder, str(session)]
    subprocess.Popen(command, start_new_session=True)


def stopped_members(session: int) -> list[psutil.Process]:
    """Processes of the session that have got SIGSTOP, and can do nothing until SIGCONT."""
    stopped = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            if _session_of(pid) == session and (process := psutil.Process(pid)).status() == psutil.STATUS_STOPPED:
                stopped.append(process)
    return stopped


def _end(is_wanted: Callable[[psutil.Process], bool]) -> None:
    """Kill processes until there are none of the kind, as they may be starting others."""
    deadline = time.monotonic() + END_S
    while (found := _processes(is_wanted)) and time.monotonic() < deadline:
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=0.1)


def _processes(is_wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # others' processes, and those that have just ended
            if is_wanted(process) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def remove_leftovers(base: str) -> None:
    """End what programs that have died left running in their folders there, and remove those."""
    for folder in Path(base).glob("anygpt-*-*"):
        owner = folder.name.split("-")[1]
        if not owner.isdigit() or psutil.pid_exists(int(owner)) or not _is_ours(folder):
            continue
        with suppress(OSError, ValueError):
            session = int((folder / SESSION).read_text())
            _end(partial(_is_left, session=session, folder=str(folder)))
        shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Others may call a folder what they like."""
    return sys.platform == "win32" or folder.lstat().st_uid == os.getuid()


def _session_of(pid: int) -> int | None:
    """None on Windows, which has none and ends Ray's processes with the driver."""
    return None if sys.platform == "win32" else os.getsid(pid)


def _is_left(process: psutil.Process, session: int, folder: str) -> bool:
    """Of that session, and Ray's: since the session ended, its number may have become another's."""
    if _session_of(process.pid) != session:
        return False
    command = " ".join(process.cmdline())
    return command.startswith("ray::") or folder in command


def usable_base(given: str, otherwise: str = "/tmp") -> str:
    """The folder that is given, or the other where Ray could not work there.

    Raises:
        ConfigError: if it can in neither.
    """
    room = SOCKET_PATH_BYTES - len(FOLDER_NAME) - len(SOCKET)
    for base in (given, otherwise):
        if len(os.fsencode(base)) <= room and PLAIN.fullmatch(base) and os.access(base, os.W_OK):
            return base
    raise ConfigError(
        f"TMPDIR: '{given}' given, expected at most {room} plain characters for Ray's sockets, as '{otherwise}' "
        "cannot be written; set it to such a folder"
    )


if __name__ == "__main__":
    end_session(sys.argv[1], int(sys.argv[2]))
