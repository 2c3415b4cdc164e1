from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.demo.inputs import Input
from pipelines.demo.payloads import checked_cancellation, checked_event
from pipelines.demo.public_paths import PublicPaths
from pipelines.demo.refusals import RefusedError

FUNCTIONS = {1: (Input("number"), Input("multimodaltextbox")), 3: (), 4: (Input("state"), Input("textbox"))}


@pytest.fixture
def paths(tmp_path: Path) -> PublicPaths:
    (tmp_path / "a1").mkdir()
    (tmp_path / "a1" / "star.png").write_bytes(b"star")
    return PublicPaths(tmp_path)


def event(*data: Any, **changed: Any) -> bytes:
    return json.dumps({"fn_index": 1, "session_hash": "abc", "data": list(data), **changed}).encode()


def message(*files: Any) -> dict[str, Any]:
    return {"text": "Draw\tit\n“now” 🎨", "files": list(files)}


def test_a_message_passes_with_its_text_as_typed_and_its_files_by_their_paths(paths):
    name = f"{paths.name}/a1/star.png"
    sent = event(0.5, message({"path": name, "url": "http://127.0.0.1:1/", "is_stream": True, "size": 4}), trigger_id=7)
    call, files = checked_event(sent, FUNCTIONS, paths)
    path = paths.folder / "a1" / "star.png"
    assert files == [path]
    file = {"path": str(path), "orig_name": "star.png", "meta": {"_type": "gradio.FileData"}}
    assert json.loads(call) == {
        "fn_index": 1,
        "session_hash": "abc",
        "trigger_id": 7,
        "event_data": None,
        "data": [0.5, {"text": "Draw\tit\n“now” 🎨", "files": [file]}],
    }


def test_what_the_page_does_not_need_is_dropped(paths):
    extra = {"event_data": {"path": "/etc/passwd"}, "simple_format": True, "oauth_token": "x", "event_id": "y"}
    call, _ = checked_event(event(fn_index=3, **extra), FUNCTIONS, paths)
    assert json.loads(call) == {
        "fn_index": 3,
        "session_hash": "abc",
        "trigger_id": None,
        "event_data": None,
        "data": [],
    }


@pytest.mark.parametrize(
    "path",
    [
        *("http://169.254.169.254/latest", "https://example.org/a.png", "//example.org/a.png", "file:///etc/passwd"),
        *("/etc/passwd", "../../etc/passwd", "data:image/png;base64,AAAA", "", None, 5, ["a"], {"path": "a"}),
    ],
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_no_address_and_no_path_of_this_machine_passes(paths, path, wrapped):
    with pytest.raises(RefusedError, match=r"^file: '.*' given, expected one that was uploaded") as caught:
        checked_event(event(None, message({"path": path} if wrapped else path)), FUNCTIONS, paths)
    assert caught.value.status == 400


@pytest.mark.parametrize("value", [{"path": "/etc/passwd"}, [{"path": "/etc/passwd"}], [[1]], {}])
def test_no_file_passes_elsewhere(paths, value):
    with pytest.raises(RefusedError, match=r"^textbox: '.*' given, expected what it can hold; reload the page$"):
        checked_event(event(None, value, fn_index=4), FUNCTIONS, paths)
    call, _ = checked_event(event(value, "x", fn_index=4), FUNCTIONS, paths)
    assert json.loads(call)["data"] == [None, "x"]


@pytest.mark.parametrize(
    "value", [{}, {"text": "x"}, {"text": {"path": "x"}, "files": []}, {"text": "x", "files": "y"}]
)
def test_a_message_has_a_text_and_files(paths, value):
    with pytest.raises(RefusedError, match=r"^message: '.*' given, expected a text and files; reload the page$"):
        checked_event(event(None, value), FUNCTIONS, paths)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "body: not JSON"),
        (b"{", "body: not JSON"),
        (b"\xff", "body: not JSON"),
        (b"[" * 100_000, r"body: not JSON \(RecursionError\)"),
        (b"[]", "body: expected a JSON object"),
        (event(1, 2, fn_index=2), "fn_index: '2' given, expected a function of this page"),
        (event(1, 2, fn_index=True), "fn_index: 'True' given"),
        (event(1, 2, fn_index="1"), "fn_index: '1' given"),
        (event(1), "data: expected a list of 2 values"),
        (event(1, 2, data="ab"), "data: expected a list"),
        (event(1, 2, session_hash=None), "session_hash: 'None' given"),
        (event(1, 2, session_hash="a/../b"), "session_hash: 'a/../b' given, expected 1 to 64 letters"),
    ],
)
def test_what_is_no_call_is_refused_in_one_line(paths, body, said):
    with pytest.raises(RefusedError, match=f"^{said}.*; reload the page$"):
        checked_event(body, FUNCTIONS, paths)


def test_a_call_can_be_cancelled():
    sent = {"fn_index": 1, "session_hash": "abc", "event_id": "e1"}
    assert json.loads(checked_cancellation(json.dumps(sent).encode(), FUNCTIONS)) == sent
    for wrong in ({"fn_index": 9}, {"session_hash": 1}, {"event_id": "../x"}):
        with pytest.raises(RefusedError, match="given, expected"):
            checked_cancellation(json.dumps({**sent, **wrong}).encode(), FUNCTIONS)
