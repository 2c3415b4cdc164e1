"""What a browser may tell the page's functions: plain values, and files that were uploaded before."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.demo.public_paths import PublicPaths
from pipelines.demo.refusals import RefusedError, quoted

SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ANSWER = "reload the page"


def checked_event(body: bytes, functions: Mapping[int, int], paths: PublicPaths) -> tuple[bytes, list[Path]]:
    """A call of one of the page's functions, with nothing in it that the page does not need.

    No address and no path of this machine gets through: a file is a public name that `paths` knows.

    Args:
        body: JSON, as the browser sent it.
        functions: the page's functions, and how many values each takes.
        paths: the files that may be named.
    Returns:
        The call as gradio takes it, and the files in it.
    Raises:
        RefusedError: 400, saying what is wrong.
    """
    event = _object(body)
    function, session, data = event.get("fn_index"), event.get("session_hash"), event.get("data")
    if type(function) is not int or function not in functions:
        raise RefusedError(400, f"fn_index: {quoted(function)} given, expected a function of this page; {_ANSWER}")
    if not isinstance(data, list) or len(data) != functions[function]:
        raise RefusedError(400, f"data: expected a list of {functions[function]} values; {_ANSWER}")
    files: list[Path] = []
    trigger = event.get("trigger_id")
    call = {
        "fn_index": function,
        "session_hash": _session(session),
        "data": [_value(value, paths, files) for value in data],
        "event_data": None,
        "trigger_id": trigger if type(trigger) is int else None,
    }
    return json.dumps(call).encode(), files


def checked_cancellation(body: bytes, functions: Mapping[int, int]) -> bytes:
    """A request to end a running call, as gradio takes it.

    Raises:
        RefusedError: 400, saying what is wrong.
    """
    event = _object(body)
    function, call = event.get("fn_index"), event.get("event_id")
    if type(function) is not int or function not in functions:
        raise RefusedError(400, f"fn_index: {quoted(function)} given, expected a function of this page; {_ANSWER}")
    return json.dumps(
        {"fn_index": function, "session_hash": _session(event.get("session_hash")), "event_id": _session(call)}
    ).encode()


def _object(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"body: not JSON ({type(error).__name__}); {_ANSWER}") from error
    if not isinstance(event, dict):
        raise RefusedError(400, f"body: expected a JSON object; {_ANSWER}")
    return event


def _session(value: Any) -> str:
    if not isinstance(value, str) or not SESSION.fullmatch(value):
        raise RefusedError(400, f"session_hash: {quoted(value)} given, expected 1 to 64 letters and digits; {_ANSWER}")
    return value


def _value(value: Any, paths: PublicPaths, files: list[Path]) -> Any:
    """A component's value: plain, a list of texts, or a message with its files."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    if isinstance(value, dict) and isinstance(value.get("text"), str) and isinstance(value.get("files"), list):
        return {"text": value["text"], "files": [_file(file, paths, files) for file in value["files"]]}
    raise RefusedError(400, f"data: {quoted(value)} given, expected a number, a text or a message; {_ANSWER}")


def _file(value: Any, paths: PublicPaths, files: list[Path]) -> dict[str, Any]:
    name = value.get("path") if isinstance(value, dict) else None
    path = paths.find(name) if isinstance(name, str) else None
    if path is None:
        raise RefusedError(
            400, f"file: {quoted(name)} given, expected one that was uploaded to this page and is kept; attach it again"
        )
    files.append(path)
    return {"path": str(path), "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
