"""Answers in which this machine's paths are hidden, whole ones and streams of events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any


class UnseenPaths:
    """Sends an ASGI answer on.

    Args:
        send: takes the messages.
        hide: changes text.
        is_head: the answer has no body, and what it says of its length is left out.
    """

    def __init__(
        self, send: Callable[[dict[str, Any]], Awaitable[None]], hide: Callable[[bytes], bytes], *, is_head: bool
    ) -> None:
        self._send, self._hide, self._is_head = send, hide, is_head
        self._start: dict[str, Any] = {}
        self._is_stream = False
        self._rest = b""

    async def send(self, message: dict[str, Any]) -> None:
        """A stream's lines go on as they come; anything else is held until it is whole, since its length changes."""
        if message["type"] == "http.response.start":
            self._start = message
            self._is_stream = any(
                name == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"]
            )
            if self._is_stream:
                await self._send(message)
        elif message["type"] == "http.response.body":
            self._rest += message.get("body", b"")
            more = message.get("more_body", False)
            if self._is_stream:
                await self._send_lines(more)
            elif not more:
                await self._send_whole()

    async def _send_lines(self, more: bool) -> None:
        whole = self._rest.rfind(b"\n") + 1 if more else len(self._rest)
        lines, self._rest = self._rest[:whole], self._rest[whole:]
        if lines or not more:
            await self._send({"type": "http.response.body", "body": self._hide(lines), "more_body": more})

    async def _send_whole(self) -> None:
        body = self._hide(self._rest)
        headers = [(name, self._hide(value)) for name, value in self._start["headers"] if name != b"content-length"]
        if not self._is_head:
            headers.append((b"content-length", str(len(body)).encode()))
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
