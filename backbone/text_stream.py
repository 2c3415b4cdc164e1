"""Turn a stream of token ids into a stream of text, with stop strings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

INCOMPLETE = "\ufffd"
MAX_HELD_TOKENS = 16  # no character of any tokenizer has more; what is still incomplete then is not text
MAX_READ_TOKENS = 8  # beyond these, older tokens are forgotten, which costs one decoding more


class TextStream:
    """Decodes one row's tokens as they come.

    Text is held back while it may be an unfinished character or the beginning of a stop string. Only a few tokens are
    decoded again, at least those of the last release: they decide the spacing and the characters of the newest.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self.tokenizer = tokenizer
        self.stop = tuple(stop)
        self.stopped = False
        self._decode = _decoder(tokenizer)
        self._read: list[int] = []  # tokens whose text is released, the newest of them
        self._read_text = ""
        self._fresh: list[int] = []  # the tokens since
        self._held = ""

    def add(self, token_id: int) -> str:
        """Take one token; return the text that is now certain, possibly empty."""
        self._fresh.append(token_id)
        decoded = self._decode([*self._read, *self._fresh])
        text = decoded[len(self._read_text) :]
        if (not text or text.endswith(INCOMPLETE)) and len(self._fresh) < MAX_HELD_TOKENS:
            return ""
        if len(self._read) < MAX_READ_TOKENS:
            self._read, self._read_text = [*self._read, *self._fresh], decoded
        else:
            self._read, self._read_text = self._fresh, self._decode(self._fresh)
        self._fresh = []
        return self._release(text, final=False)

    def flush(self) -> str:
        """The text still held back, without an unfinished character; call when a signal block or the end comes."""
        decoded = self._decode([*self._read, *self._fresh]) if self._fresh else self._read_text
        fresh = decoded[len(self._read_text) :].rstrip(INCOMPLETE)
        self._read, self._read_text, self._fresh = self._fresh, self._decode(self._fresh), []
        return self._release(fresh, final=True)

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


def _decoder(tokenizer: Any) -> Callable[[list[int]], str]:
    """The tokenizer's `decode` without special tokens; its Rust part where the wrapper would change nothing."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rust = None if tokenizer.clean_up_tokenization_spaces else backend
    return partial((rust or tokenizer).decode, skip_special_tokens=True)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
