"""The state of a stopped run: one safetensors file, replaced atomically, with a checksum over all that it says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from anygpt.errors import TrainingError
from anygpt.media.sources import one_line

CHECKSUM = "sha256"


def save_state(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write tensors and facts; what was there stays whole until all is written.

    Raises:
        TrainingError: if there is no room, or it must not be written.
    """
    kept = {key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()}
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(kept, partial, {**facts, CHECKSUM: _checksum(kept, facts)})
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            partial.unlink()
        reason = one_line(getattr(error, "strerror", None) or str(error))
        raise TrainingError(
            f"{path}: cannot be written ({reason}); the state before it is whole: make room and go on"
        ) from error


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and facts, as they were saved to the bit.

    Raises:
        TrainingError: if the file is damaged, or without a checksum.
    """
    try:
        with safe_open(path, framework="pt") as state:
            facts = dict(state.metadata() or {})
            tensors = {key: state.get_tensor(key) for key in state.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
        raise TrainingError(f"{path} is damaged: {one_line(str(error))}; delete it to start afresh") from error
    checksum = facts.pop(CHECKSUM, None)
    if checksum is None:
        raise TrainingError(
            f"{path} has no checksum, as anygpt before it had one wrote it; finish with that version, or delete it to "
            "start afresh"
        )
    if checksum != _checksum(tensors, facts):
        raise TrainingError(f"{path} is damaged: it is not what was saved; delete it to start afresh")
    return tensors, facts


def _checksum(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(facts.items())).encode())
    for key, tensor in sorted(tensors.items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
