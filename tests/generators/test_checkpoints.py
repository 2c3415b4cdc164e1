"""Damaged, incomplete and mismatched Stable Diffusion folders are refused, and the message says what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from anygpt.errors import CheckpointError
from tests.generators.tiny_stable_diffusion import edit_json, edit_tensors, load

Damage = Callable[[Path], None]

WEIGHTS = {
    "unet": ("diffusion_pytorch_model.safetensors", "conv_in.weight"),
    "vae": ("diffusion_pytorch_model.safetensors", "decoder.conv_in.weight"),
    "text_encoder": ("model.safetensors", "final_layer_norm.weight"),
}


@pytest.mark.parametrize("part", list(WEIGHTS))
def test_missing_extra_or_misshapen_tensors_are_named(damaged: Path, part: str) -> None:
    file, key = WEIGHTS[part]
    path = damaged / part / file
    whole = path.read_bytes()
    edit_tensors(path, lambda tensors: tensors.pop(key))
    with pytest.raises(CheckpointError, match=f"'{part}': tensor '{key}' is missing"):
        load(damaged)
    path.write_bytes(whole)
    edit_tensors(path, lambda tensors: tensors.update(surplus=torch.ones(2)))
    with pytest.raises(CheckpointError, match=f"'{part}': tensor 'surplus' is not expected"):
        load(damaged)
    path.write_bytes(whole)
    edit_tensors(path, lambda tensors: tensors.update({key: torch.ones(5)}))
    with pytest.raises(CheckpointError, match=rf"'{part}': tensor '{key}' has shape \(5,\), expected \("):
        load(damaged)


def remove(name: str) -> Damage:
    return lambda folder: shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()


def overwrite(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text) and None


def change(name: str, **changes: Any) -> Damage:
    return lambda folder: edit_json(folder / name, **changes)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("model_index.json"), "model_index.json: cannot be read"),
        (overwrite("model_index.json", "[]"), "model_index.json: list given, expected a JSON object"),
        (
            change("model_index.json", _class_name="FluxPipeline"),
            "names a 'FluxPipeline', expected 'StableDiffusionPip",
        ),
        (change("model_index.json", unet=["diffusers", "UNet3DConditionModel"]), "'unet' is a 'UNet3DConditionModel'"),
        (change("model_index.json", scheduler=["diffusers", "AutoencoderKL"]), "'scheduler' is a 'AutoencoderKL'"),
        (change("model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"]), "extractor"),
        (remove("unet"), "'unet' has no config.json"),
        (remove("text_encoder/config.json"), "'text_encoder' has no config.json"),
        (remove("text_encoder/model.safetensors"), "'text_encoder' cannot be loaded"),
        (overwrite("text_encoder/model.safetensors", "version https://git-lfs"), "'text_encoder' cannot be loaded"),
        (overwrite("vae/diffusion_pytorch_model.safetensors", "damaged"), "'vae' cannot be loaded"),
        (overwrite("unet/config.json", "{"), "'unet' cannot be loaded"),
        (remove("tokenizer/tokenizer.json"), "'tokenizer' has no tokenizer.json or vocab.json[+]merges.txt"),
        (remove("scheduler"), "'scheduler' has no scheduler_config.json"),
        (change("tokenizer/tokenizer_config.json", model_max_length=77), "model_max_length is 77, expected at most"),
        (change("scheduler/scheduler_config.json", prediction_type="sample"), "prediction_type is 'sample', expected"),
    ],
)
def test_damaged_folders_are_refused_in_one_line(damaged: Path, damage: Damage, message: str) -> None:
    damage(damaged)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(damaged)
    assert "\n" not in str(caught.value)
