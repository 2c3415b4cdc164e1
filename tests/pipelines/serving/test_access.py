"""Keys and addresses: an empty key is a refusal, and other machines need a key or the operator's word."""

from __future__ import annotations

import os
import subprocess
import sys

import httpx
import pytest

from anygpt.errors import ConfigError, RequestError
from pipelines.serving.access import check_exposure, checked_key, is_key, is_loopback
from pipelines.serving.app import create_app
from tests.pipelines.serving.conftest import reconfigured, running


@pytest.mark.parametrize("key", ["", " ", "\n", "\t  \r\n"])
def test_empty_key_is_refused(tiny, key):
    with pytest.raises(ConfigError, match="api key: an empty key given, expected at least one character; give a key"):
        checked_key(key)
    with pytest.raises(ConfigError, match="an empty key given"):
        create_app(tiny.pipeline, tiny.config, key)


@pytest.mark.parametrize("key", ["two words", "schlüssel", "a\x00b", "a\nb"])
def test_key_that_no_header_can_hold_is_refused(key):
    with pytest.raises(ConfigError, match="expected printable ASCII characters, no blanks"):
        checked_key(key)


def test_blanks_around_a_key_are_left_out():
    assert checked_key(" secret\n") == "secret"
    assert checked_key(None) is None


@pytest.mark.parametrize(
    ("header", "let_in"),
    [
        ("Bearer secret", True),
        ("bearer secret", True),
        ("Bearer  secret ", True),
        ("secret", False),
        ("Basic secret", False),
        ("Bearer secret2", False),
        ("Bearer", False),
        ("", False),
        ("Bearer sécret", False),
    ],
)
def test_headers_that_hold_the_key(header, let_in):
    assert is_key(header, "secret") == let_in


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.0.2.7", False),
        ("no such host", False),
    ],
)
def test_loopback_addresses(host, is_local):
    assert is_loopback(host) == is_local


def test_other_machines_need_a_key_or_the_operators_word():
    with pytest.raises(
        RequestError, match=r"--host: '0\.0\.0\.0' given, where other machines could use it without a key"
    ):
        check_exposure("0.0.0.0", None, allow_no_key=False)
    check_exposure("0.0.0.0", "secret", allow_no_key=False)
    check_exposure("0.0.0.0", None, allow_no_key=True)
    check_exposure("127.0.0.1", None, allow_no_key=False)


def command(*words: str, key: str | None = None) -> tuple[int, str]:
    """Exit code and standard error of a program that refuses before it loads anything."""
    environment = {name: value for name, value in os.environ.items() if name != "ANYGPT_API_KEY"}
    if key is not None:
        environment["ANYGPT_API_KEY"] = key
    ended = subprocess.run(
        [sys.executable, "-m", "pipelines", *words], capture_output=True, text=True, timeout=60, env=environment
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    ("words", "key", "message"),
    [
        (["serve"], "", "--api-key: an empty key given"),
        (["serve"], "  ", "--api-key: an empty key given"),
        (["serve", "--api-key", ""], None, "--api-key: an empty key given"),
        (["serve", "--host", "0.0.0.0"], None, "--host: '0.0.0.0' given"),
        (["demo", "--host", "0.0.0.0"], None, "--host: '0.0.0.0' given"),
        (["demo", "--host", "0.0.0.0"], "secret", "--host: '0.0.0.0' given"),
        (["serve", "service.metrics_key=true", "--port", "24999"], None, "service.metrics_key: true given without"),
    ],
)
def test_commands_refuse_open_doors(words, key, message):
    code, told = command(*words, key=key)
    assert code == 2
    assert told.startswith("anygpt: error: ")
    assert message in told
    assert len(told.strip().splitlines()) == 1


def test_a_key_with_blanks_opens_with_the_key_alone(local_service):
    for header, status in (("Bearer a-key", 200), ("bearer  a-key", 200), ("Bearer", 401)):
        answer = httpx.get(f"{local_service.url}/v1/models", headers={"authorization": header})
        assert answer.status_code == status


def test_without_a_key_foreign_names_and_pages_get_nothing(tiny):
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    with running(reconfigured(tiny, allowed_origins=["https://chat.example.org"]), None) as service:

        def ask(method: str = "POST", path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
            return httpx.request(method, service.url + path, json=body, headers=headers, timeout=60)

        for headers in ({}, {"host": "localhost"}, {"origin": service.url}, {"origin": "https://chat.example.org"}):
            assert ask(**headers).status_code == 200
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/metrics")):
            refused = ask(method, path, host="evil.example")
            assert refused.status_code == 403
            message = refused.json()["error"]["message"]
            assert message.startswith("Host: 'evil.example' given, expected an address of this machine; use that, or")
            assert message.endswith("or give the service a key")
        for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            assert ask(**headers).status_code == 403
        asking = {"origin": "https://chat.example.org", "access-control-request-method": "POST"}
        preflight = ask("OPTIONS", **asking)
        assert preflight.headers.get("access-control-allow-origin") == "https://chat.example.org"


def test_with_a_key_every_name_is_served(local_service):
    with local_service.http as http:
        assert http.get("/v1/models", headers={"host": "models.example"}).status_code == 200


@pytest.mark.parametrize("host", ["http://127.0.0.1", "no such host", "nosuchhost.invalid", "127.0.0.1:80"])
def test_a_host_that_nobody_can_listen_on_is_refused_as_such(host):
    for key, allow in ((None, False), ("secret", False), (None, True)):
        with pytest.raises(RequestError, match="expected an address or name of this machine, as in 127"):
            check_exposure(host, key, allow)
