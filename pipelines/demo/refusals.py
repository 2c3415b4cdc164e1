"""What the page answers instead of doing what it was asked: a status and one line that people can read."""

from __future__ import annotations

from anygpt.errors import RequestError
from anygpt.media.sources import one_line


class RefusedError(RequestError):
    """A request to the page that is refused.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def quoted(text: object) -> str:
    """What a stranger sent, as one short printable line in quotes."""
    return f"'{one_line(str(text))}'"
