"""A request to the page and its answer, in ASGI's terms."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from pipelines.demo.refusals import RefusedError
from pipelines.demo.uploads import person_at


class Exchange:
    """A request and its answer.

    Args:
        scope, receive, send: see ASGI.
        told_as_json: paths under which the page expects a refusal as JSON.
    Attributes:
        person: who asks.
    """

    def __init__(self, scope: dict[str, Any], receive: Any, send: Any, *, told_as_json: Sequence[str]) -> None:
        self.scope, self.receive, self._send, self.told_as_json = scope, receive, send, told_as_json
        self.method, self.path = scope.get("method", ""), scope["path"]
        self.person = person_at((scope.get("client") or ("nobody", 0))[0])
        self._is_read = self._is_answered = False

    def header(self, name: bytes) -> str:
        """A header's value; "" if it is not there."""
        return str(dict(self.scope["headers"]).get(name, b"").decode("latin-1"))

    def scoped(
        self, *, path: str | None = None, query: str = "", body: bytes = b"", may_be_compressed: bool = False
    ) -> dict[str, Any]:
        """The request as gradio sees it: of its query only `query` is left, and its body is JSON."""
        path = self.path if path is None else path
        dropped = {b"x-gradio-server", b"content-type", b"content-length", b"transfer-encoding"}
        dropped |= set() if may_be_compressed else {b"accept-encoding"}
        headers = [(name, value) for name, value in self.scope["headers"] if name not in dropped]
        if body:
            headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        return {
            **self.scope,
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query.encode(),
            "headers": headers,
        }

    async def body(self, max_bytes: int, seconds: float) -> bytes:
        """The whole body.

        Raises:
            RefusedError: 413 if it is too long, 408 if it is not here within `seconds`, 400 if the client goes away.
        """

        async def read() -> bytes:
            body = b""
            async for piece in self.pieces(seconds):
                body += piece
                if len(body) > max_bytes:
                    raise RefusedError(413, f"body: more than {max_bytes:,} bytes given; shorten the text")
            return body

        try:
            return await asyncio.wait_for(read(), seconds)
        except asyncio.TimeoutError as error:
            raise _too_slow(seconds) from error

    async def pieces(self, silence_s: float) -> AsyncIterator[bytes]:
        """The body as it arrives.

        Raises:
            RefusedError: 408 if nothing comes for `silence_s`, 400 if the client goes away.
        """
        while not self._is_read:
            try:
                message = await asyncio.wait_for(self.receive(), silence_s)
            except asyncio.TimeoutError as error:
                self._is_read = True
                raise _too_slow(silence_s) from error
            self._is_read = not message.get("more_body", False)
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "body: the client went away before its end")
            yield message.get("body", b"")

    async def drain(self, seconds: float) -> None:
        """Take in the rest of a refused body, since browsers show no answer that comes before they have sent all."""

        async def read() -> None:
            async for _ in self.pieces(seconds):
                pass

        with suppress(RefusedError, asyncio.TimeoutError):
            await asyncio.wait_for(read(), seconds)

    def receiving(self, body: bytes) -> Callable[[], Awaitable[dict[str, Any]]]:
        """What gives gradio this body, and later the news that the client has gone."""
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return messages.pop() if messages else await self.receive()

        return receive

    async def send(self, message: dict[str, Any]) -> None:
        """See ASGI."""
        self._is_answered = True
        await self._send(message)

    async def answer(self, status: int, body: bytes, kind: str) -> None:
        """A whole answer."""
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def refuse(self, refusal: RefusedError) -> None:
        """One line, in the form in which the page shows it."""
        if self._is_answered:
            return
        if self.path in self.told_as_json:
            await self.answer(refusal.status, json.dumps({"detail": str(refusal)}).encode(), "application/json")
        else:
            await self.answer(refusal.status, f"{refusal}\n".encode(), "text/plain; charset=utf-8")


def _too_slow(seconds: float) -> RefusedError:
    return RefusedError(408, f"body: nothing arrived within {seconds:g} seconds; send it again")
