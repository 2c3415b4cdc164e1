"""`anygpt serve` and `anygpt demo`: the HTTP service and the page."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli import loading
from pipelines.cli.inputs import given_key
from pipelines.cli.options import (
    Address,
    AllowNoKey,
    AllowOutside,
    ApiKey,
    Config,
    Deploy,
    ExecutorName,
    Host,
    Overrides,
    TrustRemoteCode,
)


def serve(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    api_key: ApiKey = None,
    allow_no_key: AllowNoKey = False,
    config: Config = "tiny",
    executor: ExecutorName = "local",
    address: Address = None,
    deploy: Deploy = None,
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
    overrides: Overrides = None,
) -> None:
    """Serve OpenAI's HTTP interface: chat completions and images."""
    from pipelines.serving.access import check_exposure
    from pipelines.serving.server import serve as run

    key = given_key(api_key)
    check_exposure(host, key, allow_no_key)
    trust = {"allow_outside": allow_outside, "trust_remote_code": trust_remote_code}
    run(lambda: loading.load_model(config, overrides or [], executor, address, deploy, **trust), host, port, key)
