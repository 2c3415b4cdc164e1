"""Copy finished parts and adapters to the folder that ships, in half precision: what runs is upcast when loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil

from anygpt.errors import CheckpointError
from pipelines.stack.bundle import modality_of_key

# Folder that ships → (where a recipe left it, the recipe).
PARTS: Mapping[str, tuple[str, str]] = {
    "clip": ("clip", "clip"),
    "whisper": ("sound_tower/encoder", "sound_tower"),
    "beats": ("beats/encoder", "beats"),
    "ulip2": ("point_tower/encoder", "point_tower"),
    "language_model": ("language_model", "language_model"),
    "stable_diffusion": ("stable_diffusion", "stable_diffusion"),
    "zeroscope": ("zeroscope", "zeroscope"),
    "audioldm2": ("audioldm2", "audioldm2"),
}
INPUT_PROJECTORS = "input_projectors.safetensors"
NOT_SHIPPED = ("state", "training_state", "training.yaml")


def package_parts(parts: Path, weights: Path) -> None:
    """Copy the frozen parts to `weights`.

    Raises:
        CheckpointError: if a part is not there yet.
    """
    for source, recipe in PARTS.values():
        if not (parts / source).is_dir():
            raise CheckpointError(f"package: {parts / source} is missing; make it with: anygpt pretrain {recipe}")
    for name, (source, _) in PARTS.items():
        copy_halved(parts / source, weights / name)
    CLIPImageProcessorPil.from_pretrained(parts / "clip").save_pretrained(weights / "clip")


def package_adapters(bundle: Path, weights: Path) -> None:
    """Copy an adapter bundle to `weights/adapters`.

    Raises:
        CheckpointError: if it is not there yet.
    """
    if not bundle.is_dir():
        raise CheckpointError(f"package: {bundle} is missing; make it with: anygpt pretrain instruct")
    copy_halved(bundle, weights / "adapters")


def package_input_projector(bundle: Path, modality: str, target: Path) -> None:
    """Copy one input projector of a bundle to `target`, an overlay (`StackConfig.adapter_overlays`).

    Raises:
        CheckpointError: if the bundle is not there yet.
    """
    source = bundle / INPUT_PROJECTORS
    if not source.is_file():
        raise CheckpointError(f"package: {source} is missing; make it with: anygpt pretrain align_beats")
    tensors = {key: tensor for key, tensor in load_file(source).items() if modality_of_key(key) == modality}
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / INPUT_PROJECTORS)
    halve(target / INPUT_PROJECTORS)


def copy_halved(source: Path, target: Path) -> None:
    """Copy a folder in the place of another, without its training state; its float32 weights become float16."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_SHIPPED))
    for file in target.rglob("*.safetensors"):
        halve(file)
    for file in target.rglob("*.json"):
        describe_halved(file)


def halve(file: Path) -> None:
    """Store a file's float32 tensors as float16."""
    with safe_open(file, framework="pt") as tensors:
        metadata = tensors.metadata()
        stored = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    halved = {name: value.half() if value.dtype == torch.float32 else value for name, value in stored.items()}
    save_file(halved, file, metadata)


def describe_halved(file: Path) -> None:
    """Take out of a JSON config where on this machine the weights came from, and have it name the new dtype."""
    values = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        return
    came_from = values.pop("_name_or_path", None)
    if values.get("dtype") == "float32":
        values["dtype"] = "float16"
    elif not came_from:
        return
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
