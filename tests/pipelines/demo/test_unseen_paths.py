from __future__ import annotations

import asyncio
from typing import Any

from pipelines.demo.unseen_paths import UnseenPaths


def answer(kind: bytes, *bodies: bytes, is_head: bool = False) -> list[dict[str, Any]]:
    """What a browser gets of an answer in pieces."""
    sent: list[dict[str, Any]] = []

    async def run() -> None:
        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        unseen = UnseenPaths(send, lambda data: data.replace(b"/tmp/x", b"files"), is_head=is_head)
        headers = [(b"content-type", kind), (b"content-length", b"999")]
        await unseen.send({"type": "http.response.start", "status": 200, "headers": headers})
        for at, body in enumerate(bodies, 1):
            await unseen.send({"type": "http.response.body", "body": body, "more_body": at < len(bodies)})

    asyncio.run(run())
    return sent


def test_a_whole_answer_is_changed_as_a_whole_and_says_its_length():
    start, body = answer(b"application/json", b'{"path": "/tm', b'p/x/a"}')
    assert body["body"] == b'{"path": "files/a"}'
    assert dict(start["headers"])[b"content-length"] == b"19"


def test_a_stream_goes_on_line_by_line():
    _, *bodies = answer(b"text/event-stream; charset=utf-8", b"data: 1 /tmp/x\n\ndata: /tm", b"p/x 2\n", b"/tmp/x")
    assert [body["body"] for body in bodies] == [b"data: 1 files\n\n", b"data: files 2\n", b"files"]
    assert [body["more_body"] for body in bodies] == [True, True, False]


def test_an_answer_without_a_body_claims_no_length():
    start, body = answer(b"text/html", b"", is_head=True)
    assert body["body"] == b""
    assert b"content-length" not in dict(start["headers"])
