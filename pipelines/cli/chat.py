"""`anygpt chat`: a conversation on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli import loading
from pipelines.cli.inputs import check_folder, listed
from pipelines.cli.options import (
    Address,
    AllowOutside,
    Config,
    Deploy,
    Duration,
    ExecutorName,
    Frames,
    Modalities,
    Overrides,
    ReplySeed,
    Temperature,
    TrustRemoteCode,
)


def chat(
    out: Annotated[Path, typer.Option(help="Folder for the replies' media.")] = Path("replies"),
    seed: ReplySeed = None,
    modalities: Modalities = None,
    temperature: Temperature = 0.0,
    frames: Frames = None,
    duration_s: Duration = None,
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
    from pipelines.admission import check_option_limits
    from pipelines.assistant import request_options
    from pipelines.cli.terminal import converse

    options: dict[str, Any] = {
        "seed": seed,
        "modalities": listed(modalities),
        "temperature": temperature,
        "frames": frames,
        "duration_s": duration_s,
    }
    asked = request_options(**options)
    check_folder(out)
    trust = {"allow_outside": allow_outside, "trust_remote_code": trust_remote_code}
    check_option_limits(load_stack_config(config, overrides or [], deploy, **trust), asked)
    with loading.load_model(config, overrides or [], executor, address, deploy, **trust) as model:
        converse(model, out, options)
