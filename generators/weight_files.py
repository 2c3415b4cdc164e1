"""Why a diffusers part's weights cannot be found, by the files that are there: what to set or do instead."""

from __future__ import annotations

import json
import re
from pathlib import Path

_WEIGHTS = re.compile(r"(?:model|diffusion_pytorch_model)(?:\.(?P<variant>[^.]+?))?(?:-\d{5}-of-\d{5})?\.safetensors")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5")
_POINTER = b"version https://git-lfs"


def weights_advice(part: Path, variant: str | None, stage: str) -> str | None:
    """What is wrong with the weight files of a part and what helps, or None where they look right.

    Args:
        part: the part's folder.
        variant: the kind of weights that was asked for, None for the plain ones.
        stage: names the config section: "generators.image".
    """
    files = sorted(file for file in part.iterdir() if file.is_file()) if part.is_dir() else []
    for file in files:
        if file.suffix == ".safetensors" and _starts_with(file, _POINTER):
            return f"{file.name} is a Git LFS pointer, not weights; run 'git lfs pull' in the checkpoint's folder"
    found = {match["variant"] for file in files if (match := _WEIGHTS.fullmatch(file.name))}
    if found and variant not in found:
        names = ", ".join(file.name for file in files if _WEIGHTS.fullmatch(file.name))
        other = sorted(found, key=lambda name: name or "")[0] or "null"
        return f"no {variant or 'plain'} weights, only {names}; set {stage}.variant={other}"
    missing = _missing_shards(files, part)
    if missing:
        return f"{missing} is missing, which the index names; copy or download the checkpoint again"
    pickled = [file.name for file in files if file.suffix in _PICKLED]
    if not found and pickled:
        return f"only {', '.join(pickled)}; convert the checkpoint to safetensors once, see docs/real-stacks.md"
    if not found:
        return "no weights; copy or download the checkpoint again"
    return None


def _starts_with(file: Path, beginning: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(beginning)) == beginning


def _missing_shards(files: list[Path], part: Path) -> str | None:
    """The first file that an index of shards names and that is not there."""
    for index in (file for file in files if file.name.endswith(".safetensors.index.json")):
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue
        for shard in sorted(map(str, shards)):
            if not (part / shard).is_file():
                return shard
    return None
