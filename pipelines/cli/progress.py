"""What a long job is at, on a terminal."""

from __future__ import annotations

import sys


class Progress:
    """One line on stderr that is overwritten, where stderr is a terminal."""

    def __init__(self) -> None:
        self.shown = False

    def show(self, line: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
            self.shown = True

    def clear(self) -> None:
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self.shown = False
