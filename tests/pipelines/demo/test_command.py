"""`anygpt demo`, started and ended as people do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.demo.test_http_backend import Service
from tests.pipelines.demo.visitor import Visitor

EXIT_S = 120
MANY_STEPS = 2000
# Of each, a value that gradio or a library of its fails at, or opens the page with.
WRONG = {
    "GRADIO_SHARE": "True",
    "GRADIO_ALLOWED_PATHS": "/",
    "GRADIO_ROOT_PATH": "http://evil.example/",
    "GRADIO_SERVER_NAME": "0.0.0.0",
    "GRADIO_SERVER_PORT": "many",
    "GRADIO_NUM_PORTS": "many",
    "GRADIO_TEMP_DIR": "/nonexistent",
    "GRADIO_SSR_MODE": "True",
    "GRADIO_NODE_SERVER_PORT": "many",
    "GRADIO_ANALYTICS_ENABLED": "True",
    "GRADIO_ANALYTICS_MAX_EVENTS": "many",
    "GRADIO_DEFAULT_CONCURRENCY_LIMIT": "many",
    "GRADIO_NUM_WORKERS": "many",
    "GRADIO_MCP_SERVER": "True",
    "GRADIO_VIBE_MODE": "1",
    "GRADIO_WATCH_DIRS": "/",
    "SYSTEM": "spaces",
    "SPACE_ID": "a/b",
    "WEB_CONCURRENCY": "many",
    "SSL_CERT_FILE": "/nonexistent",
    "SSLKEYLOGFILE": "/nonexistent/file",
    "NO_PROXY": "http://[",
    "HOME": "/nonexistent",
    "TMPDIR": "/nonexistent",
    "LC_ALL": "C",
    "PYTHONIOENCODING": "ascii",
    "COLUMNS": "many",
    "TERM": "dumb",
    "NO_COLOR": "1",
}


@contextmanager
def demo(port: int, *arguments: str, **environment: str) -> Iterator[str]:
    """The command at work; when the block ends it is interrupted, and must go at once without a word of trouble."""
    command = [sys.executable, "-m", "pipelines", "demo", "--port", str(port), *arguments]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, **environment}, **pipes) as program:
        try:
            line = program.stdout.readline() if program.stdout else ""
            url = re.fullmatch(r"anygpt: the page is at (\S+) \(Ctrl-C ends it\)\n", line)
            assert url, program.communicate(timeout=EXIT_S)
            yield url[1]
        finally:
            program.send_signal(signal.SIGINT)
        assert program.wait(EXIT_S) == 0
        assert "Traceback" not in (program.stderr.read() if program.stderr else "")


def test_demo_serves_the_page_until_it_is_interrupted(free_port: Callable[[], int]) -> None:
    with demo(free_port()) as url, urllib.request.urlopen(url, timeout=EXIT_S) as page:
        assert page.status == 200


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_no_variable_of_the_environment_hinders_or_opens_the_page(
    service: Service, free_port: Callable[[], int], tmp_path: Path
) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    with demo(free_port(), "--server", service.url, **proxies, **WRONG) as url:
        open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        with open_directly(f"{url}config", timeout=EXIT_S) as config:
            assert json.load(config)["root"] == url.rstrip("/")
        for path in ("etc/hostname", str(tmp_path)[1:]):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                open_directly(f"{url}gradio_api/file=/{path}", timeout=EXIT_S)


def test_an_interrupt_under_load_leaves_no_file(
    browser: Any, stack_file: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with demo(
        free_port(), "-c", str(stack_file), f"generators.image.max_steps={MANY_STEPS}", TMPDIR=str(tmp_path)
    ) as url:
        people = [Visitor(browser, url) for _ in range(2)]
        for person in people:
            person.allow("image")
            person.set("Steps", str(MANY_STEPS))
            person.say("Draw it.")
        people[0].wait_for_text(f"of {MANY_STEPS}")  # the other one waits for its turn
        assert list(tmp_path.glob("anygpt-demo-*"))
        people[0].page.close()
    for person in people:
        person.context.close()
    assert not list(tmp_path.iterdir())
