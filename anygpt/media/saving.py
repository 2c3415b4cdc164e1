"""Where the bytes of a medium go: into a file that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from anygpt.errors import MediaError
from anygpt.media.sources import one_line, source_name


def write_atomically(path: str | os.PathLike[str], data: bytes, *, medium: str) -> None:
    """Write `data` to a temporary file beside `path`, then rename it to `path`.

    Args:
        path: a file to make or replace; its folder must exist.
        data: the file's whole content.
        medium: "image", "audio", ...: names the file in messages.
    Raises:
        MediaError: if the folder is missing, `path` is there but no regular file, or writing fails.
    """
    name = source_name(path, medium)
    target = Path(os.fsdecode(path))
    # Not named after the target: the name with an addition could be longer than the file system allows.
    temporary = target.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        if target.exists() and not target.is_file():
            raise MediaError(
                f"{name}: a folder, pipe or device is there, expected a regular file or none; choose another name"
            )
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except MediaError:
        raise
    except (OSError, ValueError) as error:
        reason = one_line(getattr(error, "strerror", None) or str(error)).lower()
        raise MediaError(
            f"{name}: cannot be written ({reason}), expected a folder that exists and has room; "
            "make it or choose another path"
        ) from error


def check_suffix(path: Any, suffix: str, medium: str, reason: str) -> None:
    """Refuse to save to a path that does not end in `suffix`."""
    if not isinstance(path, (str, os.PathLike)) or not os.fsdecode(path).lower().endswith(suffix):
        raise MediaError(
            f"{source_name(path, medium)}: a place to save to given, expected a path that ends in '{suffix}'; "
            f"change the ending, as {reason}"
        )
