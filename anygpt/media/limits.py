"""Checks that the limits of every kind of medium share."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anygpt.errors import ConfigError, MediaError


def check_limits(limits: Any, *, whole: tuple[str, ...]) -> None:
    """Refuse limits whose fields named in `whole` are no integers of at least 1, or whose others are not above 0."""
    for name, value in vars(limits).items():
        if name in whole and (type(value) is not int or value < 1):
            raise ConfigError(f"{name}: {value!r} given, expected a whole number of at least 1; raise it")
        if name not in whole and (type(value) not in (int, float) or not 0 < value < math.inf):
            raise ConfigError(f"{name}: {value!r} given, expected a number above 0; raise it")


def check_duration(duration_s: float, name: str, max_duration_s: float) -> None:
    """Refuse what lasts too long."""
    if duration_s > max_duration_s:
        raise MediaError(
            f"{name}: {duration_s:,.1f} seconds given, expected at most {max_duration_s:,.1f}; "
            "cut it or raise max_duration_s"
        )


@contextmanager
def limits_of_config(modality: str) -> Iterator[None]:
    """Name a limit that a medium exceeds as configs have it: "raise limits.image.max_pixels"."""
    try:
        yield
    except MediaError as error:
        message = re.sub(r"\b(raise|lower) (max_\w+)", rf"\1 limits.{modality}.\2", str(error))
        if message == str(error):
            raise
        raise MediaError(message) from error
