"""A really running service over the embedded default, on either executor."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import openai
import pytest

from anygpt import AnyGPT
from anygpt.config.schema import ServiceLimits
from pipelines.serving.server import Server, make_server

KEY = "a-key"
WAIT_S = 120


@dataclass
class Running:
    """A service and how to reach it."""

    model: AnyGPT
    url: str
    server: Server

    @property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=WAIT_S)

    @property
    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=WAIT_S)


@contextmanager
def running(model: AnyGPT, api_key: str | None = KEY) -> Iterator[Running]:
    """Serve a model on a free port until the block ends."""
    server = make_server(model, "127.0.0.1", 0, api_key)
    thread = threading.Thread(target=server.run, name="test-server")
    thread.start()
    deadline = time.monotonic() + WAIT_S
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Running(model, f"http://127.0.0.1:{port}", server)
    finally:
        server.should_exit = True
        thread.join(WAIT_S)


@pytest.fixture(scope="session")
def local_service(tiny: AnyGPT) -> Iterator[Running]:
    with running(tiny) as service:
        yield service


@pytest.fixture(scope="session")
def ray_service(ray_tiny: AnyGPT) -> Iterator[Running]:
    with running(ray_tiny) as service:
        yield service


@pytest.fixture(params=["local", "ray"])
def service(request: pytest.FixtureRequest) -> Running:
    """The service on both executors in turn."""
    return request.getfixturevalue(f"{request.param}_service")


def reconfigured(model: AnyGPT, **service: Any) -> AnyGPT:
    """The same loaded stack under other settings of the service."""
    other = AnyGPT.__new__(AnyGPT)
    other.__dict__.update(model.__dict__, config=replace(model.config, service=ServiceLimits(**service)))
    return other


@pytest.fixture(scope="session")
def open_service(tiny: AnyGPT) -> Iterator[Running]:
    """A service for pages of other origins and for clients that know no media."""
    settings: dict[str, Any] = {
        "allowed_origins": ["https://chat.example.org"],
        "markdown_media": True,
        "model_aliases": {"gpt-4o": "tiny"},
        "metrics_key": True,
    }
    with running(reconfigured(tiny, **settings)) as service:
        yield service
