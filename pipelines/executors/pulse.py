"""Ask something the same question again and again, in a thread that may hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any


class Pulse:
    """Asks every `every_s` seconds; whoever wants to know looks at `latest` and `silent_s`, which never wait.

    Args:
        ask: may hang or raise, which both count as no answer.
    """

    def __init__(self, name: str, ask: Callable[[], Any], every_s: float = 1.0) -> None:
        self.latest: Any = None
        self._ask = ask
        self._every_s = every_s
        self._answered_at = time.monotonic()
        threading.Thread(target=self._go_on, name=f"anygpt-pulse-{name}", daemon=True).start()

    @property
    def silent_s(self) -> float:
        """Seconds since the last answer, or since the beginning."""
        return time.monotonic() - self._answered_at

    def _go_on(self) -> None:
        while True:
            try:
                self.latest = self._ask()
            except Exception:  # whatever is wrong, `silent_s` tells how long it has been
                pass
            else:
                self._answered_at = time.monotonic()
            time.sleep(self._every_s)
