"""What a program does about SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """SIGTERM came, and what is open is to be closed."""


@contextmanager
def closing_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C would, so that it can close what it has opened, and then the program.

    The program still dies of the signal, for which shells give 143.
    """
    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except Terminated:
        before = signal.SIG_DFL
        sys.stderr.flush()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
