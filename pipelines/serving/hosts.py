"""Under which names a page or service is served, and which pages may use it.

A browser sends the name that the person typed as `Host`, and the page that asks as `Origin`. A hostile page can make
its own name point at this machine ("DNS rebinding"); its requests then come from here, but under its name.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from anygpt.errors import RequestError
from anygpt.media.sources import one_line
from pipelines.serving.access import is_loopback

EVERY_PAGE = "*"
DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/@?#]+)(?::(\d{1,5}))?")


@dataclass(frozen=True)
class ServedHosts:
    """Decides by a request's headers.

    Attributes:
        listening_on: the address or name that is listened on.
        allowed_origins: `service.allowed_origins`: more names, and pages that may ask.
    """

    listening_on: str
    allowed_origins: tuple[str, ...] = ()

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Refuse a request under a foreign name, or from a foreign page.

        Args:
            headers: of the request, names in small letters.
        Raises:
            RequestError: saying what to set.
        """
        given: dict[str, list[str]] = {}
        for name, value in headers:
            given.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        hosts = given.get("host", [])
        if len(hosts) != 1:
            raise RequestError(f"Host: {len(hosts)} headers given, expected one; use an HTTP/1.1 client")
        self._check_host(hosts[0], "Host")
        for forwarded in given.get("x-forwarded-host", ()):
            for host in forwarded.split(","):
                self._check_host(host.strip(), "X-Forwarded-Host")
        if EVERY_PAGE not in self.allowed_origins:
            self._check_page({name: values[0] for name, values in given.items()}, hosts[0])

    def serves(self, name: str) -> bool:
        """True for a name or address that may be asked for."""
        name = name.lower().rstrip(".").strip("[]")
        if means_loopback(name) or name in self._names or EVERY_PAGE in self.allowed_origins:
            return True
        return not self._only_loopback and (_address(name) is not None or name in names_of_this_machine())

    @cached_property
    def _names(self) -> set[str | None]:
        return {self.listening_on.lower(), *(urlsplit(origin).hostname for origin in self.allowed_origins)}

    @cached_property
    def _only_loopback(self) -> bool:
        return is_loopback(self.listening_on)

    def _check_host(self, host: str, header: str) -> None:
        parts = _HOST.fullmatch(host)
        if parts is None or not self.serves(parts[1]):
            name = "NAME" if parts is None else parts[1]
            raise RequestError(
                f"{header}: '{one_line(host)}' given, expected an address of this machine; use that, or set "
                f"'service.allowed_origins=[http://{one_line(name)}]'"
            )

    def _check_page(self, headers: Mapping[str, str], host: str) -> None:
        """Refuse what another page asks; browsers say so, and programs send none of these headers."""
        origin = headers.get("origin")
        if origin is None:
            is_foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
            if is_foreign and headers.get("sec-fetch-mode") != "navigate":
                raise RequestError(
                    "Sec-Fetch-Site: another page asks; add its origin to service.allowed_origins if it may"
                )
        elif not _is_origin_of(origin, host) and origin.lower() not in map(str.lower, self.allowed_origins):
            raise RequestError(
                f"Origin: '{one_line(origin)}' given, expected a page of this address; add that origin to "
                "service.allowed_origins if its pages may ask"
            )


def means_loopback(name: str) -> bool:
    """True for names and addresses that mean the machine itself wherever they are used: localhost, 127.0.0.1, [::1]."""
    address = _address(name)
    name = name.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost") or (address is not None and address.is_loopback)


def means_this_machine(name: str) -> bool:
    """True also for 0.0.0.0 and [::], to which a client connects as to loopback, and for the machine's own name."""
    address = _address(name)
    is_any = address is not None and address.is_unspecified
    return is_any or means_loopback(name) or name.lower().rstrip(".") in names_of_this_machine()


def names_of_this_machine() -> set[str]:
    """What others may call it; asks no name server."""
    name = socket.gethostname().lower().rstrip(".")
    short = name.partition(".")[0]
    return {name, short, f"{short}.local"} if short else set()


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_origin_of(origin: str, host: str) -> bool:
    """True if a page of this origin and a request under this Host are the same site, behind a TLS proxy as well."""
    try:
        parts = urlsplit(origin.lower())
        default_port = DEFAULT_PORTS[parts.scheme]
        origin_place = (parts.hostname, default_port if parts.port is None else parts.port)
    except (ValueError, KeyError):
        return False
    asked = _HOST.fullmatch(host.lower())
    if asked is None:
        return False
    return origin_place == (asked[1].strip("[]"), default_port if asked[2] is None else int(asked[2]))
