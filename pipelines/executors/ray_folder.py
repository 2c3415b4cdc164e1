"""The folder of a Ray of our own, and the processes that belong to it.

The driver process leads a session, as terminals use them, and all that it starts is of that session: Ray's own
processes, the stages', and theirs. So they can be found and ended whatever has died of them, also by the next program.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
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
    base = _base()
    _remove_leftovers(base)
    try:
        return tempfile.mkdtemp(prefix=f"anygpt-{os.getpid()}-", dir=base)
    except OSError as error:
        raise ConfigError(
            f"TMPDIR: '{base}' is taken for Ray's files, but cannot be written ({error.strerror}); set another folder"
        ) from error


def note_session(folder: str, session: int) -> None:
    """Write down whose folder it is, for the next program."""
    Path(folder, SESSION).write_text(str(session))


def end_session(folder: str, session: int, spare: Collection[int] = ()) -> None:
    """End all processes of a session, and remove its folder.

    Args:
        session: the number of the process that leads it, or has led it.
        spare: numbers of processes that go on.
    """
    _end(lambda process: process.pid not in spare and os.getsid(process.pid) == session)
    shutil.rmtree(folder, ignore_errors=True)


def stopped_members(session: int) -> list[psutil.Process]:
    """Processes of the session that have got SIGSTOP, and can do nothing until SIGCONT."""
    stopped = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            if os.getsid(pid) == session and (process := psutil.Process(pid)).status() == psutil.STATUS_STOPPED:
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


def _remove_leftovers(base: str) -> None:
    for folder in Path(base).glob("anygpt-*-*"):
        owner = folder.name.split("-")[1]
        if not owner.isdigit() or psutil.pid_exists(int(owner)):
            continue
        with suppress(OSError, ValueError):
            session = int((folder / SESSION).read_text())
            _end(lambda process, session=session, folder=folder: _is_left(process, session, str(folder)))  # type: ignore[misc]
        shutil.rmtree(folder, ignore_errors=True)


def _is_left(process: psutil.Process, session: int, folder: str) -> bool:
    """Of that session, and Ray's: since the session ended, its number may have become another's."""
    if os.getsid(process.pid) != session:
        return False
    command = " ".join(process.cmdline())
    return command.startswith("ray::") or folder in command


def _base() -> str:
    """Where temporary files go, or /tmp where Ray could not work there.

    Raises:
        ConfigError: if there is neither.
    """
    room = SOCKET_PATH_BYTES - len(FOLDER_NAME) - len(SOCKET)
    try:
        given = tempfile.gettempdir()
    except OSError as error:
        raise ConfigError(
            f"TMPDIR: '{os.environ.get('TMPDIR', '')}' given, and no folder for temporary files can be written; "
            "set it to one that can"
        ) from error
    for base in (given, "/tmp"):
        if len(os.fsencode(base)) <= room and PLAIN.fullmatch(base) and os.access(base, os.W_OK):
            return base
    raise ConfigError(
        f"TMPDIR: '{given}' given, expected at most {room} plain characters for Ray's sockets, as /tmp cannot be "
        "written; set it to such a folder"
    )
