from __future__ import annotations

import socket

import pytest

from anygpt.errors import RequestError
from pipelines.serving.hosts import ServedHosts, means_this_machine

HERE = "127.0.0.1:7860"


def check(hosts: ServedHosts, *given: str, **more: str) -> None:
    headers = [(b"host", host.encode()) for host in given]
    hosts.check([*headers, *((name.replace("_", "-").encode(), value.encode()) for name, value in more.items())])


@pytest.mark.parametrize(
    "host", [HERE, "localhost", "LOCALHOST.:9000", "page.localhost", "127.8.9.1", "[::1]:7860", "[::ffff:127.0.0.1]"]
)
def test_on_loopback_the_names_of_loopback_are_served(host):
    check(ServedHosts("127.0.0.1"), host)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "a@127.0.0.1", "127.0.0.1/x", "127.1"),
        *("192.168.0.7", "[2001:db8::1]", "0.0.0.0:7860", "", ":7860", "localhost:port", "localhost:999999", "a b"),
        socket.gethostname(),
    ],
)
def test_on_loopback_every_other_name_is_refused(host):
    with pytest.raises(
        RequestError, match=r"^Host: '.*' given, expected an address of this machine; use that, or set"
    ) as caught:
        check(ServedHosts("127.0.0.1"), host)
    assert "\n" not in str(caught.value)


def test_the_refusal_says_what_to_set():
    with pytest.raises(RequestError, match=r"set 'service\.allowed_origins=\[http://chat\.example\]'"):
        check(ServedHosts("127.0.0.1"), "chat.example:80")


@pytest.mark.parametrize("listening_on", ["0.0.0.0", "::", "", "192.168.0.7"])
def test_elsewhere_addresses_and_the_machines_own_name_are_served(listening_on):
    hosts = ServedHosts(listening_on)
    own = socket.gethostname()
    for host in ("192.168.0.7:7860", "[2001:db8::1]:7860", "localhost", own, f"{own.partition('.')[0]}.local"):
        check(hosts, host)
    with pytest.raises(RequestError, match=r"Host: 'evil.example' given"):
        check(hosts, "evil.example")


def test_a_name_that_is_listened_on_or_allowed_is_served():
    check(ServedHosts("box.lan"), "BOX.lan:7860")
    allowed = ServedHosts("127.0.0.1", ("https://chat.example.org", "http://[2001:db8::1]:8080"))
    for host in ("chat.example.org", "chat.example.org:8443", "[2001:db8::1]"):
        check(allowed, host)
    check(ServedHosts("127.0.0.1", ("*",)), "anything.example", origin="https://other.example")


@pytest.mark.parametrize("hosts", [(), (HERE, HERE), (HERE, "evil.example")])
def test_one_host_is_expected(hosts):
    with pytest.raises(RequestError, match=f"Host: {len(hosts)} headers given, expected one"):
        check(ServedHosts("127.0.0.1"), *hosts)


def test_what_a_proxy_forwards_is_checked_as_well():
    check(ServedHosts("127.0.0.1"), HERE, x_forwarded_host="localhost, 127.0.0.1")
    with pytest.raises(RequestError, match=r"X-Forwarded-Host: 'evil.example' given"):
        check(ServedHosts("127.0.0.1"), HERE, x_forwarded_host="localhost, evil.example")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (HERE, f"http://{HERE}"),
        ("localhost:9000", "http://localhost:9000"),
        ("[::1]:7860", "http://[::1]:7860"),
        ("localhost", "http://localhost"),
        ("localhost", "https://localhost:443"),
        ("LOCALHOST:7860", "http://localhost:7860"),
    ],
)
def test_the_page_itself_may_ask(host, origin):
    check(ServedHosts("127.0.0.1"), host, origin=origin)


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "null", "file://", "", "http://localhost:7860", "http://127.0.0.1", "garbage"),
        *("http://127.0.0.1:3000", "http://[::1", "http://127.0.0.1:port", "chrome-extension://abc", "http://"),
    ],
)
def test_other_pages_may_not_ask(origin):
    with pytest.raises(
        RequestError, match=r"Origin: '.*' given, expected a page of this address; .*service\.allowed_origins"
    ):
        check(ServedHosts("127.0.0.1"), HERE, origin=origin)


def test_a_page_that_is_allowed_may_ask():
    check(ServedHosts("127.0.0.1", ("https://chat.example.org",)), HERE, origin="https://chat.example.org")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_parts_of_other_pages_may_not_ask_but_links_may_lead_here(site):
    check(ServedHosts("127.0.0.1"), HERE, sec_fetch_site=site, sec_fetch_mode="navigate")
    with pytest.raises(RequestError, match=r"Sec-Fetch-Site: another page asks"):
        check(ServedHosts("127.0.0.1"), HERE, sec_fetch_site=site, sec_fetch_mode="no-cors")


def test_names_that_mean_this_machine():
    for name in ("localhost", "127.0.0.1", "[::1]", "0.0.0.0", "::", socket.gethostname()):
        assert means_this_machine(name)
    for name in ("service.example", "10.0.0.1", "", "localhost.example"):
        assert not means_this_machine(name)
