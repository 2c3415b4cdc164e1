"""Turn a stream of token ids into a stream of text, with stop strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

INCOMPLETE = "\ufffd"


class TextStream:
    """Decodes one row's tokens as they come.

    Text is held back while it may be an unfinished character or the beginning of a stop string.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self.tokenizer = tokenizer
        self.stop = tuple(stop)
        self.stopped = False
        self._ids: list[int] = []
        self._read = 0  # characters of the decoded window that were handed on
        self._held = ""

    def add(self, token_id: int) -> str:
        """Take one token; return the text that is now certain, possibly empty."""
        self._ids.append(token_id)
        decoded = self._decode()
        if decoded.endswith(INCOMPLETE) and len(self._ids) < 16:
            return ""
        fresh, self._read = decoded[self._read :], len(decoded)
        if len(self._ids) > 64 and fresh:
            self._shorten_window(fresh)
        return self._release(fresh, final=False)

    def flush(self) -> str:
        """The text still held back; call when a signal block or the end comes."""
        fresh = self._decode()[self._read :] if self._ids else ""
        self._read += len(fresh)
        return self._release(fresh.rstrip(INCOMPLETE), final=True)

    def _decode(self) -> str:
        return self.tokenizer.decode(self._ids, skip_special_tokens=True)

    def _shorten_window(self, fresh: str) -> None:
        """Forget old tokens, keeping one so that the spacing of the next is decided as before."""
        self._ids = self._ids[-1:]
        self._read = len(self._decode())

    def _release(self, fresh: str, *, final: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + fresh
        if not self.stop:
            return text
        found = [at for at in (text.find(stop) for stop in self.stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = 0 if final else max(_overlap(text, stop) for stop in self.stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
