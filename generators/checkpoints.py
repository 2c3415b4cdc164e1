"""Load the parts of a diffusers pipeline folder strictly: no tensor missing, left over, reshaped or left random.

`from_pretrained` of both libraries fails open: a missing tensor is drawn at random (transformers) or stays on the meta
device (diffusers), and a missing text `config.json` becomes the class's default one. Here each of these is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch
from diffusers import DiffusionPipeline
from torch import nn
from transformers import PreTrainedModel

from anygpt.checkpoints.constants import is_constant
from anygpt.checkpoints.diagnosis import PIPELINE, diagnose
from anygpt.checkpoints.files import lfs_pointer, weights_advice
from anygpt.checkpoints.locate import locate
from anygpt.checkpoints.quiet import quiet_libraries
from anygpt.checkpoints.reading_errors import reading
from anygpt.checkpoints.trust import check_checkpoint
from anygpt.errors import CheckpointError

Loaded = TypeVar("Loaded")
LIBRARIES = ("diffusers", "transformers")


def fetch_pipeline(
    pretrained: str,
    pipeline_class: type[DiffusionPipeline],
    *,
    revision: str | None = None,
    variant: str | None = None,
) -> Path:
    """Find a pipeline's folder, downloading it (safetensors only) if `pretrained` is a hub name.

    Parts are of the libraries' own classes, so code that a checkpoint brings is never run, whatever the user trusts.

    Args:
        pretrained: a folder, `embedded:…` or a hub name.
        pipeline_class: the one class that the folder's model_index.json may name.
        revision, variant: branch, tag or commit on the hub; kind of weights ("fp16").
    Raises:
        CheckpointError: if there is no such folder or hub model, or it holds another kind of pipeline.
    """
    folder = Path(locate(pretrained))
    if not folder.is_dir() or not pretrained:
        folder = _fetched(pretrained, pipeline_class, revision, variant)
    _refuse_code(folder)
    found = component_classes(folder).get("_class_name")
    if found != pipeline_class.__name__:
        raise CheckpointError(
            f"{folder}: {PIPELINE} names a '{found}', expected '{pipeline_class.__name__}'; use another checkpoint"
        )
    return folder


def _fetched(
    pretrained: str, pipeline_class: type[DiffusionPipeline], revision: str | None, variant: str | None
) -> Path:
    what = f"pretrained: '{pretrained}'"
    with reading(
        what,
        pretrained,
        advice="give a folder, 'embedded:…' or a hub name that can be reached",
        explain=lambda error: diagnose(error, pretrained, wanted=PIPELINE),
    ):
        try:
            with quiet_libraries(hide_bars=False):
                return Path(
                    pipeline_class.download(
                        pretrained, revision=revision, variant=variant, use_safetensors=True, trust_remote_code=False
                    )
                )
        except ValueError as error:
            if "trust_remote_code" in str(error):
                raise _code_refusal(pretrained, f"a pipeline of its own, not {pipeline_class.__name__}") from error
            raise


def component_classes(folder: Path) -> dict[str, Any]:
    """A folder's model_index.json: component → class name, None where the checkpoint leaves it out.

    Raises:
        CheckpointError: if the file is missing or not a JSON object.
    """
    return {
        name: entry[-1] if isinstance(entry, list) and entry else entry
        for name, entry in _pipeline_index(folder).items()
    }


def _pipeline_index(folder: Path) -> dict[str, Any]:
    def explain(error: Exception) -> str | None:
        return diagnose(error, str(folder), wanted=PIPELINE)

    with reading(str(folder), str(folder), advice="expected a diffusers folder", explain=explain):
        index = json.loads((folder / PIPELINE).read_text(encoding="utf-8"))
        if not isinstance(index, dict):
            raise TypeError(f"{PIPELINE} holds no JSON object")
    return index


def _refuse_code(folder: Path) -> None:
    """Raise CheckpointError where the index names classes of other modules than the libraries'."""
    for name, entry in _pipeline_index(folder).items():
        is_setting = name.startswith("_") and name != "_class_name"
        if not isinstance(entry, list) or not entry or entry[0] is None or is_setting:
            continue
        if name == "_class_name" or not (entry[0] in LIBRARIES or hasattr(diffusers.pipelines, str(entry[0]))):
            raise _code_refusal(str(folder), f"'{name}' by {entry[0]}.py in its {PIPELINE}")


def _code_refusal(source: str, wanted: str) -> CheckpointError:
    return CheckpointError(
        f"{source}: wants to run its own Python code ({wanted}), which no generator runs; give a checkpoint whose "
        "parts are of diffusers' and transformers' classes"
    )


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
    is_transformers = issubclass(module_class, PreTrainedModel)
    with _naming(folder, name, lambda: weights_advice(folder / name, variant, stage)), quiet_libraries():
        if is_transformers:
            check_checkpoint(f"{folder}: '{name}'", str(folder), subfolder=name)
        module, info = module_class.from_pretrained(
            folder,
            subfolder=name,
            dtype=dtype,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # reported below by name; transformers' own error names no tensor
            output_loading_info=True,
            **({"trust_remote_code": False} if is_transformers else {}),  # diffusers' classes know no such option
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


def _naming(folder: Path, name: str, explain: Callable[[], str | None] = lambda: None) -> AbstractContextManager[None]:
    def explained(error: Exception) -> str | None:
        pointer = lfs_pointer(folder / name)
        if pointer:
            return f"{pointer} is a Git LFS pointer, not the file itself; run 'git lfs pull' in the checkpoint's folder"
        return explain()

    advice = "copy or download the checkpoint again"
    return reading(f"{folder}: '{name}'", str(folder / name), advice=advice, explain=explained)


def _check_complete(folder: Path, name: str, info: dict[str, Any]) -> None:
    faults = [
        *(f"tensor '{key}' has shape {tuple(a)}, expected {tuple(b)}" for key, a, b in sorted(info["mismatched_keys"])),
        *(f"tensor '{key}' is missing" for key in sorted(info["missing_keys"])),
        *(f"tensor '{key}' is not expected" for key in sorted(info["unexpected_keys"]) if not is_constant(key)),
    ]
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise CheckpointError(f"{folder}: '{name}': {faults[0]}{more}; the weights do not fit {name}/config.json")
