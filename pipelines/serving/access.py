"""Who may use a service or page: the key, the address that is listened on, and the pages that may ask."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from typing import TYPE_CHECKING

from anygpt.errors import ConfigError, RequestError
from anygpt.media.sources import one_line

if TYPE_CHECKING:
    from fastapi import Request

KEY_VARIABLE = "ANYGPT_API_KEY"


def checked_key(key: str | None, name: str = "api key") -> str | None:
    """A key without blanks around it; None stays None.

    Args:
        key: as it was given.
        name: what messages call it.
    Raises:
        ConfigError: if it is empty, or holds what an HTTP header cannot.
    """
    if key is None:
        return None
    trimmed = key.strip()
    if not trimmed:
        raise ConfigError(
            f"{name}: an empty key given, expected at least one character; "
            f"give a key, or none at all (unset {KEY_VARIABLE})"
        )
    if not (trimmed.isascii() and trimmed.isprintable() and " " not in trimmed):
        raise ConfigError(f"{name}: {one_line(ascii(trimmed))} given, expected printable ASCII characters, no blanks")
    return trimmed


def is_key(header: str, key: str) -> bool:
    """True for an `Authorization` header that holds the key as a bearer token."""
    scheme, _, given = header.strip().partition(" ")
    matches = secrets.compare_digest(given.strip().encode("utf-8", "replace"), key.encode())
    return matches and scheme.lower() == "bearer"


def is_loopback(host: str) -> bool:
    """True for an address or name that only programs of this machine can reach."""
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM)}
        return bool(host) and all(ipaddress.ip_address(address).is_loopback for address in addresses)
    except (OSError, ValueError):  # no such name: the address cannot be listened on, which is told elsewhere
        return False


def client_of(http: Request) -> str | None:
    """The address of a client that gets a share of what there is; None on this machine, where a proxy may be many."""
    host = http.client.host if http.client else ""
    try:
        return None if ipaddress.ip_address(host).is_loopback else host
    except ValueError:  # a socket of another kind
        return None


def check_exposure(host: str, key: str | None, allow_no_key: bool) -> None:
    """Refuse an address that nobody can listen on, and other machines without a key, unless that is wanted.

    Raises:
        RequestError: saying what to give.
    """
    try:
        socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise RequestError(
            f"--host: '{one_line(host)}' given, expected an address or name of this machine, as in 127.0.0.1 or 0.0.0.0"
        ) from None
    if key is None and not allow_no_key and not is_loopback(host):
        raise RequestError(
            f"--host: '{one_line(host)}' given, where other machines could use it without a key; give a service a key "
            f"({KEY_VARIABLE}), or allow it with --allow-no-key"
        )
