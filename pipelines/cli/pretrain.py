"""`anygpt pretrain`: makes the embedded default again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.inputs import check_folder


def pretrain(
    part: Annotated[str, typer.Argument(help="A part, or all.")],
    out: Annotated[Path, typer.Option(help="Folder for all parts; an unfinished run goes on.")] = Path(
        "runs/pretraining"
    ),
) -> None:
    """Make the embedded default again, from the world alone."""
    from anygpt.checkpoints.quiet import quiet_libraries
    from pipelines.tiny.recipes.recipes import run_recipes

    check_folder(out)
    with quiet_libraries():
        run_recipes(part, out)
