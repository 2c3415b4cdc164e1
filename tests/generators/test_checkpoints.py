"""Damaged, incomplete and mismatched Stable Diffusion folders are refused, and the message says what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from anygpt.errors import CheckpointError, ConfigError, RequestError
from anygpt.options import GenerationOptions
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


def rename(name: str, other: str) -> Damage:
    return lambda folder: (folder / name).rename((folder / name).with_name(other)) and None


def change(name: str, **changes: Any) -> Damage:
    return lambda folder: edit_json(folder / name, **changes)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("model_index.json"), "the folder has no model_index.json; expected"),
        (overwrite("model_index.json", "[]"), "its model_index.json holds a list, expected a JSON object"),
        (
            change("model_index.json", _class_name="FluxPipeline"),
            "names a 'FluxPipeline', expected 'StableDiffusionPip",
        ),
        (change("model_index.json", unet=["diffusers", "UNet3DConditionModel"]), "'unet' is a 'UNet3DConditionModel'"),
        (change("model_index.json", scheduler=["diffusers", "AutoencoderKL"]), "'scheduler' is a 'AutoencoderKL'"),
        (change("model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"]), "extractor"),
        (remove("unet"), "'unet' has no config.json"),
        (remove("text_encoder/config.json"), "'text_encoder' has no config.json"),
        (remove("text_encoder/model.safetensors"), "'text_encoder' cannot be loaded: no weights; copy or download"),
        (
            overwrite("text_encoder/model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0"),
            "'text_encoder' cannot be loaded: model.safetensors is a Git LFS pointer, not the file itself; run",
        ),
        (
            rename("unet/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"),
            "no plain weights, only diffusion_pytorch_model.fp16.safetensors; set generators.image.variant=fp16",
        ),
        (
            rename("vae/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
            "only diffusion_pytorch_model.bin; convert the checkpoint to safetensors once, see docs/real-stacks.md",
        ),
        (
            overwrite(
                "unet/diffusion_pytorch_model.safetensors.index.json",
                '{"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}}',
            ),
            "diffusion_pytorch_model-00001-of-00002.safetensors is missing, which the index names",
        ),
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


def test_weights_of_another_variant_load_by_its_name_alone(damaged: Path) -> None:
    for part, (file, _) in WEIGHTS.items():
        (damaged / part / file).rename(damaged / part / file.replace(".safetensors", ".fp16.safetensors"))
    assert load(damaged, variant="fp16").modules.keys() >= WEIGHTS.keys()
    with pytest.raises(CheckpointError, match=r"no bf16 weights, only .*; set generators\.image\.variant=fp16"):
        load(damaged, variant="bf16")


def test_constants_of_old_libraries_are_no_weights(damaged: Path) -> None:
    path = damaged / "text_encoder" / "model.safetensors"
    edit_tensors(path, lambda tensors: tensors.update({"embeddings.position_ids": torch.arange(77)[None]}))
    load(damaged)


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_that_a_sampler_cannot_take_are_refused_with_some_that_it_can(damaged: Path, steps: int) -> None:
    edit_json(damaged / "model_index.json", scheduler=["diffusers", "PNDMScheduler"])
    edit_json(damaged / "scheduler" / "scheduler_config.json", _class_name="PNDMScheduler", skip_prk_steps=False)
    generator = load(damaged, scheduler="checkpoint", steps=4)
    with pytest.raises(RequestError) as refused:
        generator.compatibility_key(GenerationOptions(steps=steps))
    assert str(refused.value) == (
        f"steps: {steps} given, which the checkpoint's sampler PNDMScheduler cannot take; ask for at least 4, "
        "or set generators.image.scheduler to one of ddim, dpm_solver_multistep, euler"
    )
    with pytest.raises(ConfigError, match="the defaults cannot be made; steps: "):
        load(damaged, scheduler="checkpoint", steps=steps)
    assert load(damaged, scheduler="ddim", steps=steps).compatibility_key(GenerationOptions()).steps == steps


def test_more_steps_than_the_noise_schedule_has_are_refused(damaged: Path) -> None:
    generator = load(damaged, scheduler="ddim", max_steps=5000)
    with pytest.raises(RequestError, match=r"steps: 2000 given, .* DDIMScheduler cannot take; ask for at most \d+"):
        generator.compatibility_key(GenerationOptions(steps=2000))
