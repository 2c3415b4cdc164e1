"""The most memory that a process had, by Linux's own count.

`ru_maxrss` will not do: a new process begins with the peak of the one that started it.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOOK_EVERY_S = 0.02
TIMEOUT_S = 600


def peak_kib(process: int | str = "self") -> int:
    """The most KiB that a process has had resident since its program began; 0 once it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) if found else 0


def run_measured(command: Sequence[Any], **options: Any) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run a command that prints little; its end, and the most KiB that it had. After `TIMEOUT_S` it is killed."""
    peak, timeout = 0, time.monotonic() + TIMEOUT_S
    with subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    ) as process:
        while process.poll() is None:
            peak = max(peak, peak_kib(process.pid))
            if time.monotonic() > timeout:
                process.kill()
            time.sleep(LOOK_EVERY_S)
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err), peak
