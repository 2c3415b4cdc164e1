"""A service that is told to stop while requests are under way, and connections that say nothing."""

from __future__ import annotations

import signal
import socket
import threading
import time
from typing import Any

import httpx
import pytest

from anygpt import AnyGPT
from pipelines.serving import server
from tests.pipelines.serving.conftest import KEY, WAIT_S, Running, running

LONG = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Show me a video of a red circle moving left."}],
    "modalities": ["text", "video"],
    "steps": 100,
}


@pytest.fixture(params=["tiny", "ray_tiny"])
def model(request: pytest.FixtureRequest) -> AnyGPT:
    """The embedded default on both executors in turn."""
    return request.getfixturevalue(request.param)


def ask_until_stopped(service: Running, body: dict[str, Any], answers: list[httpx.Response]) -> threading.Thread:
    def ask() -> None:
        with service.http as client:
            answers.append(client.post("/v1/chat/completions", json=body))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def wait_until_under_way(service: Running, number: int) -> None:
    deadline = time.monotonic() + WAIT_S
    with service.http as client:
        while f"anygpt_requests_in_flight {number}.0" not in client.get("/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_service_that_stops_tells_those_who_wait(model, monkeypatch):
    monkeypatch.setattr(server, "GRACE_S", 0.3)
    whole: list[httpx.Response] = []
    streamed: list[httpx.Response] = []
    with running(model) as service:
        asking = [
            *(ask_until_stopped(service, {**LONG, "seed": seed}, whole) for seed in range(3)),
            ask_until_stopped(service, {**LONG, "stream": True}, streamed),
        ]
        wait_until_under_way(service, 4)
        started = time.monotonic()
    assert time.monotonic() - started < server.GRACE_S + server.ANSWER_S
    for thread in asking:
        thread.join()
    assert [answer.status_code for answer in whole] == [503] * 3
    for answer in whole:
        assert answer.json()["error"]["message"] == "the service is stopping; try again"
        assert answer.headers["retry-after"] == "1"
    assert streamed[0].text.endswith(
        'data: {"error": {"message": "the service is stopping; try again", "type": "service_unavailable_error", '
        '"param": null, "code": "stopping"}}\n\ndata: [DONE]\n\n'
    )


def test_second_signal_stops_at_once(tiny):
    answers: list[httpx.Response] = []
    with running(tiny) as service:
        asking = ask_until_stopped(service, LONG, answers)
        wait_until_under_way(service, 1)
        started = time.monotonic()
        for _ in range(2):
            service.server.handle_exit(signal.SIGINT, None)
    asking.join()
    assert time.monotonic() - started < server.GRACE_S
    assert answers[0].status_code == 503
    assert not service.server.force_exit


def test_service_that_stops_tells_those_whose_body_is_on_its_way(tiny, monkeypatch):
    monkeypatch.setattr(server, "GRACE_S", 0.3)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n"
    with running(tiny) as service:
        url = httpx.URL(service.url)
        connection = socket.create_connection((url.host, url.port), timeout=WAIT_S)
        connection.sendall(head + f"Authorization: Bearer {KEY}\r\n\r\n{{".encode())
        time.sleep(0.2)
    with connection:
        answer = connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"the service is stopping; try again" in answer


def test_replies_under_way_may_end_within_the_grace(tiny, monkeypatch):
    monkeypatch.setattr(server, "GRACE_S", 60)
    answers: list[httpx.Response] = []
    with running(tiny) as service:
        asking = ask_until_stopped(service, {**LONG, "steps": 10}, answers)
        wait_until_under_way(service, 1)
    asking.join()
    assert answers[0].status_code == 200
    assert len(answers[0].json()["choices"][0]["message"]["videos"]) == 1


def test_connection_without_a_request_is_closed(tiny, monkeypatch):
    monkeypatch.setattr(server, "HEADERS_S", 0.5)
    with running(tiny) as service:
        url = httpx.URL(service.url)
        for said in (b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"):
            with socket.create_connection((url.host, url.port), timeout=10) as connection:
                connection.sendall(said)
                assert connection.recv(1) == b""
        with socket.create_connection((url.host, url.port), timeout=10) as connection:  # also after an answer
            connection.sendall(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
            connection.sendall(b"GET /live HTTP/1.1\r\n")
            assert connection.recv(10_000) in (b"", b'{"status":"live"}')
            assert connection.recv(10_000) == b""
        with service.http as client:
            assert client.get("/live").status_code == 200  # others are not touched
