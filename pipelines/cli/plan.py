"""`anygpt plan`: what a stack needs."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from pipelines.cli.options import AllowOutside, Config, Deploy, ExecutorName, Overrides, TrustRemoteCode


def plan(
    gpu: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Memory of every GPU, as in 24GiB,24GiB: does the stack fit?"),
    ] = None,
    config: Config = "tiny",
    executor: ExecutorName = "local",
    deploy: Deploy = None,
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
    overrides: Overrides = None,
) -> None:
    """What a stack needs, stage by stage; reads no weights and downloads nothing."""
    from anygpt.config.loading import load_stack_config
    from pipelines.planning.devices import parse_gpus, placing_rule

    gpus = None if gpu is None else parse_gpus(gpu)
    placing_rule(executor)
    trust = {"allow_outside": allow_outside, "trust_remote_code": trust_remote_code}
    loaded = load_stack_config(config, overrides or [], deploy, **trust)
    from pipelines.planning.plan import make_plan

    print(make_plan(loaded, gpus, executor))
