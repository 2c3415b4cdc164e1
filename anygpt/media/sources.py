"""Where the bytes of a medium come from: a path, bytes or a base64 data URL, read only as far as a limit allows."""

from __future__ import annotations

import base64
import os
import re
import stat
from typing import Any, TypeAlias

from anygpt.errors import MediaError

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DATA_URL_HEAD_CHARS = 512
_SHOWN_CHARS = 200


def one_line(text: str, most_chars: int = _SHOWN_CHARS) -> str:
    """`text` as a single printable line of about `most_chars` characters at most, for use in an error message."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * most_chars])
    line = " ".join(printable.split())
    return line if len(line) <= most_chars else line[:most_chars] + "…"


def source_name(source: Any, medium: str) -> str:
    """What error messages call a source: "image 'cat.png'", never more than one line, whatever the file is called."""
    if isinstance(source, (bytes, bytearray)):
        return f"{medium} given as bytes"
    if not isinstance(source, (str, os.PathLike)):
        return medium
    text = os.fsdecode(source)
    if _is_data_url(source):
        return f"{medium} data URL {text[:40] + '…'!r}"
    return f"{medium} {text if len(text) <= _SHOWN_CHARS else '…' + text[-_SHOWN_CHARS:]!r}"


def read_source(source: Source, *, medium: str, max_bytes: int) -> bytes:
    """Read a whole medium into memory, never more than `max_bytes` of it.

    Args:
        source: a path (str or PathLike), the file's bytes, or a data URL "data:<media type>;base64,...", whatever
            the media type is.
        medium: "image", "audio", ...: names the source in messages.
        max_bytes: most bytes of the (decoded) file, at least 1; checked before reading or decoding.
    Returns:
        The file's bytes, 1 to `max_bytes` of them.
    Raises:
        MediaError: if the source is empty, over the limit, remote, not a regular file, unreadable or malformed.
    """
    name = source_name(source, medium)
    if isinstance(source, (bytes, bytearray)):
        check_byte_count(len(source), max_bytes, name)
        return bytes(source)
    if not isinstance(source, (str, os.PathLike)):
        raise MediaError(
            f"{name}: a value of type {type(source).__name__} given, expected a path, bytes or a data URL; "
            "pass a file object's .read()"
        )
    if _is_data_url(source):
        return _read_data_url(str(source), name, medium, max_bytes)
    path = os.fsdecode(source)
    if isinstance(source, str) and _ADDRESS.match(source):
        raise MediaError(
            f"{name}: an address given, expected a local path, bytes or a data URL; addresses are never fetched: "
            "download the file and give its path"
        )
    return _read_file(path, name, max_bytes)


def check_byte_count(byte_count: int, max_bytes: int, name: str) -> None:
    """Refuse a source of no bytes or of more than `max_bytes`."""
    if byte_count < 1:
        raise MediaError(f"{name}: empty, 0 bytes given, expected a complete file; save or send it again")
    if byte_count > max_bytes:
        raise MediaError(
            f"{name}: {byte_count:,} bytes given, expected at most {max_bytes:,}; shrink it or raise max_bytes"
        )


def _is_data_url(source: Any) -> bool:
    return isinstance(source, str) and source[:5].lower() == "data:"


def _read_data_url(url: str, name: str, medium: str, max_bytes: int) -> bytes:
    expected = f"expected 'data:{medium}/...;base64,...'"
    comma_at = url.find(",", 0, _DATA_URL_HEAD_CHARS)
    if comma_at < 0:
        raise MediaError(
            f"{name}: no comma within the first {_DATA_URL_HEAD_CHARS} characters, {expected}; "
            "put the base64 data after a comma"
        )
    # The media type is what somebody took the file for: programs go by its name. The content decides what it is.
    *_, last_parameter = url[len("data:") : comma_at].lower().split(";")
    if last_parameter.strip() != "base64":
        raise MediaError(f"{name}: data that is not base64 given, {expected}; encode the file with base64")
    blanks = sum(url.count(blank, comma_at) for blank in "\r\n \t")  # some programs write it in lines
    end = "".join(url[-16:].split())
    padding_chars = min(len(end) - len(end.rstrip("=")), 2)
    check_byte_count((len(url) - comma_at - 1 - blanks) * 3 // 4 - padding_chars, max_bytes, name)
    payload = url[comma_at + 1 :]
    try:
        return base64.b64decode("".join(payload.split()) if blanks else payload, validate=True)
    except ValueError as error:
        raise MediaError(
            f"{name}: broken base64 ({one_line(str(error))}), {expected} in the standard alphabet with padding; "
            "encode the file again"
        ) from error


def _read_file(path: str, name: str, max_bytes: int) -> bytes:
    if not path:
        raise MediaError(f"{name}: an empty path given, expected the path of a file; give its name")
    try:
        # Looked at before opening, since opening a device can act on it, and again afterwards, on what was opened.
        _check_regular_file(os.stat(path), name, max_bytes)
        with open(path, "rb", opener=_open_without_waiting) as file:
            byte_count = _check_regular_file(os.fstat(file.fileno()), name, max_bytes)
            data = file.read(byte_count + 1)
    except MediaError:
        raise
    except FileNotFoundError as error:
        raise MediaError(f"{name}: no such file, expected a file that exists; check the path") from error
    except OSError as error:
        reason = one_line(error.strerror or str(error)).lower()
        raise MediaError(
            f"{name}: {reason}, expected a file that can be read; check the path and its permissions"
        ) from error
    except ValueError as error:
        raise MediaError(
            f"{name}: {one_line(str(error))}, expected characters that a path may have; check the path"
        ) from error
    if len(data) != byte_count:
        raise MediaError(
            f"{name}: {byte_count:,} bytes expected but the file changed while it was read; wait until it is complete"
        )
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    # O_NONBLOCK: should a pipe have taken the file's place meanwhile, opening it must not wait for a writer.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular_file(status: os.stat_result, name: str, max_bytes: int) -> int:
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(f"{name}: a folder given, expected a file; give the path of a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{name}: a pipe, socket or device given, expected a regular file; copy its content to a file")
    check_byte_count(status.st_size, max_bytes, name)
    return status.st_size
