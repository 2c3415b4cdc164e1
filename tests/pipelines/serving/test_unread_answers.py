"""Clients that ask and then take in nothing of the answer, or little at a time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

from pipelines.serving import server
from pipelines.serving.server import Protocol, Server

BODY = bytes(8_000_000)  # more than the kernel keeps for a connection
ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@contextmanager
def serving(
    write_timeout_s: float, left: threading.Event, pieces: int = 1, size: int | None = len(BODY)
) -> Iterator[tuple[Server, tuple[str, int]]]:
    """A server that answers with `size` bytes, by default 30,000, in so many messages; `left` is set when its app has
    ended."""
    body = BODY[: size or 30_000]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for number in range(pieces):
                piece = body[: len(body) // pieces]
                await send({"type": "http.response.body", "body": piece, "more_body": number + 1 < pieces})
        finally:
            left.set()

    protocol = partial(Protocol, write_timeout_s=write_timeout_s)
    config = uvicorn.Config(
        app, port=0, http=protocol, lifespan="off", log_level="critical", timeout_graceful_shutdown=30
    )
    running = Server(config, SimpleNamespace(failure=None), lambda: None)
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


def connected(address: tuple[str, int], buffer_bytes: int | None = None) -> socket.socket:
    connection = socket.socket()
    if buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    connection.settimeout(20)
    connection.connect(address)
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
    with serving(1.0, threading.Event()) as (_, address), connected(address, 4096) as connection:
        taken, started = 0, time.monotonic()
        while taken < len(BODY):
            piece = connection.recv(1 << 16)
            assert piece, f"given up after {taken} bytes"
            taken += len(piece)
            if time.monotonic() - started < 3.0:
                time.sleep(0.05)  # so slow that the server's own buffer stands still meanwhile


@pytest.mark.parametrize(("size", "pieces"), [(8_000_000, 1), (8_000_000, 100), (None, 1)])
def test_client_that_takes_in_nothing_does_not_hold_a_stop(monkeypatch, size, pieces):
    """Also where so little is left that the server does not wait for the client before its next answer."""
    monkeypatch.setattr(server, "GRACE_S", 0.2)
    left = threading.Event()
    with serving(600, left, pieces, size) as (running, address), connected(address, 2048) as connection:
        while not any(one.transport.get_write_buffer_size() for one in running.server_state.connections):
            if size is None:
                connection.sendall(ASK)
            time.sleep(0.01)
        started = time.monotonic()
        running.should_exit = True
        assert left.wait(10)
        while running.server_state.connections and time.monotonic() - started < 10:
            time.sleep(0.01)
        assert not running.server_state.connections


def test_garbage_after_an_early_answer_closes_the_connection(caplog):
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(600, threading.Event(), size=5) as (_, address), socket.create_connection(address, 20) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.sendall(b"ZZZ\r\nxx\r\n")
        while connection.recv(100):
            pass
    assert not caplog.records
