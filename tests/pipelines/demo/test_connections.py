"""Proxies and certificates of the environment, over a real proxy that counts what it is asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from anygpt.errors import RequestError, StageError
from anygpt.events import Done
from anygpt.messages import Message
from pipelines.demo.connections import EXCEPTIONS, PROXIES, is_on_this_machine
from pipelines.demo.http_backend import HttpBackend
from tests.pipelines.demo.test_http_backend import DONE, Service

UNUSABLE = {
    "an unknown scheme": ("HTTP_PROXY", "garbage://x", r"^HTTP_PROXY: cannot be used \(Unknown scheme"),
    "no port": ("all_proxy", "http://h:port", r"^all_proxy: cannot be used \("),
    "socks without the extra": ("ALL_PROXY", "socks5://h:1", r"^ALL_PROXY: cannot be used \(Using SOCKS proxy"),
    "no host names": ("NO_PROXY", "[::1", r"^NO_PROXY: cannot be used \(.*, or names of hosts in NO_PROXY; corr"),
}


class Proxy(BaseHTTPRequestHandler):
    """Answers as a service that lists one model, and remembers the addresses that it was asked for."""

    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "far"}]}')

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *EXCEPTIONS):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def proxy() -> Iterator[ThreadingHTTPServer]:
    class Handler(Proxy):
        asked: ClassVar[list[str]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("names", [("HTTP_PROXY", "http_proxy"), ("ALL_PROXY",), ("all_proxy",)])
def test_a_service_elsewhere_is_reached_through_the_proxy(monkeypatch, proxy, names):
    for name in names:
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
    assert HttpBackend("http://service.example:8000").model_name == "far"
    assert proxy.RequestHandlerClass.asked == ["http://service.example:8000/v1/models"]


@pytest.mark.parametrize("no_proxy", [None, "", "service.example", "*", "http://["])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_service_on_this_machine_is_reached_directly(monkeypatch, proxy, service, host, no_proxy):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
    if no_proxy is not None:
        monkeypatch.setenv("NO_PROXY", no_proxy)
    service.pieces = [DONE]
    backend = HttpBackend(f"http://{host}:{service.server_port}")
    assert backend.model_name == "tiny"

    async def ask() -> list[Any]:
        return [event async for event in backend.stream([Message("user", "Hello")], {})]

    assert isinstance(asyncio.run(ask())[-1], Done)
    assert proxy.RequestHandlerClass.asked == []


@pytest.mark.parametrize(("name", "value", "said"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_proxy_that_cannot_be_used_is_told_in_words(monkeypatch, service, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(RequestError, match=said):
        HttpBackend("http://service.example:8000")
    assert HttpBackend(service.url).model_name == "tiny"


def test_passwords_of_proxies_are_not_told(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@h:port")
    with pytest.raises(RequestError, match=r"^HTTP_PROXY: cannot be used") as caught:
        HttpBackend("http://service.example:8000")
    assert "secret" not in str(caught.value)


def test_a_proxy_that_is_not_there_is_named(monkeypatch, free_port):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(
        StageError, match=r"cannot be reached \(.*\); start it with 'anygpt serve'; or correct HTTP_PROXY$"
    ):
        HttpBackend("http://service.example:8000")


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSLKEYLOGFILE"])
def test_certificates_that_cannot_be_read_are_told_and_do_not_hinder_this_machine(monkeypatch, service, tmp_path, name):
    monkeypatch.setenv(name, str(tmp_path / "no" / "file"))
    with pytest.raises(RequestError, match=rf"{name}.*: cannot be used \(No such file or directory\), expected cert"):
        HttpBackend("https://service.example")
    assert HttpBackend(service.url).model_name == "tiny"


def test_addresses_on_this_machine():
    for url in ("http://127.0.0.1:8000/v1", "http://localhost", "https://[::1]:1", "http://LOCALHOST/"):
        assert is_on_this_machine(url)
    for url in ("http://service.example", "http://10.0.0.1", "", "http://[", "localhost"):
        assert not is_on_this_machine(url)
