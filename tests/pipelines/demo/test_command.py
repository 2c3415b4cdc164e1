"""`anygpt demo`, started and ended as people do."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request


def test_demo_serves_the_page_until_it_is_interrupted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pipelines", "demo", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            line = program.stdout.readline() if program.stdout else ""
            url = re.fullmatch(r"anygpt: the page is at (\S+) \(Ctrl-C ends it\)\n", line)
            assert url, program.communicate(timeout=60)
            with urllib.request.urlopen(url[1], timeout=60) as page:
                assert page.status == 200
        finally:
            program.send_signal(signal.SIGINT)
        assert program.wait(60) == 0
        assert "Traceback" not in (program.stderr.read() if program.stderr else "")
