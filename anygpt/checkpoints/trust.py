"""What a checkpoint may do on this machine: bring weights and settings. It runs no code and leads to no other model.

A checkpoint's files can ask the libraries for more: `auto_map` and "custom_pipeline" name Python files of its own,
`attn_implementation` names kernels on the hub, an adapter names a base model anywhere. Code runs only where the user
has said so (`StackConfig.trust_remote_code`, set by no file), for as long as the stack is built.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from anygpt.errors import CheckpointError

_TRUSTED: ContextVar[bool] = ContextVar("trust_remote_code", default=False)
_FILES_WITH_CODE = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
_MAX_NAMED = 3
_KERNELS = ("attn_implementation", "experts_implementation")
_ALLOW = "if you trust it, give --trust-remote-code on the command line, or trust_remote_code=True in Python"


def remote_code_allowed() -> bool:
    """What every call that could run a checkpoint's own code passes as its `trust_remote_code`."""
    return _TRUSTED.get()


@contextmanager
def remote_code(*, allowed: bool) -> Iterator[None]:
    """Inside the block, checkpoints may run their own code, or may not."""
    token = _TRUSTED.set(allowed)
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def code_refusal(error: BaseException, what: str, source: str, revision: str | None = None) -> CheckpointError | None:
    """The refusal of a checkpoint that a library wanted to run code of; None where the error is another.

    Args:
        what: begins the message: "backbone.pretrained: 'org/model'".
        source: a folder or a hub name.
    """
    if "trust_remote_code" not in str(error):
        return None
    named = _wanted_code(source, revision)
    wanted = ", ".join([*named[:_MAX_NAMED], *["…"][: len(named) > _MAX_NAMED]]) or "its own classes"
    return CheckpointError(
        f"{what} wants to run its own Python code ({wanted}), which is not run unasked; give a checkpoint "
        f"of a class that the libraries have, or, {_ALLOW}"
    )


def check_checkpoint(what: str, source: str, *, revision: str | None = None, subfolder: str = "") -> None:
    """Refuse what transformers would follow or run besides `auto_map`, which it asks about itself.

    Raises:
        CheckpointError: for an adapter, and for kernels from the hub.
        OSError, ValueError: if the config cannot be read.
    """
    from transformers import PreTrainedConfig
    from transformers.utils.peft_utils import find_adapter_config_file

    adapter = find_adapter_config_file(source, revision=revision, subfolder=subfolder)
    if adapter is not None:
        base = _json_of(Path(adapter)).get("base_model_name_or_path")
        raise CheckpointError(
            f"{what} holds an adapter (adapter_config.json) for '{base}', expected a whole model; merge "
            "them once with PEFT's merge_and_unload(), save the result, and give its folder"
        )
    values, _ = PreTrainedConfig.get_config_dict(source, revision=revision, subfolder=subfolder)
    _refuse_kernels(what, values)


def _refuse_kernels(what: str, values: Mapping[str, Any]) -> None:
    """Raise CheckpointError where a model's config asks for kernels from the hub, and code is not allowed."""
    kernels = sorted(set(_kernels(values)))
    if kernels and not remote_code_allowed():
        raise CheckpointError(
            f"{what} wants to run kernels from the hub ({', '.join(kernels)}), which are not run unasked; "
            f"take attn_implementation out of its config.json, or, {_ALLOW}"
        )


def _kernels(values: Any) -> Iterator[str]:
    """Names like "org/kernel" of implementations, at any depth."""
    for key, value in values.items() if isinstance(values, Mapping) else ():
        if any(str(key).strip("_").startswith(name) for name in _KERNELS):
            named = value.values() if isinstance(value, Mapping) else [value]
            yield from (name for name in named if isinstance(name, str) and "/" in name)
        else:
            yield from _kernels(value)


def _wanted_code(source: str, revision: str | None) -> list[str]:
    """ "stranger.Model in config.json" for every class that a checkpoint's files name."""
    found = []
    for name in _FILES_WITH_CODE:
        path = _local_file(source, name, revision)
        named = _json_of(path).get("auto_map") if path else None
        for value in named.values() if isinstance(named, Mapping) else [named]:
            for reference in value if isinstance(value, list) else [value]:
                if isinstance(reference, str):
                    found.append(f"{' '.join(reference.split())} in {name}")
    return list(dict.fromkeys(found))


def _local_file(source: str, name: str, revision: str | None) -> Path | None:
    """A checkpoint's file in its folder, or in the hub's cache."""
    if os.path.isdir(source):
        return Path(source, name)
    from huggingface_hub import try_to_load_from_cache

    with suppress(ValueError, OSError):  # no hub name
        cached = try_to_load_from_cache(source, name, revision=revision)
        return Path(cached) if isinstance(cached, str) else None
    return None


def _json_of(path: Path) -> dict[str, Any]:
    """A file's JSON object, empty where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
