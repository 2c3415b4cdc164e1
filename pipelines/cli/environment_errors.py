"""Libraries read environment variables while they are imported, and fail at values that they cannot use in words that
name no variable. This finds the variable."""

from __future__ import annotations

import linecache
import os
import re
import traceback

WARNINGS = "PYTHONWARNINGS"


def environment_line(error: BaseException) -> str | None:
    """What to mend, if an unforeseen error comes from a variable of the environment; None if it does not.

    A variable is at fault if the error quotes its value, and a file that was running names it.
    """
    seen = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        if isinstance(cause, Warning) and WARNINGS in os.environ:
            return f"{WARNINGS}: a library's warning ends the program ({type(cause).__name__}: {cause}); unset it"
        names = _at_fault(cause)
        if names:
            message = str(cause) or type(cause).__name__
            return f"{', '.join(names)}: a library cannot use the value ({message.strip()}); correct or unset it"
        cause = cause.__cause__ or cause.__context__
    return None


def _at_fault(error: BaseException) -> list[str]:
    quoted = [name for name, value in os.environ.items() if _quotes(str(error), value)]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        source = "".join(linecache.getlines(frame.filename))
        if names := [name for name in quoted if re.search(rf"""["']{re.escape(name)}["']""", source)]:
            return sorted(names)
    return []


def _quotes(message: str, value: str) -> bool:
    """True if the message holds the value as words of its own."""
    return bool(value.strip()) and re.search(rf"(?<!\w){re.escape(value.strip())}(?!\w)", message) is not None
