"""How long a request may wait for what is not there, in all its calls together."""

from __future__ import annotations

import time
from contextvars import ContextVar

LOOKS_APART_S = 0.5  # of one that waits; longer pauses are not counted


class Patience:
    """Counts the seconds in which a request waits for stages that have no process.

    Calls of the same request that wait at the same time count once.
    """

    def __init__(self) -> None:
        self.waited_s = 0.0
        self._looked_at = -LOOKS_APART_S

    def look(self) -> None:
        """One of the request's calls is waiting; to be called again and again."""
        now = time.monotonic()
        if now - self._looked_at < LOOKS_APART_S:
            self.waited_s += now - self._looked_at
        self._looked_at = now


# The pipeline sets one for each request; a call that belongs to none has its own.
PATIENCE: ContextVar[Patience | None] = ContextVar("anygpt_patience", default=None)
