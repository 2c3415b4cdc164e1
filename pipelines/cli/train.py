"""`anygpt train`: trains adapters."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.errors import INTERRUPTED, fail
from pipelines.cli.inputs import check_folder
from pipelines.cli.options import AllowOutside, Overrides, TrustRemoteCode


def train(
    stage: Annotated[str, typer.Argument(help="align-input, align-output, instruct, or a training YAML file.")],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the bundle, runs/STAGE if not given; an unfinished run goes on.")
    ] = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Go on although data or frozen weights have changed.")
    ] = False,
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Train adapters; stop with Ctrl-C and run again to go on."""
    from anygpt.config.bundles import stands_alone
    from anygpt.errors import ConfigError
    from pipelines.training.objectives import OBJECTIVES

    is_file = stage.endswith((".yaml", ".yml"))
    if not is_file and stage not in OBJECTIVES:
        raise ConfigError(f"stage: '{stage}' given, expected {', '.join(OBJECTIVES)} or a YAML file")
    from pipelines.training.trainer import load_training_config
    from pipelines.training.trainer import train as run

    config = load_training_config(stage if is_file else f"training/{stage}", overrides or [])
    folder = out or Path("runs") / config.objective
    check_folder(folder)
    finished = run(
        config,
        folder,
        accept_changes=accept_changes,
        allow_outside=allow_outside,
        trust_remote_code=trust_remote_code,
    )
    if finished is None:
        line = f"interrupted; the state is in {folder}, the same command goes on from there"
        sys.exit(fail(line, INTERRUPTED, debug=False))
    option = "" if stands_alone(folder) else " --allow-outside"  # for your own bundle, over your own files
    print(f"trained; try it with: anygpt chat --config {folder}{option}", file=sys.stderr)
    print(folder)
