"""A real browser: an installed Chromium, else the one that Playwright downloaded."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

INSTALLED = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_GET_ONE = "no browser: apt-get install chromium, or: playwright install chromium"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


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


@pytest.fixture(scope="session")
def free_port() -> Any:
    """Gives a port that nobody listens on."""

    def port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return port
