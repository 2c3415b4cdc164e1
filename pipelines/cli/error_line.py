"""What an error looks like on a terminal."""

from __future__ import annotations

MAX_CHARS = 1000


def error_line(message: object) -> str:
    """One printable line, whatever the message quotes: no control characters, of bounded length."""
    line = " ".join("".join(char if char.isprintable() else " " for char in str(message)).split())
    return f"anygpt: error: {line if len(line) <= MAX_CHARS else line[:MAX_CHARS] + '…'}"
