"""`anygpt chat`: a conversation on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anygpt.options import ReplyOptions
from pipelines.cli import loading
from pipelines.cli.inputs import check_folder
from pipelines.cli.options import (
    Address,
    AllowOutside,
    Config,
    Deploy,
    ExecutorName,
    Overrides,
    TrustRemoteCode,
)
from pipelines.cli.reply_options import with_reply_options


@with_reply_options
def chat(
    options: ReplyOptions,
    out: Annotated[Path, typer.Option(help="Folder for the replies' media.")] = Path("replies"),
    config: Config = "tiny",
    executor: ExecutorName = "local",
    address: Address = None,
    deploy: Deploy = None,
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
    overrides: Overrides = None,
) -> None:
    """Talk over several turns. /image FILE [PROMPT] (audio, video, points) attaches it, /help lists all commands."""
    from anygpt.config.loading import load_stack_config
    from anygpt.options import request_options
    from pipelines.admission import check_against_config
    from pipelines.cli.terminal import converse

    asked = request_options(**options)
    check_folder(out)
    trust = {"allow_outside": allow_outside, "trust_remote_code": trust_remote_code}
    check_against_config(load_stack_config(config, overrides or [], deploy, **trust), asked)
    with loading.load_model(config, overrides or [], executor, address, deploy, **trust) as model:
        converse(model, out, options)
