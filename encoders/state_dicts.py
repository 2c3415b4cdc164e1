"""Models that no library carries: their folders (config.json, model.safetensors), settings and strict building."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anygpt.errors import CheckpointError
from encoders.strict_loading import checkpoint_errors, load_state_strictly

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"

SettingsT = TypeVar("SettingsT")
ModuleT = TypeVar("ModuleT", bound=nn.Module)


def save_folder(model: nn.Module, folder: str | Path, *, model_type: str, settings: Any) -> None:
    """Write config.json and model.safetensors, which `read_config` and `read_weights` take back.

    Args:
        folder: made if it is not there.
        model_type: tells this kind of model from others.
        settings: a dataclass of plain values from which the model is built.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    values = {"model_type": model_type, **asdict(settings)}
    (folder / CONFIG_NAME).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    # Clones, because safetensors refuses two names for one tensor.
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_NAME, {"format": "pt"})


def read_config(source: str, *, who: str, model_type: str) -> dict[str, Any]:
    """The values of a folder's config.json, without reading weights.

    Raises:
        CheckpointError: if it is missing, damaged or of another kind of model.
    """
    if not Path(source).is_dir():
        raise CheckpointError(
            f"{who}: '{source}' cannot be loaded: there is no such file or folder; download the official checkpoint or "
            "set `pretrained` to one that is there"
        )
    with checkpoint_errors(who, source):
        values = json.loads((Path(source) / CONFIG_NAME).read_text(encoding="utf-8"))
        found = values["model_type"]
    if found != model_type:
        raise CheckpointError(
            f"{who}: '{source}' is of type {found!r}, expected '{model_type}'; set `pretrained` to such a checkpoint"
        )
    return dict(values)


def read_weights(source: str, *, who: str) -> dict[str, Tensor]:
    """The tensors of a folder's model.safetensors.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    with checkpoint_errors(who, source):
        return dict(load_file(Path(source) / WEIGHTS_NAME))


def tensors_in(value: Any) -> dict[str, Tensor]:
    """The named tensors of what should be a state dict, nothing if it is none."""
    entries = value.items() if isinstance(value, dict) else ()
    return {key: tensor for key, tensor in entries if isinstance(key, str) and isinstance(tensor, Tensor)}


def parse_settings(settings_class: type[SettingsT], values: Mapping[str, Any], source: str, *, who: str) -> SettingsT:
    """Build a settings dataclass of ints, bools and strings from a checkpoint's own config.

    Values that the class has no field for (options of training) are left out; none is ever guessed.

    Raises:
        CheckpointError: if a value is missing, of another type, or impossible.
    """
    chosen: dict[str, Any] = {}
    hints = get_type_hints(settings_class)
    for field in fields(settings_class):  # type: ignore[arg-type]  # every settings class is a dataclass
        value, expected = values.get(field.name), hints[field.name]
        if type(value) is not expected:
            raise CheckpointError(
                f"{who}: the config in '{source}' has {field.name}={value!r}, expected a value of type "
                f"{expected.__name__}; get the checkpoint again"
            )
        chosen[field.name] = value
    try:
        return settings_class(**chosen)
    except ValueError as error:
        raise CheckpointError(f"{who}: the config in '{source}' has {error}; get the checkpoint again") from error


def build_strictly(
    build: Callable[[], ModuleT], weights: Mapping[str, Tensor], source: str, *, who: str, dtype: torch.dtype
) -> ModuleT:
    """Build a model without initialising it and give it exactly these weights.

    Args:
        build: makes the model; must leave no tensor outside its state dict.
        weights: by the names of its state dict.
        dtype: of the floating-point weights.
    Raises:
        CheckpointError: if a weight is missing, unknown, of another shape, or differs under two names for one tensor.
    """
    with torch.device("meta"):
        model = build()
    model.to_empty(device="cpu")
    load_state_strictly(model, dict(weights), source=source, who=who)
    _refuse_differing_twins(model, weights, source, who=who)
    return model.to(dtype)


def _refuse_differing_twins(model: nn.Module, weights: Mapping[str, Tensor], source: str, *, who: str) -> None:
    first_names: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = first_names.setdefault(id(parameter), name)
        if first != name and not torch.equal(weights[first], weights[name]):
            raise CheckpointError(
                f"{who}: the weights in '{source}' have two values for one shared tensor, {first} and {name}; "
                "expected equal ones, get the checkpoint again"
            )
