"""Malformed and hostile requests: refused with the right status and one line, nothing hangs, the service goes on."""

from __future__ import annotations

import base64
import json
import socket
import time
from typing import Any

import httpx
import pytest

from anygpt.media import to_data_url
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.scenes import Scene

PICTURE = to_data_url(render_image(Scene("star", "red"), 1))
CHAT, IMAGES = "/v1/chat/completions", "/v1/images/generations"

SAID = {"role": "user", "content": "Hi"}


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, **fields}


def content(*parts: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": list(parts)}])


def image(url: Any) -> dict[str, Any]:
    return content({"type": "image_url", "image_url": {"url": url}})


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


# Path, body, status, what the message says.
BODIES: list[tuple[str, Any, int, str]] = [
    (CHAT, [], 400, "a JSON list given, expected an object"),
    (CHAT, "hi", 400, "a JSON str given"),
    (CHAT, None, 400, "a JSON NoneType given"),
    (CHAT, {}, 422, "model: not given; add it"),
    (CHAT, {"model": "tiny"}, 422, "messages: not given"),
    (CHAT, chat(model=7), 422, "model: 7 given, but input should be a valid string"),
    (CHAT, chat(model="gpt-4"), 404, "model: 'gpt-4' given, but this service has: tiny"),
    (CHAT, chat(model="\ud800"), 404, "but this service has: tiny"),
    (CHAT, chat(size="\ud800"), 400, "expected widthxheight"),
    (IMAGES, {"prompt": "x", "model": "\ud800"}, 404, "but this service has: tiny"),
    (CHAT, chat(model="../../etc/passwd"), 404, "but this service has: tiny"),
    (CHAT, chat(messages=[]), 400, "messages: none given, expected at least one"),
    (CHAT, chat(messages="Hi"), 422, "messages: 'Hi' given"),
    (CHAT, chat(messages=[None]), 422, "messages.0: None given"),
    (CHAT, chat(messages=[{}]), 422, "messages.0"),
    (CHAT, chat(messages=[{"role": "robot", "content": "Hi"}]), 422, "messages.0"),
    (CHAT, chat(messages=[{"role": "user"}]), 422, "messages.0.content: not given"),
    (CHAT, chat(messages=[{"role": "user", "content": 5}]), 422, "messages.0.content"),
    (CHAT, chat(messages=[{"role": "user", "content": ""}]), 400, "the last message is empty"),
    (CHAT, chat(messages=[{"role": "user", "content": []}]), 400, "the last message is empty"),
    (CHAT, chat(messages=[{"role": "assistant", "content": "Hi"}]), 400, "the last message is the assistant's"),
    (CHAT, chat(messages=[SAID, {"role": "tool", "tool_call_id": "a", "content": "x"}, SAID]), 400, "no tools"),
    (CHAT, chat(messages=[{"role": "user", "content": "\ud800"}]), 400, "half a character"),
    (CHAT, chat(messages=[{"role": "user", "content": "x" * 100_001}]), 400, "100001 characters given"),
    (CHAT, chat(messages=[{"role": "user", "content": "red " * 5000}]), 400, "the context holds"),
    (CHAT, chat(messages=[{"role": "user", "content": "Hi"}] * 30_000), 400, "more than 20000 values given"),
    (CHAT, content({"type": "text"}), 422, "text: not given"),
    (CHAT, chat(messages=[{"role": "user", "content": "a," * 30_000}]), 400, "the context holds"),
    (CHAT, content({"type": "smell", "smell": "rose"}), 422, "messages.0.content"),
    (CHAT, content({"type": "image_url"}), 422, "image_url: not given"),
    (CHAT, content({"type": "image_url", "image_url": [PICTURE]}), 422, "image_url"),
    (CHAT, content({"type": "image_url", "image_url": {"url": 4}}), 422, "url: 4 given"),
    (CHAT, content(*[{"type": "image_url", "image_url": {"url": PICTURE}}] * 33), 400, "33 media given"),
    (CHAT, image(""), 400, "nothing given, expected a data URL (data:image/png;base64,…)"),
    (CHAT, image("cat.png"), 400, "a text that is no data URL given, expected a data URL"),
    (CHAT, image("/etc/passwd"), 400, "a text that is no data URL given, expected a data URL"),
    (CHAT, image("file:///etc/passwd"), 400, "an address given, expected a data URL"),
    (CHAT, image("FILE:/etc/passwd"), 400, "a text that is no data URL given, expected a data URL"),
    (CHAT, image("http://127.0.0.1:1/x.png"), 400, "an address given, expected a data URL"),
    (CHAT, image("http://169.254.169.254/latest/meta-data"), 400, "an address given, expected a data URL"),
    (CHAT, image("http://[::1]/x.png"), 400, "an address given, expected a data URL"),
    (CHAT, image("https://example.com/x.png"), 400, "hosts that may be asked over https: none"),
    (CHAT, image("gopher://x"), 400, "an address given, expected a data URL"),
    (CHAT, image("https://[broken"), 400, "an address given, expected a data URL"),
    (CHAT, image("data:"), 400, "data URL"),
    (CHAT, image("data:image/png;base64,"), 400, "empty"),
    (CHAT, image("data:image/png;base64,&&&&"), 400, "base64"),
    (CHAT, image("data:image/png,plain"), 400, "base64"),
    (CHAT, image("data:text/html;base64,PGI+"), 400, "text/html"),
    (CHAT, image(PICTURE[:-200]), 400, "image"),
    (CHAT, image(data_url(b"\x89PNG\r\n\x1a\n" + b"\0" * 50)), 400, "image"),
    (CHAT, image(data_url(b"hello")), 400, "image"),
    (CHAT, chat(stream="yes"), 422, "stream: 'yes' given"),
    (CHAT, chat(stream_options={"include_usage": 1}), 422, "include_usage"),
    (CHAT, chat(modalities="text"), 422, "modalities: 'text' given"),
    (CHAT, chat(modalities=["smell"]), 400, "modalities: 'smell' given"),
    (CHAT, chat(modalities=["points"]), 400, "'points' given, expected some of text, image, audio, video"),
    (
        CHAT,
        chat(audio={"format": "mp3", "voice": "alloy"}),
        422,
        "audio.format: 'mp3' given, but input should be 'wav'",
    ),
    (
        CHAT,
        {**chat(), "messages": [SAID, {"role": "assistant", "audio": {"id": "audio-1"}}, SAID]},
        400,
        "give its message back",
    ),
    (CHAT, chat(seed="7"), 422, "seed: '7' given"),
    (CHAT, chat(seed=-1), 400, "seed: -1 given"),
    (CHAT, chat(seed=2**64), 400, "seed"),
    (CHAT, chat(seed=1.5), 422, "seed: 1.5 given"),
    (CHAT, chat(max_tokens=0), 400, "max_tokens: 0 given, expected at least 1"),
    (CHAT, chat(max_tokens=10**9), 400, "max_tokens: 1000000000 given, expected at most 4096"),
    (CHAT, chat(max_completion_tokens=3), 400, "given together with max_completion_tokens"),
    (CHAT, chat(temperature=-1), 400, "temperature: -1"),
    (CHAT, chat(temperature=[1]), 422, "temperature: [1] given"),
    (CHAT, chat(top_p=0), 400, "top_p: 0"),
    (CHAT, chat(stop=["a", ""]), 400, "stop: '' given"),
    (CHAT, chat(stop={"a": 1}), 422, "stop"),
    (CHAT, chat(n=2), 400, "n: 2 given, but this service gives one reply to a request; leave it out"),
    (CHAT, chat(steps=0), 400, "steps: 0 given"),
    (CHAT, chat(steps=10**6), 400, "steps"),
    (CHAT, chat(size="huge"), 400, "size: 'huge' given, expected widthxheight"),
    (CHAT, chat(size="99999x99999"), 400, "size: height_px: 99999 given"),
    (CHAT, chat(size="63x64"), 400, "size: width_px: 63 given"),
    (CHAT, chat(guidance=1e9), 400, "guidance"),
    (CHAT, chat(frames=0), 400, "frames: 0 given, expected at least 1"),
    (CHAT, chat(frames=1.5), 422, "frames: 1.5 given"),
    (CHAT, chat(duration_s=0), 400, "duration_s: 0.0 given, expected a number above 0"),
    (CHAT, chat(duration_s="long"), 422, "duration_s: 'long' given"),
    (IMAGES, {}, 422, "prompt: not given"),
    (IMAGES, {"prompt": ""}, 400, "prompt: an empty text given, expected what to draw"),
    (IMAGES, {"prompt": " \n"}, 400, "prompt: an empty text given, expected what to draw"),
    (IMAGES, {"prompt": "a star", "n": 0}, 422, "n: 0 given"),
    (IMAGES, {"prompt": "a star", "n": 10**6}, 400, "n: 1000000 given, expected at most 8"),
    (
        IMAGES,
        {"prompt": "a star", "response_format": "url"},
        400,
        "response_format: 'url' given, but this service gives pictures as b64_json",
    ),
    (IMAGES, {"prompt": "a star", "size": "1x1"}, 400, "size: height_px: 1 given"),
    (IMAGES, {"prompt": "a star", "model": "dall-e-3"}, 404, "but this service has: tiny"),
]

# Raw bytes, content type, status.
RAW: list[tuple[bytes, str, int]] = [
    (b"", "application/json", 400),
    (b"{", "application/json", 400),
    (b"\xff\xfe", "application/json", 400),
    (b'{"model": NaN}', "application/json", 400),
    (b'{"seed": 1' + b"0" * 10_000 + b"}", "application/json", 400),
    (b"[" * 15_000, "application/json", 400),
    (b'{"a":' * 9_000 + b"1" + b"}" * 9_000, "application/json", 400),
    (b"[" * 1_000_000, "application/json", 400),
    (json.dumps(chat()).encode(), "text/plain", 415),
    (json.dumps(chat()).encode(), "multipart/form-data", 415),
    (json.dumps(chat()).encode(), "", 415),
]


def refusal(answer: httpx.Response) -> str:
    """The message of an error in OpenAI's shape."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "\n" not in error["message"]
    assert len(error["message"]) < 700
    assert "Traceback" not in error["message"]
    return error["message"]


@pytest.mark.parametrize(("path", "body", "status", "message"), BODIES, ids=range(len(BODIES)))
def test_wrong_body_is_refused_by_name(local_service, path, body, status, message):
    with local_service.http as http:
        answer = http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text[:500]
    assert message in refusal(answer)


@pytest.mark.parametrize(("data", "kind", "status"), RAW, ids=range(len(RAW)))
def test_what_is_no_json_is_refused(local_service, data, kind, status):
    with local_service.http as http:
        answer = http.post(CHAT, content=data, headers={"content-type": kind})
    assert answer.status_code == status
    refusal(answer)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1", 404),
        ("GET", CHAT, 405),
        ("POST", "/v1/models", 405),
        ("POST", "/v1/audio/speech", 404),
        ("POST", f"{CHAT}/", 404),
    ],
)
def test_other_routes_are_refused_in_openais_shape(local_service, method, path, status):
    with local_service.http as http:
        answer = http.request(method, path)
    assert answer.status_code == status
    assert f"{method} {path}" in refusal(answer)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic YTpi", "bearer a-key x"])
def test_wrong_key_is_refused(local_service, header):
    headers = {} if header is None else {"authorization": header}
    answer = httpx.post(f"{local_service.url}{CHAT}", json=chat(), headers=headers)
    assert answer.status_code == 401


def test_body_of_100_mb_is_refused_without_reading_it(local_service):
    before = resident_mb()
    for head in ({"content-length": str(100 * 2**20)}, {"transfer-encoding": "chunked"}):
        started = time.monotonic()
        try:
            with local_service.http as http:
                answer = http.post(CHAT, content=pieces(100), headers={"content-type": "application/json", **head})
            assert answer.status_code == 413
            assert "more than 16777216 bytes given" in refusal(answer)
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            pass  # the service hung up on the rest
        assert time.monotonic() - started < 20
    assert resident_mb() - before < 150


def pieces(megabytes: int) -> Any:
    for _ in range(megabytes):
        yield b" " * 2**20


def resident_mb() -> float:
    import psutil

    return psutil.Process().memory_info().rss / 2**20


def test_connection_that_sends_rubbish_is_closed(local_service):
    host, port = local_service.url.removeprefix("http://").split(":")
    for rubbish in (b"\0" * 100, b"GET\r\n\r\n", b"POST /v1/chat/completions HTTP/9.9\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(rubbish)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass


def test_the_service_still_answers_after_all_that(local_service):
    with local_service.http as http:
        assert http.get("/ready").status_code == 200
        assert http.post(CHAT, json=chat()).status_code == 200
        assert "anygpt_requests_in_flight 0.0" in http.get("/metrics").text
