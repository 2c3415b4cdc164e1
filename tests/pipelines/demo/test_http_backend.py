"""The HTTP backend against a real server that plays recorded answers."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from anygpt.errors import AnyGPTError, RequestError, StageError
from anygpt.events import Done, Event, MediaFailed, MediaProgress, MediaReady, MediaStarted, TextDelta
from anygpt.media import to_data_url
from anygpt.media.kinds import KINDS
from anygpt.messages import MediumRef, Message
from pipelines.demo.backends import MediaReceived, SeedUsed
from pipelines.demo.http_backend import HttpBackend
from pipelines.tiny.world.rendering import render
from pipelines.tiny.world.scenes import Scene

WAIT_S = 30
HELLO = [Message("user", "Hello")]
MODELS = {"data": [{"id": "tiny", "output_modalities": ["text", "image", "smell"]}]}


class Service(ThreadingHTTPServer):
    """Answers every request for a reply with `status` and `pieces`, and remembers what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.models: Any = MODELS
        self.status = 200
        self.pieces: list[bytes] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.promised_bytes: int | None = None
        self.hangs = False
        self.left = threading.Event()


class Answer(BaseHTTPRequestHandler):
    server: Service

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.keys.append(self.headers["Authorization"])
        self.begin(200)
        self.wfile.write(json.dumps(self.server.models).encode())

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.begin(self.server.status)
        for piece in self.server.pieces:
            self.wfile.write(piece)
            self.wfile.flush()
        if self.server.hangs:
            self.connection.settimeout(WAIT_S)
            if not self.connection.recv(1):
                self.server.left.set()

    def begin(self, status: int) -> None:
        self.send_response(status)
        if self.command == "POST" and self.server.promised_bytes:
            self.send_header("Content-Length", str(self.server.promised_bytes))
        self.end_headers()


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def chunk(finish_reason: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    body = {"id": "1", "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def stream(service: Service, conversation: list[Message] = HELLO, **options: Any) -> list[Event]:
    async def collect() -> list[Event]:
        return [event async for event in HttpBackend(service.url).stream(conversation, options)]

    return asyncio.run(collect())


def test_a_stream_becomes_events(service, picture):
    place = {"type": "image", "index": 1, "text_offset": 6}
    item = {"type": "image_url", "image_url": {"url": to_data_url(picture)}, "index": 1, "text_offset": 6}
    service.pieces = [
        b": a comment\n\n",
        chunk(role="assistant", content=""),
        chunk(content="Here: "),
        chunk(progress=[{**place, "step": 0, "steps": None}]),
        chunk(progress=[{**place, "step": 1, "steps": 12}]),
        chunk(content="."),
        chunk(images=[item]),
        chunk(progress=[{**place, "index": 3, "step": 0, "steps": None}]),
        chunk(errors=[{"type": "image", "index": 3, "stage": "generators.image", "message": "broken"}]),
        chunk("length"),
        DONE,
    ]
    *events, done = stream(service)
    ready = next(event for event in events if isinstance(event, MediaReady))
    assert np.array_equal(np.asarray(ready.medium), np.asarray(picture))
    assert [event for event in events if event is not ready] == [
        TextDelta(0, "Here: "),
        MediaStarted(0, 0, "image"),
        MediaProgress(0, 0, 1, 12),
        TextDelta(0, "."),
        MediaStarted(0, 1, "image"),
        MediaFailed(0, 1, "image", "generators.image", "broken"),
    ]
    assert isinstance(done, Done)
    assert done.finish_reason == "length"


def test_the_seed_that_the_service_tells_comes_first_and_once(service):
    body = json.loads(chunk(content="Hi").removeprefix(b"data: "))
    service.pieces = 2 * [b"data: " + json.dumps({**body, "seed": 0}).encode() + b"\n\n"] + [DONE]
    assert stream(service)[:-1] == [SeedUsed(0), TextDelta(0, "Hi"), TextDelta(0, "Hi")]
    assert "seed" not in service.bodies[0]


def test_a_picture_without_progress_has_a_place_as_well(service, picture):
    item = {"type": "image_url", "image_url": {"url": to_data_url(picture)}, "index": 0}
    service.pieces = [chunk(images=[item]), DONE]
    assert [type(event) for event in stream(service)] == [MediaStarted, MediaReceived, Done]


def test_a_received_file_is_handed_on_as_it_came(service):
    sent = KINDS["video"].encode(render(Scene("star", "red").in_modality("video"), "video"))
    url = f"data:video/mp4;base64,{base64.b64encode(sent).decode()}"
    service.pieces = [chunk(videos=[{"type": "video_url", "video_url": {"url": url}, "index": 0}]), DONE]
    _, received, _ = stream(service)
    assert isinstance(received, MediaReceived)
    assert received.file == sent
    assert len(received.medium.frames) == 8


def test_a_received_medium_that_cannot_be_read_costs_its_own_place(service):
    item = {"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,AAAA"}, "index": 0}
    service.pieces = [chunk(audios=[item]), chunk(content="There."), DONE]
    _, lost, text, _ = stream(service)
    assert isinstance(lost, MediaFailed)
    assert (lost.modality, lost.stage) == ("audio", "service")
    assert "not audio that can be decoded" in lost.message
    assert text == TextDelta(0, "There.")


def test_text_arrives_whole_however_it_is_cut(service):
    text = "ü\u2028line\u0085 \x1c 🙂"
    sent = chunk(content=text) + DONE
    service.pieces = [sent[at : at + 1] for at in range(len(sent))]
    assert stream(service)[0] == TextDelta(0, text)


def test_the_conversation_and_the_options_are_sent(service, picture):
    service.pieces = [DONE]
    conversation = [
        Message("system", "Be kind."),
        Message("user", [picture, "What?"]),
        Message("assistant", ["A star: ", picture, "and ", MediumRef("image"), "done"]),
        Message("user", "Draw it"),
        Message("assistant", [picture]),
        Message("user", "Thanks"),
    ]
    stream(service, conversation, seed=4, modalities=["text"])
    (body,) = service.bodies
    image = {"type": "image_url", "image_url": {"url": to_data_url(picture)}}
    assert body == {
        "model": "tiny",
        "stream": True,
        "markdown_media": False,
        "seed": 4,
        "modalities": ["text"],
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [image, {"type": "text", "text": "What?"}]},
            {
                "role": "assistant",
                "content": "A star: and done",
                "images": [{**image, "index": 1, "text_offset": 8}],
                "errors": [{"type": "image", "index": 3, "text_offset": 12}],
            },
            {"role": "user", "content": "Draw it"},
            {"role": "assistant", "content": None, "images": [{**image, "index": 0, "text_offset": 0}]},
            {"role": "user", "content": "Thanks"},
        ],
    }


def test_the_service_says_what_it_produces(service):
    backend = HttpBackend(service.url + "/v1/", api_key="secret")
    assert (backend.model_name, backend.output_modalities) == ("tiny", ("image",))
    assert service.keys == ["Bearer secret"]
    service.models = {"data": [{"id": "plain"}]}
    assert HttpBackend(service.url).output_modalities == ()


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, b'{"error": {"message": "seed: -1 given"}}', RequestError, "^seed: -1 given"),
        (503, b'{"error": {"message": "too busy"}}', StageError, "^stage 'service': too busy"),
        (502, b"<html>", StageError, "an answer of HTTP status 502 that is no anygpt service's"),
        (200, b'data: {"error": {"message": "lost"}}\n\n', StageError, "^stage 'service': lost"),
        (200, b"data: {]\n\n", StageError, "sent what is no chat completion chunk: '{]'"),
        (200, b'data: {"choices": 1}\n\n', StageError, "sent what is no chat completion chunk"),
        (200, chunk(content="Hel"), StageError, "the connection ended in the middle of the reply; ask again"),
    ],
)
def test_a_failing_service_is_told_in_words(service, status, body, kind, message):
    service.status, service.pieces = status, [body]
    with pytest.raises(kind, match=message):
        stream(service)


def test_a_connection_that_breaks_is_told_in_words(service):
    service.pieces, service.promised_bytes = [chunk(content="Hel")], 9999
    with pytest.raises(StageError, match=r"^stage 'service': the connection broke \(.+\); ask again"):
        stream(service)


def test_a_service_that_is_not_there_is_told_in_words(free_port, service):
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StageError, match=f"{url}/v1 cannot be reached .* start it with 'anygpt serve'"):
        HttpBackend(url)
    backend = HttpBackend(service.url)
    backend.base_url = url + "/v1"

    async def ask() -> None:
        await anext(backend.stream(HELLO, {}))

    with pytest.raises(StageError, match="cannot be reached"):
        asyncio.run(ask())


@pytest.mark.parametrize("models", [{}, {"data": []}, []])
def test_what_lists_no_model_is_no_service(service, models):
    service.models = models
    with pytest.raises(RequestError, match="/v1/models lists no model, expected an anygpt service"):
        HttpBackend(service.url)


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host", "http://[", "http://host:port"])
def test_what_is_no_address_is_told_in_words(url):
    with pytest.raises(AnyGPTError, match="cannot be reached"):
        HttpBackend(url)


def test_leaving_early_closes_the_connection(service):
    service.pieces, service.hangs = [chunk(content="Hel")], True

    async def leave() -> None:
        async with aclosing(HttpBackend(service.url).stream(HELLO, {})) as events:
            assert await anext(events) == TextDelta(0, "Hel")

    asyncio.run(leave())
    assert service.left.wait(WAIT_S)
