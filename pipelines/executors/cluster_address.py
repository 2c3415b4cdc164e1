"""The address of a running Ray cluster, checked without Ray."""

from __future__ import annotations

import socket
import sys

from anygpt.errors import ConfigError

CONNECT_S = 5.0


def check_reachable(address: str) -> None:
    """Knock at host:port, which Ray itself would try for minutes; "auto" has none.

    Raises:
        ConfigError: if nobody listens there, or it is no cluster's address.
    """
    if address.strip() in ("", "local"):
        raise ConfigError(f"address: '{address}' given, expected auto or HOST:PORT; leave it out to start a Ray")
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    try:
        if colon:
            socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise no_cluster(address, error) from error


def no_cluster(address: str, error: Exception) -> ConfigError:
    """What is wrong with an address, in one line."""
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return ConfigError(f"address: '{address}' given, where no Ray cluster answers: {reason}")


def address_of_this_process() -> str | None:
    """Of the cluster that the program itself has joined, if it has."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    address: str = ray.get_runtime_context().gcs_address
    return address
