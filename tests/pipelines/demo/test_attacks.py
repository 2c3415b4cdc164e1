"""A page that is served for real, and what strangers send to it."""

from __future__ import annotations

import json
import math
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from anygpt.config.schema import Limits, ServiceLimits
from anygpt.media import ImageLimits, encode_png
from pipelines.demo.page import serve_page
from tests.pipelines.demo.scripted_backend import ScriptedBackend

API = "gradio_api"
FORM = {"content-type": "multipart/form-data; boundary=B"}
UNREAD = (
    *("gradio_api/proxy=http://127.0.0.1/", "gradio_api/stream/a/b/1/playlist.m3u8"),
    *("gradio_api/upload_progress?upload_id=a", "gradio_api/call/send/a", "gradio_api/info"),
    *("gradio_api/openapi.json", "gradio_api/deep_link?session_hash=a", "gradio_api/startup-events"),
    *("gradio_api/queue/status", "gradio_api/runs", "gradio_api/user", "gradio_api/token"),
    *("gradio_api/login_check", "gradio_api/dev/reload", "gradio_api/vibe-code", "gradio_api/mcp/"),
    *("gradio_api/file//etc/passwd", "gradio_api/custom_component/a/client/b/c", "monitoring"),
    *("monitoring/summary", "logout", "pwa_icon/20000", "svelte/a", "docs", "openapi.json"),
    *("gradio_api/queue/join", "gradio_api/upload"),
)
UNCALLED = (
    *("gradio_api/stream/a", "gradio_api/component_server", "gradio_api/call/send", "gradio_api/call/v2/send"),
    *("gradio_api/api/send", "gradio_api/run/send", "gradio_api/vibe-edit", "gradio_api/process_recording"),
    *("login", "config"),
)


@pytest.fixture(scope="module")
def backend() -> ScriptedBackend:
    backend = ScriptedBackend()
    backend.limits = Limits(image=ImageLimits(max_bytes=2000), max_text_chars=1000)
    backend.service = ServiceLimits(max_upload_bytes_per_person=3000, body_timeout_s=1.0)
    return backend


@pytest.fixture(scope="module")
def address(backend: ScriptedBackend, free_port: Callable[[], int]) -> Iterator[str]:
    with serve_page(backend, port=free_port()) as url:
        yield url


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def config(client: httpx.Client) -> dict[str, Any]:
    return dict(client.get("config").json())


def call(config: dict[str, Any], text: str, *files: Any, session: str = "session1") -> dict[str, Any]:
    """What the page sends when somebody sends a message."""
    box = next(part["id"] for part in config["components"] if part["type"] == "multimodaltextbox")
    send = next(function for function in config["dependencies"] if [box, "submit"] in function["targets"])
    values = {part["id"]: part["props"].get("value") for part in config["components"]}
    data = [{"text": text, "files": list(files)} if number == box else values[number] for number in send["inputs"]]
    return {"data": data, "fn_index": send["id"], "trigger_id": box, "session_hash": session}


def replies(client: httpx.Client, session: str = "session1") -> str:
    """All that the page hears until its calls have ended."""
    return client.get(f"{API}/queue/data", params={"session_hash": session}).text


def upload(client: httpx.Client, name: str, data: bytes, **headers: str) -> httpx.Response:
    """Send a file in pieces, so that no length is told beforehand."""

    def pieces() -> Iterator[bytes]:
        yield f'--B\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        for at in range(0, len(data), 500):
            yield data[at : at + 500]
        yield b"\r\n--B--\r\n"

    return client.post(f"{API}/upload", content=pieces(), headers={**FORM, **headers})


def clear(client: httpx.Client, config: dict[str, Any], session: str = "session1") -> None:
    """Press Clear."""
    button = next(part["id"] for part in config["components"] if part["props"].get("value") == "Clear")
    function = next(each for each in config["dependencies"] if [button, "click"] in each["targets"])
    event = {"data": [None], "fn_index": function["id"], "trigger_id": button, "session_hash": session}
    assert client.post(f"{API}/run/predict", json=event).status_code == 200


def one_line(response: httpx.Response) -> str:
    text = response.text.rstrip("\n")
    assert text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in UNREAD),
        *(("POST", path) for path in UNCALLED),
        *(("PUT", "config"), ("OPTIONS", "config"), ("TRACE", "/"), ("DELETE", f"{API}/upload")),
    ],
)
def test_what_the_page_does_not_need_is_not_there(client, method, path):
    response = client.request(method, path, json={"data": []} if method == "POST" else None)
    assert response.status_code == 404
    assert "the page has no such address; open /" in one_line(response)


def test_saved_links_are_not_opened(client, config):
    assert client.get("config", params={"deep_link": "../../a"}).json() == config
    assert client.get("/", params={"deep_link": "a", "page": "b"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["http://127.0.0.1:{port}/a", "http://localhost:{port}/a.png", "//127.0.0.1:{port}/a", "https://127.0.0.1:{port}/"],
)
def test_no_address_is_fetched(client, config, path):
    asked: list[str] = []

    class Bait(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), Bait) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = path.format(port=server.server_port)
        file = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
        for route in ("queue/join", "run/predict"):
            refused = client.post(f"{API}/{route}", json=call(config, "Hello", file))
            assert refused.status_code == 400
            assert refused.json()["detail"].startswith(f"file: '{address}' given, expected one that was uploaded")
        assert client.get(f"{API}/file={address}").status_code == 403
        server.shutdown()
        thread.join()
    assert asked == []


@pytest.mark.parametrize(
    "path", ["/etc/passwd", __file__, "../../../etc/passwd", "{folder}", "{name}", "{name}/../x", "{name}/a\0b"]
)
def test_no_file_of_this_machine_is_handed_out(client, config, path):
    path = path.format(folder=tempfile.gettempdir(), name=_public_folder(config))
    assert client.get(f"{API}/file={quote(path, safe='')}").status_code == 403
    refused = client.post(f"{API}/queue/join", json=call(config, "Hello", {"path": path}))
    assert refused.status_code == 400


def _public_folder(config: dict[str, Any]) -> str:
    text = json.dumps(config)
    return text[text.index("files-") :].partition("/")[0]


def test_no_path_of_this_machine_is_told(client, config, picture, address):
    name = upload(client, "star.png", encode_png(picture)).json()[0]
    client.post(f"{API}/queue/join", json=call(config, "Hello", {"path": name}, session="paths"))
    told = replies(client, "paths")
    assert name in told
    shown = client.get(f"{API}/file={name}")
    assert shown.content == encode_png(picture)
    broken = client.post(f"{API}/queue/join", json=call(config, "Hello", {"path": "x"})).text
    answers = [told, broken, str(shown.headers), *(client.get(path).text for path in ("/", "config", "theme.css"))]
    secrets = (tempfile.gettempdir(), "anygpt-demo-", str(Path.home()), str(Path(__file__).parents[3]), "site-packages")
    assert [secret for secret in secrets for answer in answers if secret in answer] == []
    clear(client, config, "paths")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.nip.io", "192.168.0.7"])
@pytest.mark.parametrize(
    "path", ["/", "config", "theme.css", f"{API}/file=a", f"{API}/queue/data", f"{API}/heartbeat/a"]
)
def test_a_foreign_host_gets_nothing(client, host, path):
    refused = client.get(path, headers={"host": host})
    assert refused.status_code == 403
    assert one_line(refused).startswith(f"Host: '{host}' given, expected an address of this machine; ")


@pytest.mark.parametrize("path", ["upload", "queue/join", "run/predict", "cancel"])
def test_a_foreign_page_can_do_nothing(client, config, path):
    for origin in ("http://evil.example", "null", "http://localhost:1"):
        refused = client.post(f"{API}/{path}", json=call(config, "Hello"), headers={"origin": origin})
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
        assert f"Origin: '{origin}' given" in one_line(refused)


def test_an_endless_address_is_answered_in_one_short_line(client):
    answer = client.get(f"/assets/{'a' * 5_000}")
    assert answer.status_code == 404
    assert len(answer.text) < 200


def test_there_are_no_websockets(address):
    host, _, port = address.removeprefix("http://").rstrip("/").partition(":")
    upgrade = (
        "GET /gradio_api/queue/join HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    for name, status in ((f"{host}:{port}", b"404"), ("evil.example", b"403")):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(upgrade.format(name).encode())
            assert connection.recv(100).split()[1] == status


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.exe", b"MZ"),
        ("a.html", b"<html>"),
        ("a.svg", b"<svg onload=alert(1)>"),
        ("a.png.php", b"<?php"),
        ("a.wav", b"RIFF"),
        ("a.png", b"<html><script>alert(1)</script>"),
        ("a.png", b"%PDF-1.7"),
        ("a.png", b"\x7fELF" + bytes(1500)),
    ],
)
def test_kinds_that_the_page_does_not_list_are_not_stored(client, page_folder, name, content):
    before = sorted(page_folder.rglob("*"))
    refused = upload(client, name, content)
    assert refused.status_code == 415
    assert one_line(refused).startswith(f"'{name}': not stored, ")
    assert sorted(page_folder.rglob("*")) == before


@pytest.fixture(scope="module")
def page_folder(address: str) -> Path:
    """Where the page's files lie."""
    return Path(os.environ["GRADIO_TEMP_DIR"])


def test_uploads_are_limited_for_a_person_until_files_are_cleared(client, config, page_folder):
    png = b"\x89PNG\r\n\x1a\n" + bytes(1800)
    kept = upload(client, "a.png", png).json()
    refused = upload(client, "b.png", png)
    assert refused.status_code == 413
    assert "more than service.max_upload_bytes_per_person=3,000 bytes; press Clear" in one_line(refused)
    client.post(f"{API}/queue/join", json=call(config, "Hello", {"path": kept[0]}, session="limited"))
    replies(client, "limited")  # it cannot be read as a picture, and is deleted therefore
    assert client.get(f"{API}/file={kept[0]}").status_code == 403
    assert upload(client, "b.png", png).status_code == 200
    assert [path.name for path in page_folder.rglob("[ab].png")] == ["b.png"]
    next(page_folder.rglob("b.png")).unlink()


def test_clear_deletes_the_files_of_the_conversation(client, config, picture, page_folder):
    (name,) = upload(client, "clear.png", encode_png(picture)).json()
    client.post(f"{API}/queue/join", json=call(config, "Hello", {"path": name}, session="cleared"))
    replies(client, "cleared")
    assert list(page_folder.rglob("clear.png"))
    clear(client, config, "cleared")
    assert not list(page_folder.rglob("clear.png"))
    examples = list(page_folder.rglob("picture.png"))
    assert examples


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b"[" * 20_000, b'{"data": NaN}', b"1" * 200_000], ids=lambda body: str(body[:9])
)
def test_what_is_no_call_is_answered_in_one_line(client, body):
    for route in ("queue/join", "run/predict", "cancel"):
        refused = client.post(f"{API}/{route}", content=body)
        assert refused.status_code in (400, 413)
        assert one_line(refused)


@pytest.mark.parametrize("value", [True, [1], {"path": "/etc/passwd"}, math.inf, 10**400, ["smell"]], ids=str)
def test_values_that_do_not_fit_are_answered_in_one_line_and_without_a_traceback(client, config, value, capfd):
    event = call(config, "Hello")
    for at in range(2, len(event["data"])):
        sent = {**event, "data": [*event["data"][:at], value, *event["data"][at + 1 :]]}
        answer = client.post(f"{API}/queue/join", content=json.dumps(sent))
        assert answer.status_code == 400
        assert "given, expected what it can hold; reload the page" in one_line(answer)
    assert "Traceback" not in capfd.readouterr().err


def test_an_upload_that_stops_is_given_up(address, page_folder):
    host, _, port = address.removeprefix("http://").rstrip("/").partition(":")
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}\r\nContent-Type: {FORM['content-type']}\r\n"
    part = '--B\r\nContent-Disposition: form-data; name="files"; filename="slow.png"\r\n\r\n\x89PNG'
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}Connection: close\r\nContent-Length: 1500\r\n\r\n{part}".encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    assert answer.split()[1] == b"408"
    assert b"nothing arrived within 1 seconds; send it again" in answer
    assert not list(page_folder.rglob("slow.png"))


def test_the_page_goes_on_after_all_that(client, config, backend):
    client.post(f"{API}/queue/join", json=call(config, "Still there?", session="last"))
    assert "Sorry." in replies(client, "last")
    assert backend.conversations[-1][0].text == "Still there?"
