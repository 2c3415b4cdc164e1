"""Where a plan reads a checkpoint's architecture from: its folder, the hub's local cache, or what this project knows.

`anygpt/architectures/` holds known checkpoints' folders without their weights: the JSON files with the published sizes,
and tokenizers that know no words but the special tokens.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anygpt.checkpoints.locate import locate
from anygpt.config.schema import StackConfig
from anygpt.errors import CheckpointError

ARCHITECTURES_DIR = Path(__file__).parent.parent.parent / "anygpt" / "architectures"
# Files by which a folder is known to hold an architecture.
_CONFIG_FILES = ("config.json", "model_index.json")


def with_folders(config: StackConfig) -> StackConfig:
    """The config with every `pretrained` value, at any depth, as a path that can be read without a network.

    Raises:
        CheckpointError: if an architecture is not known here; names the key and the fix.
    """
    return replace(
        config,
        encoders=_located(config.encoders, "encoders"),
        backbone=_located(config.backbone, "backbone"),
        generators=_located(config.generators, "generators"),
    )


def architecture(pretrained: str, where: str, revision: str | None = None) -> str:
    """A folder with the architecture of a `pretrained` value, or the official file itself.

    Args:
        pretrained: `embedded:…`, a folder, an official file or a hub name.
        where: its key, for messages: "encoders.image.pretrained".
        revision: of the hub repository, where it is looked for in the hub's cache.
    Raises:
        CheckpointError: if it is none of these, not in the hub's cache and not known to this project.
    """
    source = os.path.expanduser(locate(pretrained))
    if os.path.exists(source):
        return source
    cached = _cached_folder(pretrained, revision)
    if cached:
        return cached
    # An official file is known by its own name, wherever it will lie; openai's Whispers by their short ones.
    for name in (pretrained, Path(pretrained).name, f"openai/whisper-{pretrained}"):
        if _holds_config(ARCHITECTURES_DIR / name):
            return str(ARCHITECTURES_DIR / name)
    raise CheckpointError(
        f"{where}: the architecture of '{pretrained}' is not known here: it is no file or folder, not in the hub's "
        "cache and not in anygpt/architectures; fetch its small files with: "
        f"hf download {pretrained} --include '*.json' '*.txt' '*.model'"
    )


def _located(values: Any, where: str) -> Any:
    if isinstance(values, Mapping):
        located = {key: _located(value, f"{where}.{key}") for key, value in values.items()}
        pretrained = values.get("pretrained")
        if isinstance(pretrained, str):
            located["pretrained"] = architecture(pretrained, f"{where}.pretrained", values.get("revision"))
        return located
    if isinstance(values, list):
        return [_located(value, f"{where}.{index}") for index, value in enumerate(values)]
    return values


def _cached_folder(name: str, revision: str | None) -> str | None:
    """The snapshot of a hub repository in the local cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return str(folder) if _holds_config(folder) else None


def _holds_config(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _CONFIG_FILES)
