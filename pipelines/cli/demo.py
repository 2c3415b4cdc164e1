"""`anygpt demo`: the page."""

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


def demo(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 7860,
    server: Annotated[
        str | None, typer.Option(help="A running service to talk to, as in http://127.0.0.1:8000.")
    ] = None,
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
    """A chat in the browser, with this program's own stack or a running service."""
    from pipelines.demo.page import launch_page
    from pipelines.serving.access import check_exposure

    check_exposure(host, None, allow_no_key)  # the page itself asks for no key
    if server is not None:
        from anygpt.config.loading import load_stack_config
        from pipelines.demo.http_backend import HttpBackend

        page_limits = load_stack_config(config, overrides or [], deploy).service
        server = server if "://" in server else f"http://{server}"
        launch_page(HttpBackend(server, given_key(api_key), page_limits), host, port)
        return
    from pipelines.demo.backends import LocalBackend

    trust = {"allow_outside": allow_outside, "trust_remote_code": trust_remote_code}
    with loading.load_model(config, overrides or [], executor, address, deploy, **trust) as model:
        launch_page(LocalBackend(model), host, port)
