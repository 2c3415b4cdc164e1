"""Clients that ask and then take in nothing of the answer, or little at a time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn

from pipelines.serving import server
from pipelines.serving.server import Protocol, Server

BODY = bytes(8_000_000)  # more than the kernel keeps for a connection
ASK = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@contextmanager
def serving(write_timeout_s: float, left: threading.Event, pieces: int = 1) -> Iterator[tuple[Server, tuple[str, int]]]:
    """A server whose answer is `BODY`, in one message or in several; `left` is set when its app has ended."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for number in range(pieces):
                piece = BODY[: len(BODY) // pieces]
                await send({"type": "http.response.body", "body": piece, "more_body": number + 1 < pieces})
        finally:
            left.set()

    protocol = partial(Protocol, write_timeout_s=write_timeout_s)
    config = uvicorn.Config(
        app, port=0, http=protocol, lifespan="off", log_level="critical", timeout_graceful_shutdown=30
    )
    running = Server(config, lambda: None)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    try:
        yield running, running.servers[0].sockets[0].getsockname()
    finally:
        running.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def connected(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, timeout=20)
    connection.sendall(ASK)
    return connection


@pytest.mark.parametrize("pieces", [1, 100])
def test_client_that_takes_in_nothing_is_given_up(pieces):
    left = threading.Event()
    with serving(0.3, left, pieces) as (running, address), connected(address):
        assert left.wait(20)
        deadline = time.monotonic() + 20
        while running.server_state.connections:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_client_that_reads_slowly_gets_the_whole_answer():
    with serving(1.0, threading.Event()) as (_, address), connected(address) as connection:
        started, taken = time.monotonic(), 0
        while piece := connection.recv(1 << 16):
            taken += len(piece)
            time.sleep(0.02)
    assert time.monotonic() - started > 1.0
    assert taken > len(BODY)


def test_client_that_takes_in_nothing_does_not_hold_a_stop(monkeypatch):
    monkeypatch.setattr(server, "GRACE_S", 0.2)
    for pieces in (1, 100):
        left = threading.Event()
        with serving(600, left, pieces) as (running, address), connected(address):
            while not any(connection.flow.write_paused for connection in running.server_state.connections):
                time.sleep(0.01)
            started = time.monotonic()
            running.should_exit = True
            assert left.wait(10)
            while running.server_state.connections and time.monotonic() - started < 10:
                time.sleep(0.01)
            assert not running.server_state.connections
