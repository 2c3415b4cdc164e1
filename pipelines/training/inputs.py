"""What a run learns from, as short hashes: a run that goes on with other data or weights is another run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_BLOCK_BYTES = 1024 * 1024
_EDGE_BYTES = 64 * 1024  # of a medium's file, at both ends: a data set's media can be many gigabytes
_STATES = "training_state"  # of the run that made a bundle, which is not the bundle's
_EDGE_VALUES = 1024  # of a frozen tensor, likewise


def data_fingerprint(file: Path, media: Iterable[Path]) -> str:
    """A hash of a data file's content and of the media that it names: their sizes, beginnings and ends.

    Args:
        file: read as a whole, in blocks.
        media: in the order of the file.
    """
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            digest.update(block)
    for path in media:
        size = os.path.getsize(path)
        digest.update(f"\n{size}\n".encode())
        with path.open("rb") as opened:
            digest.update(opened.read(_EDGE_BYTES))
            opened.seek(max(0, size - _EDGE_BYTES))
            digest.update(opened.read(_EDGE_BYTES))
    return digest.hexdigest()


def adapters_fingerprint(folder: Path) -> str:
    """A hash of an adapter bundle's tensors: parts that a run does not train stay as they came from there.

    Args:
        folder: the bundle's; its files are read as a whole, in blocks.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        if path.parent.name != _STATES:
            digest.update(f"{path.relative_to(folder).as_posix()} {os.path.getsize(path)}\n".encode())
            with path.open("rb") as opened:
                while block := opened.read(_BLOCK_BYTES):
                    digest.update(block)
    return digest.hexdigest()


def values_fingerprint(values: Mapping[str, Any], sections: Iterable[str]) -> str:
    """A hash of some sections of a config's plain values."""
    chosen = {section: values[section] for section in sections}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def weights_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A hash of frozen weights: names, kinds, shapes, and the first and last values of each.

    Args:
        tensors: by name, of any shape and dtype, on any device.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        values = tensor.detach().reshape(-1)
        for edge in (values[:_EDGE_VALUES], values[-_EDGE_VALUES:]):
            digest.update(edge.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
