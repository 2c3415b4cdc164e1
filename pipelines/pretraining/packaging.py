"""Copy finished parts and adapters to the folder that ships, in half precision: what runs is upcast when loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from anygpt.errors import CheckpointError


def package_parts(parts: Path, weights: Path) -> None:
    """Copy the frozen parts to `weights`.

    Raises:
        CheckpointError: if a part is not there yet.
    """
    for name in ("clip", "language_model", "stable_diffusion"):
        if not (parts / name).is_dir():
            raise CheckpointError(f"package: {parts / name} is missing; make it with: anygpt pretrain {name}")
    CLIPModel.from_pretrained(parts / "clip").half().save_pretrained(weights / "clip")
    CLIPTokenizer.from_pretrained(parts / "clip").save_pretrained(weights / "clip")
    CLIPImageProcessorPil.from_pretrained(parts / "clip").save_pretrained(weights / "clip")
    AutoModelForCausalLM.from_pretrained(parts / "language_model").half().save_pretrained(weights / "language_model")
    AutoTokenizer.from_pretrained(parts / "language_model").save_pretrained(weights / "language_model")
    pipeline = StableDiffusionPipeline.from_pretrained(parts / "stable_diffusion", torch_dtype=torch.float16)
    pipeline.save_pretrained(weights / "stable_diffusion")
    for file in weights.rglob("*.json"):
        forget_origin(file)


def forget_origin(file: Path) -> None:
    """Take out of a JSON config where on this machine the weights came from."""
    values = json.loads(file.read_text(encoding="utf-8"))
    if isinstance(values, dict) and values.pop("_name_or_path", None):
        file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def package_adapters(bundle: Path, weights: Path) -> None:
    """Copy an adapter bundle to `weights/adapters`, without its training state."""
    target = weights / "adapters"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(bundle, target, ignore=shutil.ignore_patterns("training_state"))
    for file in target.rglob("*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            metadata = tensors.metadata()
            halved = {name: tensors.get_tensor(name).half() for name in tensors.keys()}  # noqa: SIM118
        save_file(halved, file, metadata)
