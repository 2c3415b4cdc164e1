"""Small requests that would take long or much memory: bounded, ended with their client, and nobody else waits."""

from __future__ import annotations

import base64
import json
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import psutil
import pytest

from anygpt import AnyGPT
from anygpt.media import VideoLimits
from anygpt.media.kinds import KINDS
from pipelines.serving.bodies_in_flight import RECEIVING_PER_PLACE
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.scenes import Scene
from tests.pipelines.media_decoding.test_pool import slow_gif
from tests.pipelines.serving.conftest import KEY, Running, reconfigured, running

CHAT = "/v1/chat/completions"
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
DEADLINE_S = 4.0


@pytest.fixture(scope="module")
def service(tiny: AnyGPT) -> Any:
    """A service whose own deadline is what ends slow videos, and that holds few bytes of bodies."""
    limits = replace(tiny.config.limits, decode_timeout_s=DEADLINE_S, video=VideoLimits(max_total_pixels=10**15))
    other = reconfigured(tiny, max_body_bytes_in_flight=20_000_000, max_requests=4)
    other.config = replace(other.config, limits=limits)
    with running(other) as started:
        yield started


def asked_about(*media: tuple[str, bytes, str]) -> dict[str, Any]:
    parts = [
        {"type": kind, kind: {"url": f"data:{mime};base64,{base64.b64encode(data).decode()}"}}
        for kind, data, mime in media
    ]
    return {**HELLO, "messages": [{"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}]}


SLOW = asked_about(("video_url", slow_gif(), "video/gif"))
PICTURE = asked_about(("image_url", KINDS["image"].encode(render_image(Scene("star", "red"), 1)), "image/png"))


def sent(service: Running, body: dict[str, Any], *, length: int | None = None) -> socket.socket:
    """A connection on which a request was sent, whole or promising more."""
    data = json.dumps(body).encode()
    host, port = service.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {length or len(data)}\r\n\r\n".encode() + data)
    return connection


def working(service: Running) -> int:
    """How many processes decode."""
    return len(service.server.config.app.state.service.decoders.working)  # type: ignore[union-attr]


def until(condition: Any, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def test_slow_video_is_refused_at_the_deadline_and_others_do_not_wait(service):
    with ExitStack() as open_connections:
        connections = [open_connections.enter_context(sent(service, SLOW)) for _ in range(6)]
        assert until(lambda: working(service))
        with service.http as http:
            for body in (HELLO, PICTURE):
                started = time.monotonic()
                answer = http.post(CHAT, json=body)
                assert answer.status_code == 200, answer.text
                assert time.monotonic() - started < 15
        answers = [connection.recv(65536).decode() for connection in connections]
    for told in answers:
        assert told.startswith("HTTP/1.1 400")
        assert "limits.decode_timeout_s=4 seconds" in told


def test_decoding_ends_when_the_client_goes(service):
    with sent(service, SLOW):
        assert until(lambda: working(service))
    assert until(lambda: not working(service), seconds=DEADLINE_S - 1)


def test_many_media_share_one_deadline(service):
    body = asked_about(*[("video_url", slow_gif(700), "video/gif")] * 12)
    started = time.monotonic()
    with service.http as http:
        answer = http.post(CHAT, json=body)
    assert (answer.status_code, "limits.decode_timeout_s=4" in answer.text) == (400, True), answer.text[:300]
    assert time.monotonic() - started < DEADLINE_S + 10


def test_bodies_on_their_way_are_bounded_in_sum_and_freed(service):
    before = psutil.Process().memory_info().rss
    promised = 15_000_000
    padding = {**HELLO, "user": "x" * 14_000_000}
    held = service.server.config.app.state.service.bodies  # type: ignore[union-attr]
    with ExitStack() as open_connections:
        for _ in range(RECEIVING_PER_PLACE):
            open_connections.enter_context(sent(service, padding, length=promised))
        time.sleep(0.5)
        assert 0 < held.held_bytes <= 20_000_000
    assert until(lambda: held.held_bytes == 0)
    assert psutil.Process().memory_info().rss - before < 60_000_000
    with service.http as http:
        assert http.post(CHAT, json=HELLO).status_code == 200


def test_body_beyond_the_sum_is_told_to_come_back(service):
    held = service.server.config.app.state.service.bodies  # type: ignore[union-attr]
    with sent(service, {**HELLO, "user": "x" * 14_000_000}, length=15_000_000), service.http as http:
        assert until(lambda: held.held_bytes > 14_000_000)
        try:
            answer = http.post(CHAT, json={**HELLO, "user": "x" * 14_000_000})
            assert answer.status_code == 429
            assert "bodies of more than 20000000 bytes are being received; try again later" in answer.text
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            pass  # the service hung up on the rest
        assert http.post(CHAT, json=HELLO).status_code == 200
    assert until(lambda: held.held_bytes == 0)
