"""How many things may go on at a time, for each person and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.demo.refusals import RefusedError


class ConcurrencyLimit:
    """Counts what is going on.

    Args:
        what: is counted, for messages.
        per_person, in_all: the most at a time.
    """

    def __init__(self, what: str, per_person: int, in_all: int) -> None:
        self.what, self.per_person, self.in_all = what, per_person, in_all
        self._taken: Counter[str] = Counter()

    @contextmanager
    def one_for(self, person: str) -> Iterator[None]:
        """One place, until the block ends.

        Raises:
            RefusedError: 503 if there is none.
        """
        if self._taken[person] >= self.per_person or self._taken.total() >= self.in_all:
            raise RefusedError(503, f"too many {self.what} at a time; try again later")
        self._taken[person] += 1
        try:
            yield
        finally:
            self._taken[person] -= 1
            if not self._taken[person]:
                del self._taken[person]
