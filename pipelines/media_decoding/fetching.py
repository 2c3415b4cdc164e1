"""Fetch a file from an https address of a host that the operator allows."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection
from typing import Any

from anygpt.errors import MediaError
from anygpt.media.sources import one_line

SILENCE_S = 10.0  # longest time without a byte; the whole fetch has the deadline of its decoding process
HTTPS_PORT = 443


def is_allowed(url: str, allowed_hosts: Collection[str]) -> bool:
    """True for an https address on one of `allowed_hosts`; ports other than 443 must be named: "example.org:8443"."""
    try:
        address = urllib.parse.urlsplit(url)
        host = (address.hostname or "").removesuffix(".")
        port = HTTPS_PORT if address.port is None else address.port
    except ValueError:
        return False
    if address.scheme != "https" or address.username is not None or address.password is not None:
        return False
    allowed = {name.lower() for name in allowed_hosts}
    return f"{host}:{port}" in allowed or (port == HTTPS_PORT and host in allowed)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An allowed host must not send the service elsewhere."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def fetch(url: str, name: str, max_bytes: int) -> bytes:
    """The file at an address, at most one byte more than `max_bytes` of it.

    Args:
        url: https, of an allowed host.
        name: what messages call it.
    Raises:
        MediaError: if it cannot be had.
    """
    try:
        with urllib.request.build_opener(_NoRedirects).open(url, timeout=SILENCE_S) as answer:
            data: bytes = answer.read(max_bytes + 1)
            promised = answer.headers.get("Content-Length", "")
            if promised.isdigit() and len(data) < min(int(promised), max_bytes + 1):
                raise http.client.IncompleteRead(data, int(promised) - len(data))
    except (OSError, ValueError, urllib.error.URLError, http.client.HTTPException) as error:
        reason = one_line(str(error)) or type(error).__name__
        raise MediaError(f"{name}: the address cannot be read ({reason}); send the file as a data URL") from error
    return data
