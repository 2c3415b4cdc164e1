"""Load a transformers model so that every weight of it comes from the checkpoint, or say by name which does not."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from anygpt.checkpoints.constants import is_constant
from anygpt.checkpoints.diagnosis import diagnose
from anygpt.checkpoints.quiet import quiet_libraries
from anygpt.checkpoints.reading_errors import reading
from anygpt.checkpoints.trust import check_checkpoint, remote_code_allowed
from anygpt.errors import CheckpointError

if TYPE_CHECKING:  # its import takes seconds, and encoders of our own do without
    from transformers import PreTrainedConfig, PreTrainedModel

_MAX_KEYS_NAMED = 3


def load_strictly(
    model_class: type[PreTrainedModel],
    source: str,
    *,
    config: PreTrainedConfig,
    who: str,
    dtype: torch.dtype,
    revision: str = "main",
    other_parts: tuple[str, ...] = (),
    **model_options: Any,
) -> PreTrainedModel:
    """`model_class.from_pretrained`, refusing a checkpoint that does not cover the model exactly.

    Args:
        source: a folder or a hub name.
        config: the model's own config (a whole CLIP's `vision_config`, for example).
        who: begins the error message: "image encoder 'clip'".
        other_parts: beginnings of keys that belong to the checkpoint's other parts and may stay unused.
        model_options: further arguments of the model's constructor.
    Raises:
        CheckpointError: if weights cannot be read, or keys are missing, unexpected or of another shape.
    """
    with checkpoint_errors(who, source), quiet_libraries("transformers"):
        check_checkpoint(f"{who}: '{source}'", source, revision=revision)
        loaded: Any = model_class.from_pretrained(
            source,
            config=config,
            revision=revision,
            trust_remote_code=remote_code_allowed(),
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, together with the rest
            **model_options,
        )
    model, report = loaded
    unknown = (key for key in report["unexpected_keys"] if not (key.startswith(other_parts) or is_constant(key)))
    misfits = (f"{key} {tuple(found)} instead of {tuple(want)}" for key, found, want in report["mismatched_keys"])
    problems = [
        *_named("missing", report["missing_keys"]),
        *_named("of another shape", misfits),
        *_named("not known to it", unknown),
        *_named("unreadable", report["error_msgs"]),
    ]
    _refuse(problems, model_class, source, who)
    return model


def load_state_strictly(
    model: nn.Module, weights: dict[str, Tensor], *, source: str, who: str, other_parts: tuple[str, ...] = ()
) -> None:
    """`model.load_state_dict`, refusing weights that do not cover the model exactly.

    Args:
        weights: by the model's own keys.
        source: where they are from, for the error message.
        who, other_parts: as in `load_strictly`.
    Raises:
        CheckpointError: if keys are missing, unexpected or of another shape.
    """
    own = model.state_dict()
    misfits = (
        f"{key} {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own.keys() & weights.keys()
        if weights[key].shape != own[key].shape
    )
    problems = [
        *_named("missing", own.keys() - weights.keys()),
        *_named("of another shape", misfits),
        *_named("not known to it", (key for key in weights.keys() - own.keys() if not key.startswith(other_parts))),
    ]
    _refuse(problems, type(model), source, who)
    model.load_state_dict({key: weights[key] for key in own})


def read_torch_file(path: str, *, who: str) -> Any:
    """A `.pt` file's tensors and plain values; nothing else is unpickled.

    Raises:
        CheckpointError: if it is missing, damaged or holds other objects.
    """
    with reading(f"{who}: '{path}'", path, advice="get the official file again, or correct `pretrained`"):
        return torch.load(path, map_location="cpu", weights_only=True)


def read_model_config(source: str, *, who: str, revision: str = "main") -> PreTrainedConfig:
    """The config of a transformers checkpoint.

    Raises:
        CheckpointError: if it is missing or damaged, or of a class that transformers does not have.
    """
    from transformers import AutoConfig

    with checkpoint_errors(who, source, revision=revision):
        if os.path.isfile(source):  # transformers would take any JSON file
            raise ValueError("a file was given")
        return AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=remote_code_allowed())


def checkpoint_errors(who: str, source: str, *needed: str, revision: str | None = None) -> AbstractContextManager[None]:
    """Turn what libraries raise for an absent, unreachable or damaged checkpoint into one CheckpointError.

    Args:
        needed: files that are read besides config.json and the weights.
    """
    return reading(
        f"{who}: '{source}'",
        source,
        advice="expected an intact checkpoint folder or a hub name that can be reached; correct `pretrained`",
        revision=revision,
        explain=lambda error: diagnose(error, source, needed=[[name] for name in needed]),
    )


def _refuse(problems: list[str], model_class: type, source: str, who: str) -> None:
    if problems:
        raise CheckpointError(
            f"{who}: the weights in '{source}' are not those of a {model_class.__name__} with its config: "
            f"{'; '.join(problems)}; expected an exact match, get the checkpoint again or correct its config.json"
        )


def _named(what: str, keys: Iterable[str]) -> list[str]:
    """["2 missing (a, b)"], or nothing if there are no keys."""
    names = sorted(keys)
    if not names:
        return []
    more = ", …" if len(names) > _MAX_KEYS_NAMED else ""
    return [f"{len(names)} {what} ({', '.join(names[:_MAX_KEYS_NAMED])}{more})"]
