"""Load the parts of a diffusers pipeline folder strictly: no tensor missing, left over, reshaped or left random.

`from_pretrained` of both libraries fails open: a missing tensor is drawn at random (transformers) or stays on the meta
device (diffusers), and a missing text `config.json` becomes the class's default one. Here each of these is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DiffusionPipeline
from safetensors import SafetensorError
from torch import nn

from anygpt.errors import CheckpointError
from anygpt.weights import locate
from anygpt.weights.constants import is_constant
from anygpt.weights.quiet import quiet_libraries
from generators.weight_files import weights_advice

Loaded = TypeVar("Loaded")
# What the two libraries raise for files that are missing, damaged or do not fit.
LIBRARY_ERRORS = (OSError, ValueError, RuntimeError, TypeError, SafetensorError)
MODEL_INDEX = "model_index.json"


def fetch_pipeline(
    pretrained: str,
    pipeline_class: type[DiffusionPipeline],
    *,
    revision: str | None = None,
    variant: str | None = None,
) -> Path:
    """Find a pipeline's folder, downloading it (safetensors only) if `pretrained` is a hub name.

    Args:
        pretrained: a folder, `embedded:…` or a hub name.
        pipeline_class: the one class that the folder's model_index.json may name.
        revision, variant: branch, tag or commit on the hub; kind of weights ("fp16").
    Raises:
        CheckpointError: if there is no such folder or hub model, or it holds another kind of pipeline.
    """
    folder = Path(locate(pretrained)).expanduser()
    if not folder.is_dir():
        try:
            with quiet_libraries(hide_bars=False):
                folder = Path(
                    pipeline_class.download(pretrained, revision=revision, variant=variant, use_safetensors=True)
                )
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"pretrained: '{pretrained}' is not a folder and could not be fetched from the hub "
                f"({_one_line(error)}); give a folder, 'embedded:…' or a hub name that can be reached"
            ) from error
    found = component_classes(folder).get("_class_name")
    if found != pipeline_class.__name__:
        raise CheckpointError(
            f"{folder}: {MODEL_INDEX} names a '{found}', expected '{pipeline_class.__name__}'; use another checkpoint"
        )
    return folder


def component_classes(folder: Path) -> dict[str, Any]:
    """A folder's model_index.json: component → class name, None where the checkpoint leaves it out.

    Raises:
        CheckpointError: if the file is missing or not a JSON object.
    """
    path = folder / MODEL_INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({_one_line(error)}); expected a diffusers folder") from error
    if not isinstance(index, dict):
        raise CheckpointError(f"{path}: {type(index).__name__} given, expected a JSON object")
    return {name: entry[-1] if isinstance(entry, list) and entry else entry for name, entry in index.items()}


def load_module(
    module_class: type[Any],
    folder: Path,
    name: str,
    *,
    dtype: torch.dtype,
    stage: str,
    variant: str | None = None,
) -> nn.Module:
    """Load one network, frozen and in eval mode, from `folder/name`.

    Args:
        module_class: a diffusers `ModelMixin` or transformers `PreTrainedModel` class; the folder must name the same.
        dtype: of the weights in memory.
        stage: names the config section in messages: "generators.image".
        variant: kind of weights ("fp16").
    Raises:
        CheckpointError: naming the first tensor that is missing, unexpected or misshapen, or the file at fault.
    """
    found = component_classes(folder).get(name)
    if found != module_class.__name__:
        raise CheckpointError(f"{folder}: '{name}' is a '{found}', expected '{module_class.__name__}'")
    require_files(folder, name, ("config.json",))
    advice = weights_advice(folder / name, variant, stage)
    if advice:
        raise CheckpointError(f"{folder}: '{name}' cannot be loaded: {advice}")
    with _naming(folder, name), quiet_libraries():
        module, info = module_class.from_pretrained(
            folder,
            subfolder=name,
            dtype=dtype,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # reported below by name; transformers' own error names no tensor
            output_loading_info=True,
        )
    _check_complete(folder, name, info)
    module.requires_grad_(False)
    return module.eval()


def load_config_part(part_class: type[Loaded], folder: Path, name: str, files: Iterable[str]) -> Loaded:
    """Load one part without weights (scheduler, tokenizer, image processor) from `folder/name`.

    Args:
        files: alternatives, one of which must exist ("a.json+b.txt" needs both).
    Raises:
        CheckpointError: naming the file at fault.
    """
    require_files(folder, name, files)
    with _naming(folder, name), quiet_libraries():
        return part_class.from_pretrained(folder, subfolder=name, local_files_only=True)  # type: ignore[attr-defined]


def require_files(folder: Path, name: str, alternatives: Iterable[str]) -> None:
    """Raise CheckpointError unless one alternative's files are all in `folder/name`."""
    choices = list(alternatives)
    if not any(all((folder / name / file).is_file() for file in choice.split("+")) for choice in choices):
        raise CheckpointError(
            f"{folder}: '{name}' has no {' or '.join(choices)}; copy or download the checkpoint again"
        )


@contextmanager
def _naming(folder: Path, name: str) -> Iterator[None]:
    try:
        yield
    except LIBRARY_ERRORS as error:
        raise CheckpointError(
            f"{folder}: '{name}' cannot be loaded ({_one_line(error)}); copy or download the checkpoint again"
        ) from error


def _check_complete(folder: Path, name: str, info: dict[str, Any]) -> None:
    faults = [
        *(f"tensor '{key}' has shape {tuple(a)}, expected {tuple(b)}" for key, a, b in sorted(info["mismatched_keys"])),
        *(f"tensor '{key}' is missing" for key in sorted(info["missing_keys"])),
        *(f"tensor '{key}' is not expected" for key in sorted(info["unexpected_keys"]) if not is_constant(key)),
    ]
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise CheckpointError(f"{folder}: '{name}': {faults[0]}{more}; the weights do not fit {name}/config.json")


def _one_line(error: Exception) -> str:
    """An error's first sentence, without line breaks and asides."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(". ")[0].split(" (")[0].rstrip(".")
