"""`anygpt demo`, started and ended as people do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.pipelines.demo.visitor import Visitor

EXIT_S = 120
MANY_STEPS = 200


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


def test_an_interrupt_under_load_leaves_no_file(
    browser: Any, stack_file: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with demo(free_port(), "-c", str(stack_file), TMPDIR=str(tmp_path)) as url:
        people = [Visitor(browser, url) for _ in range(2)]
        for person in people:
            person.allow("image")
            person.set("Steps", str(MANY_STEPS))
            person.say("Draw it.")
        for person in people:
            person.wait_for_text(f"of {MANY_STEPS}")
        assert list(tmp_path.glob("anygpt-demo-*"))
        people[0].page.close()
    for person in people:
        person.context.close()
    assert not list(tmp_path.iterdir())
