"""What a browser may tell the page's functions: plain values, and files that were uploaded before."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.demo.inputs import MAX_WHOLE, Input
from pipelines.demo.public_paths import PublicPaths
from pipelines.demo.refusals import RefusedError, quoted

SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ANSWER = "reload the page"
Functions = Mapping[int, Sequence[Input]]


def checked_event(body: bytes, functions: Functions, paths: PublicPaths) -> tuple[bytes, list[Path]]:
    """A call of one of the page's functions, with nothing in it that the page does not need.

    No address and no path of this machine gets through: a file is a public name that `paths` knows.

    Args:
        body: JSON, as the browser sent it.
        functions: the page's functions, and what each takes.
        paths: the files that may be named.
    Returns:
        The call as gradio takes it, and the files in it.
    Raises:
        RefusedError: 400, saying what is wrong.
    """
    event = _object(body)
    function, data = _function(event, functions), event.get("data")
    inputs = functions[function]
    if not isinstance(data, list) or len(data) != len(inputs):
        raise RefusedError(400, f"data: expected a list of {len(inputs)} values; {_ANSWER}")
    files: list[Path] = []
    trigger = event.get("trigger_id")
    call = {
        "fn_index": function,
        "session_hash": _session(event.get("session_hash")),
        "data": [_value(value, given, paths, files) for value, given in zip(data, inputs, strict=True)],
        "event_data": None,
        "trigger_id": trigger if type(trigger) is int and abs(trigger) <= MAX_WHOLE else None,
    }
    return json.dumps(call).encode(), files


def checked_cancellation(body: bytes, functions: Functions) -> bytes:
    """A request to end a running call, as gradio takes it.

    Raises:
        RefusedError: 400, saying what is wrong.
    """
    event = _object(body)
    session, call = _session(event.get("session_hash")), _session(event.get("event_id"))
    return json.dumps({"fn_index": _function(event, functions), "session_hash": session, "event_id": call}).encode()


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


def _function(event: Mapping[str, Any], functions: Functions) -> int:
    function = event.get("fn_index")
    if type(function) is not int or function not in functions:
        raise RefusedError(400, f"fn_index: {quoted(function)} given, expected a function of this page; {_ANSWER}")
    return function


def _value(value: Any, given: Input, paths: PublicPaths, files: list[Path]) -> Any:
    """A component's value, plain or a message with its files."""
    if not given.fits(value):
        raise RefusedError(400, f"{given.kind}: {quoted(value)} given, expected what it can hold; {_ANSWER}")
    if given.kind == "state":
        return None
    if given.kind != "multimodaltextbox":
        return value
    text, attached = value.get("text"), value.get("files")
    if not (isinstance(text, str) and isinstance(attached, list)):
        raise RefusedError(400, f"message: {quoted(value)} given, expected a text and files; {_ANSWER}")
    return {"text": text, "files": [_file(file, paths, files) for file in attached]}


def _file(value: Any, paths: PublicPaths, files: list[Path]) -> dict[str, Any]:
    name = value.get("path") if isinstance(value, dict) else None
    path = paths.find(name) if isinstance(name, str) else None
    if path is None:
        raise RefusedError(
            400, f"file: {quoted(name)} given, expected one that was uploaded to this page and is kept; attach it again"
        )
    files.append(path)
    return {"path": str(path), "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
