"""Why a model's weights cannot be found, by the files that are there: what to set or do instead."""

from __future__ import annotations

import json
import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

_WEIGHTS = re.compile(r"(?:model|diffusion_pytorch_model)(?:\.(?P<variant>[^.]+?))?(?:-\d{5}-of-\d{5})?\.safetensors")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5")
_READ_ALL_THE_SAME = "pytorch_model"  # transformers' own pickled files, read for their tensors alone
_POINTER = b"version https://git-lfs"
_POINTER_BYTES = 1024  # all pointers are smaller


def weights_advice(part: Path, variant: str | None = None, stage: str | None = None) -> str | None:
    """What is wrong with the weight files of a model and what helps, or None where they look right.

    Args:
        part: the model's folder.
        variant: the kind of weights that was asked for, None for the plain ones.
        stage: the config section that may set a variant: "generators.image"; None for parts that know no variants,
            whose pickled files are read for tensors.
    """
    files = sorted(file for file in part.iterdir() if file.is_file()) if part.is_dir() else []
    found = {match["variant"] for file in files if (match := _WEIGHTS.fullmatch(file.name))}
    if found and variant not in found:
        names = ", ".join(file.name for file in files if _WEIGHTS.fullmatch(file.name))
        other = sorted(found, key=lambda name: name or "")[0] or "null"
        fix = f"set {stage}.variant={other}" if stage else "rename them without the variant, or take the plain ones"
        return f"no {variant or 'plain'} weights, only {names}; {fix}"
    for file in files:
        if _WEIGHTS.fullmatch(file.name) and not _is_whole(file):
            return f"{file.name} is cut off or damaged; copy or download it again"
    missing = _missing_shards(files, part)
    if missing:
        return f"{missing} is missing, which the index names; copy or download the checkpoint again"
    pickled = [file.name for file in files if file.suffix in _PICKLED]
    if not found and stage is None and any(name.startswith(_READ_ALL_THE_SAME) for name in pickled):
        return None
    if not found and pickled:
        return f"only {', '.join(pickled)}; convert the checkpoint to safetensors once, see docs/real-stacks.md"
    unread = next((file.name for file in files if file.suffix == ".gguf"), None)
    if not found and unread:
        return f"only {unread}, a GGUF file, which is not read; give the original checkpoint's folder or hub name"
    if not found:
        return "no weights; copy or download the checkpoint again"
    return None


def lfs_pointer(folder: Path) -> str | None:
    """The name of a file, there or one folder below, that is a Git LFS pointer to what should be in its place."""
    for file in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if file.is_file() and file.stat().st_size < _POINTER_BYTES and file.read_bytes().startswith(_POINTER):
            return str(file.relative_to(folder))
    return None


def _is_whole(file: Path) -> bool:
    try:
        with safe_open(file, framework="pt"):
            return True
    except (SafetensorError, OSError):
        return False


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
