"""A plan as text: a table by stage, then the devices, whether they suffice, and what would help."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.planning.devices import Load, StageOnDevice
from pipelines.planning.needs import Saving, StageNeed

_HEADER = (
    "stage", "device", "dtype", "parameters", "trained", "as placed", "fp16/bf16", "int8", "4-bit", "cache",
    "activations",
)  # fmt: skip
_LEFT_COLUMNS = 3
_MOST_ADVICE = 4


def table(needs: Sequence[StageNeed]) -> str:
    """One row a stage and one of their sums."""
    rows = [_HEADER, *(_row(need) for need in needs), _sums(needs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < _LEFT_COLUMNS else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def verdict(placed: StageOnDevice) -> str:
    """One line a device, then "fits" or "does not fit" with what to change."""
    lines = [_device_line(load) for load in placed.loads]
    if not any(load.is_gpu for load in placed.loads) and not placed.problems:
        return "\n".join([*lines, "no stage is placed on a GPU: set placement.<stage>.device=cuda:0, or give --deploy"])
    if placed.fits:
        return "\n".join([*lines, "fits"])
    return "\n".join([*lines, "does not fit", *(f"  {line}" for line in (*placed.problems, *_advice(placed)))])


def size_text(size: int) -> str:
    """Bytes for a reader: "13.52 GiB", "579 MiB"."""
    if size >= 2**30:
        return f"{size / 2**30:.2f} GiB"
    return f"{size / 2**20:.0f} MiB" if size >= 10 * 2**20 else f"{size / 2**20:.1f} MiB"


def count_text(count: int) -> str:
    """A number of parameters: "6.74 B", "303.2 M", "695 k"."""
    if count >= 10**9:
        return f"{count / 10**9:.2f} B"
    return f"{count / 10**6:.1f} M" if count >= 10**6 else f"{count / 10**3:.0f} k"


def _row(need: StageNeed) -> tuple[str, ...]:
    return (need.stage, need.placement.device, need.placement.dtype, *_cells([need]))


def _sums(needs: Sequence[StageNeed]) -> tuple[str, ...]:
    return ("total", "", "", *_cells(needs))


def _cells(needs: Sequence[StageNeed]) -> tuple[str, ...]:
    weights = [need.weights for need in needs]
    parameters, trained = sum(own.parameters for own in weights), sum(own.trained for own in weights)
    cache = sum(need.passes.cache for need in needs)
    return (
        count_text(parameters),
        f"{count_text(trained)} ({trained / parameters:.2%})" if trained else "-",
        *(size_text(sum(getattr(own, name) for own in weights)) for name in ("placed", "half", "int8", "int4")),
        size_text(cache) if cache else "-",
        size_text(sum(need.passes.activations for need in needs)),
    )


def _device_line(load: Load) -> str:
    parts = [f"{need.stage} {size_text(need.total)}" for need in load.needs]
    if load.context:
        parts.append(f"CUDA itself {size_text(load.context)}")
    what = f"{load.device}: {size_text(load.needed)} needed"
    if load.capacity is None:
        what += ", not checked"
    elif load.free < 0:
        what += f" of {size_text(load.capacity)}, {size_text(-load.free)} too little"
    else:
        what += f" of {size_text(load.capacity)}, {size_text(load.free)} left"
    return f"{what}\n  {', '.join(parts)}"


def _advice(placed: StageOnDevice) -> list[str]:
    """What would make room on the devices that have too little."""
    lines = []
    for load in placed.loads:
        if load.free >= 0:
            continue
        savings = {saving.override: saving for need in load.needs for saving in (*need.savings, *_moves(need, placed))}
        best = sorted(savings.values(), key=lambda saving: -saving.saved)[:_MOST_ADVICE]
        lines += [f"on {load.device}, {saving.override} saves {size_text(saving.saved)}" for saving in best]
        if sum(saving.saved for saving in best) < -load.free:
            lines.append(f"on {load.device}, that is not enough: take a larger GPU, or place stages on others")
    return lines


def _moves(need: StageNeed, placed: StageOnDevice) -> list[Saving]:
    """Another GPU that has room for the stage."""
    roomy = [load for load in placed.loads if load.is_gpu and load.free >= need.total and need not in load.needs]
    return [Saving(f"placement.{need.stage}.device={load.device}", need.total) for load in roomy[:1]]
