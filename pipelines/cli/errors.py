"""How the command line tells an error, and its exit codes.

0 success, 1 failure while running, 2 bad usage or bad input, 130 interrupted.
"""

from __future__ import annotations

import sys
import traceback

from pipelines.cli.error_line import error_line

INTERRUPTED = 130


def fail(message: str, code: int, debug: bool) -> int:
    """One line on stderr."""
    if debug:
        traceback.print_exc()
    print(error_line(message), file=sys.stderr)
    return code
