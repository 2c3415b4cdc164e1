"""A stream to a client that takes nothing in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pipelines.serving.app import EventStream

SCOPE = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}}


def test_stream_gives_up_a_client_that_does_not_read() -> None:
    cancelled, ended, sent = [], [], []

    async def events() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if len(sent) == 2:
            await asyncio.Event().wait()  # the client's buffer is full, and stays so

    async def receive() -> Any:
        await asyncio.Event().wait()

    stream = EventStream(events(), write_timeout_s=0.05, cancel=lambda: cancelled.append(True))
    stream.when_ended = ended.append
    asyncio.run(stream(SCOPE, receive, send))
    assert (cancelled, ended) == ([True], [200])
    assert sent == ["http.response.start", "http.response.body"]
