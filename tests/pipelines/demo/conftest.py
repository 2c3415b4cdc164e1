"""A real browser: an installed Chromium, else the one that Playwright downloaded."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.demo.visitor import Visitor

INSTALLED = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_GET_ONE = "no browser: apt-get install chromium, or: playwright install chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-background-networking",
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),  # 3D without a GPU
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),  # a microphone that beeps
]


def found_browser(playwright: Any) -> str | None:
    """The path of a browser, if there is one."""
    paths = [*map(shutil.which, INSTALLED), playwright.chromium.executable_path]
    return next((path for path in paths if path and Path(path).exists()), None)


# Of a module, not of the session: while Playwright runs, its event loop counts as running in the main thread, where the
# tests of other modules call asyncio.run.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A running browser. Without one the test skips, or fails where ANYGPT_REQUIRE_BROWSER=1."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = found_browser(playwright)
        if path is None:
            (pytest.fail if os.environ.get("ANYGPT_REQUIRE_BROWSER") == "1" else pytest.skip)(HOW_TO_GET_ONE)
        launched = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def meet(browser: Any, address: str) -> Iterator[Callable[[], Visitor]]:
    """Lets people visit the page at the module's `address`."""
    visitors: list[Visitor] = []

    def visit() -> Visitor:
        visitors.append(Visitor(browser, address))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()


@pytest.fixture
def visitor(meet: Callable[[], Visitor]) -> Visitor:
    return meet()


@pytest.fixture(scope="session")
def free_port() -> Any:
    """Gives a port that nobody listens on."""

    def port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return port
