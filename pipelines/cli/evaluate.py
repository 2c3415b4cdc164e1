"""`anygpt eval`: measures a stack in the small world."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from pipelines.cli import loading
from pipelines.cli.inputs import check_folder
from pipelines.cli.options import AllowOutside, Config, Overrides, Seed, TrustRemoteCode


class Phrasing(str, Enum):
    """Which templates the matrix asks with."""

    held_out = "held_out"
    train = "train"


def eval_matrix(
    trials: Annotated[int, typer.Option(help="Trials a cell.", min=1)] = 100,
    out: Annotated[Optional[Path], typer.Option(help="Folder for matrix.json and matrix.png.")] = None,  # noqa: UP045
    seed: Seed = 0,
    phrasing: Annotated[Phrasing, typer.Option(help="held_out was never trained on.")] = Phrasing.held_out,
    config: Config = "tiny",
    allow_outside: AllowOutside = False,
    trust_remote_code: TrustRemoteCode = False,
    overrides: Overrides = None,
) -> None:
    """The any-to-any matrix: every input modality to every output modality, read back by the oracle."""
    from pipelines.tiny.evaluation.matrix import run_matrix, write_report

    if out:
        check_folder(out)
    with loading.load_model(
        config, overrides or [], allow_outside=allow_outside, trust_remote_code=trust_remote_code
    ) as model:
        report = run_matrix(model, trials=trials, seed=seed, split=phrasing.value)
    print(report)
    if out:
        write_report(report, out)
