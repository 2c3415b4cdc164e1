"""Ask something the same question again and again, in a thread that may hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any


class Pulse:
    """Asks every `every_s` seconds; to look at what is known never waits.

    Args:
        ask: may hang or raise, which both are no answer.
    """

    def __init__(self, name: str, ask: Callable[[], Any], every_s: float = 1.0) -> None:
        self.latest: Any = None
        self._ask = ask
        self._every_s = every_s
        self._answered_at = time.monotonic()
        self._refused_since: float | None = None
        threading.Thread(target=self._go_on, name=f"anygpt-pulse-{name}", daemon=True).start()

    @property
    def silent_s(self) -> float:
        """Seconds since the last answer, or since the beginning."""
        return time.monotonic() - self._answered_at

    @property
    def refused_s(self) -> float:
        """Seconds since it began to raise; 0 where it has answered since, or hangs."""
        return 0.0 if self._refused_since is None else time.monotonic() - self._refused_since

    def _go_on(self) -> None:
        while True:
            try:
                self.latest = self._ask()
            except Exception:  # whatever is wrong, the properties tell for how long it has been
                self._refused_since = self._refused_since or time.monotonic()
            else:
                self._answered_at = time.monotonic()
                self._refused_since = None
            time.sleep(self._every_s)
