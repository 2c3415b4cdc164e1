"""`python -m benchmarks [--only GROUP]... [--config NAME|FILE] [--repeats N] [--json FILE]`"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import (
    batching,
    budgets,
    decode_speed,
    first_token,
    modalities,
    overhead,
    point_sampling,
    recovery,
    serving,
    signal_block,
)
from benchmarks.figure import Figure
from benchmarks.machine import describe
from benchmarks.setup import Setup

GROUPS: dict[str, Callable[[Setup], list[Figure]]] = {
    "first_token": first_token.measure,
    "decode_speed": decode_speed.measure,
    "signal_block": signal_block.measure,
    "overhead": overhead.measure,
    "modalities": modalities.measure,
    "batching": batching.measure,
    "budgets": budgets.measure,
    "point_sampling": point_sampling.measure,
    "serving": serving.measure,
    "recovery": recovery.measure,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it as JSON if asked to."""
    options = _options(arguments)
    machine = describe()
    setup = Setup(options.config, repeats=options.repeats)
    figures: list[Figure] = []
    try:
        for name in options.only or GROUPS:
            print(f"measuring {name} …", file=sys.stderr)
            figures += GROUPS[name](setup)
    finally:
        setup.close()
    print(as_text({**machine, "config": options.config}, figures))
    if options.json:
        result = {**machine, "config": options.config, "repeats": options.repeats}
        result["figures"] = [{**asdict(figure), "is_met": figure.is_met} for figure in figures]
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(GROUPS), help="measure this group; may be repeated")
    parser.add_argument("--config", default="tiny", help="shipped name or YAML file of the stack")
    parser.add_argument("--repeats", type=int, default=9, help="repetitions of each measurement")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    return parser.parse_args(arguments)


def as_text(machine: dict[str, str], figures: Sequence[Figure]) -> str:
    """The machine, then one line a figure: name, value, goal, definition."""
    rows = [("figure", "value", "goal", "definition")]
    for figure in figures:
        verdict = {True: " met", False: " MISSED", None: ""}[figure.is_met]
        rows.append((figure.name, f"{figure.value:.4g} {figure.unit}", figure.goal + verdict, figure.definition))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{key}: {value}" for key, value in machine.items()]
    lines.append("")
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[3]]))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
