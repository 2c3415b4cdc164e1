"""The page's surroundings: whatever the environment says to gradio, it serves this page and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# What gradio and the hosts that it knows (Spaces) read at any time.
_GRADIOS = ("GRADIO_", "SPACE_", "SPACES_", "OAUTH_")
# What its HTTP client reads while it is imported, and cannot be imported with if it is wrong; the page fetches nothing.
_CLIENTS = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"),
)
# No statistics: none are sent, and none are worked out after every event.
_QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9)}


def ignored_variables() -> list[str]:
    """Variables that are set for gradio and have no effect on this page."""
    return sorted(name for name in os.environ if name.startswith("GRADIO_"))


@contextmanager
def for_gradio(folder: Path) -> Iterator[None]:
    """The environment as long as a page is served; its files lie in `folder`. Put back as it was afterwards."""
    unset = [name for name in os.environ if name.startswith(_GRADIOS) or name == "SYSTEM"]
    with _changed({**dict.fromkeys(unset), "GRADIO_TEMP_DIR": str(folder), **_QUIET}):
        yield


@contextmanager
def without_network() -> Iterator[None]:
    """No proxies and certificates, while gradio is imported and the page is built."""
    with _changed({name: None for name in os.environ if name.upper() in _CLIENTS}):
        yield


@contextmanager
def _changed(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables, or unset those that are None, and put them back."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
