"""Damaged files and odd events, generated, on a page that is served for real with the embedded default behind it."""

from __future__ import annotations

import json
import string
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.assistant import AnyGPT
from pipelines.demo.backends import LocalBackend
from pipelines.demo.page import serve_page
from tests.pipelines.demo.test_attacks import API, call, clear, one_line, replies, upload
from tests.pipelines.hostile_inputs import MAX_GROWTH_BYTES, MAX_SECONDS, damaged_files, hostile, odd_values

NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters='\r\n"\\'), max_size=300)
SESSIONS = (f"hostile{number}" for number in count())


@pytest.fixture(scope="module")
def client(tiny: AnyGPT, free_port: Callable[[], int]) -> Iterator[httpx.Client]:
    with (
        serve_page(LocalBackend(tiny), port=free_port()) as url,
        httpx.Client(base_url=url, timeout=MAX_SECONDS, trust_env=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def config(client: httpx.Client) -> dict[str, Any]:
    return dict(client.get("config").json())


@pytest.fixture
def watched(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], None]]:
    """Checks what an input has cost, and that nothing was printed about it."""
    page = psutil.Process()
    before = page.memory_info().rss

    def check() -> None:
        assert page.memory_info().rss - before < MAX_GROWTH_BYTES
        assert "Traceback" not in "".join(capfd.readouterr())

    return check


def shown(told: str) -> str:
    """What the page shows of a reply when it has ended."""
    events = [json.loads(line.removeprefix("data: ")) for line in told.splitlines() if line.startswith("data: {")]
    assert [event["success"] for event in events if event["msg"] == "process_completed"], told[:2000]
    assert all(event["success"] for event in events if event["msg"] == "process_completed"), told[:2000]
    return json.dumps(events)


@hostile(40)
@given(file=damaged_files(), name=NAMES)
def test_damaged_files_get_a_reply_or_one_line(client, config, watched, file, name):
    started, session = time.monotonic(), next(SESSIONS)
    _, ending, data = file
    stored = upload(client, f"{name}{ending}", data)
    if stored.status_code != 200:
        assert stored.status_code in (400, 413, 415)
        assert len(one_line(stored)) < 1200
    else:
        event = call(config, "What is it?", {"path": stored.json()[0]}, session=session)
        assert client.post(f"{API}/queue/join", json=event).status_code == 200
        assert "(a bug" not in shown(replies(client, session))
        clear(client, config, session)
    assert time.monotonic() - started < MAX_SECONDS
    watched()


@st.composite
def odd_events(draw: st.DrawFn, config: dict[str, Any]) -> dict[str, Any]:
    """An event in which some fields hold anything."""
    event = call(config, draw(st.text(max_size=40)), session=next(SESSIONS))
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["field", "value", "box", "file", "text"]))
        if kind == "field":
            event[draw(st.sampled_from([*event, "event_data", "simple_format", "request"]))] = draw(odd_values)
        elif kind == "text":
            event["data"] = draw(st.lists(odd_values, max_size=12))
        elif isinstance(event.get("data"), list) and event["data"]:
            at = draw(st.integers(0, len(event["data"]) - 1))
            file = draw(st.dictionaries(st.sampled_from(["path", "url", "meta", "size", "orig_name"]), odd_values))
            event["data"][at] = draw(odd_values) if kind == "value" else {"text": draw(odd_values), "files": [file]}
    return event


def is_sendable(event: dict[str, Any]) -> bool:
    try:
        json.dumps(event, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@hostile(60)
@given(data=st.data())
def test_odd_events_get_a_reply_or_one_line(client, config, watched, data):
    event = data.draw(odd_events(config))
    started = time.monotonic()
    body = json.dumps(event, ensure_ascii=not is_sendable(event)).encode()
    answer = client.post(f"{API}/queue/join", content=body, headers={"content-type": "application/json"})
    if answer.status_code == 200:
        told = replies(client, event["session_hash"])
        assert "(a bug" not in told
        clear(client, config, event["session_hash"])
    else:
        assert answer.status_code in (400, 413, 429), answer.text
        assert len(one_line(answer)) < 1200
        assert "(a bug" not in answer.text
    assert time.monotonic() - started < MAX_SECONDS
    watched()


@hostile(20)
@given(path=st.text(string.printable, max_size=60))
def test_odd_addresses_are_answered(client, path):
    started = time.monotonic()
    answer = client.get(httpx.URL(str(client.base_url), raw_path=f"/{quote(path)}".encode()))
    assert answer.status_code in (200, 403, 404), answer.text
    assert time.monotonic() - started < MAX_SECONDS
