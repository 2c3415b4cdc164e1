"""How to reach a service: through the environment's proxies if it is elsewhere, directly if it is on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from anygpt.errors import RequestError
from anygpt.media.sources import one_line
from pipelines.serving.hosts import means_this_machine

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
EXCEPTIONS = ("NO_PROXY",)
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


def connection_options(url: str) -> dict[str, Any]:
    """Options of an httpx client for an address.

    Args:
        url: of the service.
    Raises:
        RequestError: if a proxy or certificate that the environment names cannot be used.
    """
    import httpx

    is_near = is_on_this_machine(url)
    if is_near and url.startswith("http:"):
        return {"trust_env": False, "verify": False}  # there is nothing to verify
    try:
        certificates = httpx.create_ssl_context(trust_env=not is_near)  # once: it is slow to make
    except OSError as error:
        raise RequestError(
            f"{_named(CERTIFICATES)}: cannot be used ({_reason(error)}), expected certificates of servers; correct or "
            "unset it"
        ) from error
    try:
        options: dict[str, Any] = {"trust_env": not is_near, "verify": certificates}
        httpx.Client(**options).close()
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise RequestError(
            f"{_named((*PROXIES, *EXCEPTIONS))}: cannot be used ({_reason(error)}), expected a proxy like "
            "http://host:port, or names of hosts in NO_PROXY; correct or unset it"
        ) from error
    return options


def is_on_this_machine(url: str) -> bool:
    """True for an address that no proxy can reach."""
    try:
        return means_this_machine(urlsplit(url).hostname or "")
    except ValueError:
        return False


def proxies_in_use(url: str) -> str:
    """The variables whose proxies a connection to the address may go through; "" if there are none."""
    return "" if is_on_this_machine(url) else ", ".join(_given(PROXIES))


def _named(variables: Iterable[str]) -> str:
    """Those of the variables that are set, as they are written; their values may hold passwords."""
    return ", ".join(_given(variables)) or "the system's settings"


def _given(variables: Iterable[str]) -> list[str]:
    upper = set(variables)
    return sorted(name for name in os.environ if name.upper() in upper)


def _reason(error: Exception) -> str:
    return one_line(str(getattr(error, "strerror", None) or error) or type(error).__name__)
