"""StableDiffusionGenerator against its contract, diffusers' own pipeline, and damaged folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from anygpt.errors import CheckpointError, ConfigError, MediaError, RequestError, StageError
from anygpt.requests import GenerationOptions
from generators import GENERATORS
from generators.stable_diffusion import StableDiffusionGenerator
from tests.generators.generator_contract import GeneratorContract
from tests.generators.tiny_stable_diffusion import (
    MAX_TOKENS,
    SIZE_MULTIPLE_PX,
    SIZE_PX,
    TEXT_DIM,
    build_safety_checker,
    save_tiny_stable_diffusion,
)

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_stable_diffusion(tmp_path_factory.mktemp("stable_diffusion"))


@pytest.fixture(scope="module")
def generator(folder: Path) -> StableDiffusionGenerator:
    return load(folder)


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "damaged"))


def load(folder: Path, **config: Any) -> StableDiffusionGenerator:
    defaults = {"steps": 3, "guidance": 3.0, "scheduler": "dpm_solver_multistep"}
    return StableDiffusionGenerator.from_config(
        StableDiffusionGenerator.Config(pretrained=str(folder), **{**defaults, **config})
    )


def draw(generator: StableDiffusionGenerator, **options: Any) -> np.ndarray:
    picture = generator.generate(generator.encode_prompt(["a red dog"]), [GenerationOptions(**options)])[0]
    return np.asarray(picture)


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_tensors(path: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


class TestContract(GeneratorContract):
    def as_tensor(self, medium: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(medium))

    def example_media(self, count: int) -> list[Image.Image]:
        return [Image.new("RGB", (SIZE_PX, SIZE_PX), (40 * index, 90, 200)) for index in range(count)]


def test_registry_resolves_the_class() -> None:
    assert GENERATORS.resolve("stable_diffusion") is StableDiffusionGenerator


def test_spec_comes_from_tokenizer_and_text_encoder(generator: StableDiffusionGenerator) -> None:
    assert {name: spec.shape for name, spec in generator.conditioning_spec.items()} == {
        "prompt_embeds": (MAX_TOKENS, TEXT_DIM)
    }


def test_pictures_are_rgb_of_the_asked_size(generator: StableDiffusionGenerator) -> None:
    conditioning = generator.encode_prompt(["a cat", "a cat"])
    wide = GenerationOptions(width_px=SIZE_PX + SIZE_MULTIPLE_PX, height_px=SIZE_PX - SIZE_MULTIPLE_PX)
    native, other = generator.generate(conditioning, [GenerationOptions(), wide])
    assert (native.mode, native.size) == ("RGB", (SIZE_PX, SIZE_PX))
    assert (other.mode, other.size) == ("RGB", (SIZE_PX + SIZE_MULTIPLE_PX, SIZE_PX - SIZE_MULTIPLE_PX))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_picture_is_what_diffusers_draws(folder: Path, guidance: float, capfd: pytest.CaptureFixture[str]) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    expected = pipeline(
        "a red dog", num_inference_steps=4, guidance_scale=guidance, generator=torch.Generator().manual_seed(7)
    ).images[0]
    drawn = draw(load(folder, scheduler="checkpoint"), seed=7, steps=4, guidance=guidance)
    assert np.array_equal(drawn, np.asarray(expected))


def test_encode_prompt_is_what_diffusers_encodes(folder: Path, generator: StableDiffusionGenerator) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    prompts = ["a red dog", "", "cat " * 50]
    expected_BTD, _ = pipeline.encode_prompt(prompts, "cpu", 1, False)
    assert torch.equal(generator.encode_prompt(prompts)["prompt_embeds"], expected_BTD)


def test_guidance_of_one_or_less_turns_it_off(generator: StableDiffusionGenerator) -> None:
    off = draw(generator, guidance=1.0)
    assert np.array_equal(draw(generator, guidance=0.0), off)
    assert not np.array_equal(draw(generator, guidance=5.0), off)


@pytest.mark.parametrize("scheduler", ["checkpoint", "ddim", "dpm_solver_multistep", "euler"])
def test_every_scheduler_draws(folder: Path, scheduler: str) -> None:
    generator = load(folder, scheduler=scheduler)
    assert np.array_equal(draw(generator, seed=1), draw(generator, seed=1))


def test_samplers_that_draw_noise_take_it_from_the_seed(damaged: Path) -> None:
    edit_json(damaged / "model_index.json", scheduler=["diffusers", "EulerAncestralDiscreteScheduler"])
    generator = load(damaged, scheduler="checkpoint")
    assert np.array_equal(draw(generator, seed=1), draw(generator, seed=1))


def test_larger_batches_stay_within_one_level(folder: Path, generator: StableDiffusionGenerator) -> None:
    conditioning = generator.encode_prompt(["a red dog", "a cat", "a dog"])
    options = [GenerationOptions(seed=seed) for seed in range(3)]
    alone = generator.generate(conditioning, options)
    together = load(folder, max_batch_size=2).generate(conditioning, options)
    for first, second in zip(alone, together, strict=True):
        assert np.abs(np.asarray(first).astype(int) - np.asarray(second).astype(int)).max() <= 1


def test_compatibility_key_fills_in_the_defaults(generator: StableDiffusionGenerator) -> None:
    key = generator.compatibility_key
    explicit = GenerationOptions(seed=9, steps=3, guidance=3.0, width_px=SIZE_PX, height_px=SIZE_PX)
    assert key(GenerationOptions(seed=1)) == key(explicit) == (3, 3.0, SIZE_PX, SIZE_PX)
    assert key(GenerationOptions(guidance=0.0)) == key(GenerationOptions(guidance=1.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 201}, "steps: 201 given, expected at most max_steps=200"),
        ({"width_px": 30}, "width_px: 30 given, expected a multiple of 8; try 24 or 32"),
        ({"height_px": 3}, "height_px: 3 given, expected a multiple of 8; try 8"),
        (
            {"width_px": 2048, "height_px": 1024},
            "width_px=2048, height_px=1024: 2097152 pixels given, expected at most max_pixels=1048576",
        ),
    ],
)
def test_impossible_options_are_refused(
    generator: StableDiffusionGenerator, options: dict[str, int], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        generator.generate(generator.encode_prompt(["a cat"]), [GenerationOptions(**options)])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"steps": 0}, "generators.image.steps: 0 given, expected at least 1"),
        ({"max_batch_size": 0}, "generators.image.max_batch_size: 0 given, expected at least 1"),
        ({"scheduler": "magic"}, "scheduler: 'magic' given, expected one of checkpoint, ddim, dpm_solver_multistep"),
        ({"guidance": -1.0}, "generators.image.guidance: -1.0 given, expected 0 to 100"),
        ({"steps": 300}, "the defaults cannot be made; steps: 300 given, expected at most max_steps=200"),
        ({"width_px": 33}, "the defaults cannot be made; width_px: 33 given, expected a multiple of 8"),
    ],
)
def test_impossible_config_is_refused(folder: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(folder, **config)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_loss_follows_the_prediction_type(damaged: Path, prediction_type: str) -> None:
    edit_json(damaged / "scheduler" / "scheduler_config.json", prediction_type=prediction_type)
    generator = load(damaged)
    unet, calls = generator.modules["unet"], []
    unet.register_forward_hook(lambda module, given, output: calls.append((given, output.sample)))
    torch.manual_seed(0)
    loss = generator.denoising_loss(generator.encode_prompt(["a cat"]), [Image.new("RGB", (SIZE_PX, SIZE_PX), "red")])
    ((noisy_BCHW, timesteps_B), predicted_BCHW) = calls[0]
    torch.manual_seed(0)
    vae: Any = generator.modules["vae"]
    pixels_BCHW = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, SIZE_PX, SIZE_PX)
    latents_BCHW = vae.encode(pixels_BCHW).latent_dist.sample() * vae.config.scaling_factor
    noise_BCHW = torch.randn(latents_BCHW.shape)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = torch.cumprod(1 - betas, 0)[timesteps_B].sqrt()
    added = (1 - kept**2).sqrt()
    torch.testing.assert_close(noisy_BCHW, kept * latents_BCHW + added * noise_BCHW)
    velocity_BCHW = kept * noise_BCHW - added * latents_BCHW
    target_BCHW = velocity_BCHW if prediction_type == "v_prediction" else noise_BCHW
    torch.testing.assert_close(loss, (predicted_BCHW - target_BCHW).square().mean())


def test_loss_takes_pictures_only_one_per_item(generator: StableDiffusionGenerator) -> None:
    conditioning = generator.encode_prompt(["a cat"])
    with pytest.raises(MediaError, match=r"media\[0\]: str given, expected a PIL.Image"):
        generator.denoising_loss(conditioning, ["cat.png"])
    with pytest.raises(RequestError, match=r"shape \(1, .* given, expected \(2, "):
        generator.denoising_loss(conditioning, [Image.new("RGB", (SIZE_PX, SIZE_PX))] * 2)


@pytest.mark.parametrize("flags_everything", [True, False])
def test_safety_checker_withholds_pictures_openly(tmp_path: Path, flags_everything: bool) -> None:
    checker = build_safety_checker(flags_everything=flags_everything)
    generator = load(save_tiny_stable_diffusion(tmp_path, safety_checker=checker))
    drawn = generator.generate(generator.encode_prompt(["a cat"]), [GenerationOptions()])[0]
    assert "safety_checker" in generator.modules
    if flags_everything:
        assert isinstance(drawn, StageError)
        assert drawn.stage == "generators.image"
        assert "safety checker withheld the picture" in str(drawn)
    else:
        assert isinstance(drawn, Image.Image)


def test_networks_that_overflow_cost_only_the_picture(damaged: Path) -> None:
    weights = damaged / "vae" / "diffusion_pytorch_model.safetensors"
    edit_tensors(weights, lambda tensors: tensors["decoder.conv_out.bias"].fill_(torch.nan))
    generator = load(damaged)
    drawn = generator.generate(generator.encode_prompt(["a cat"]), [GenerationOptions()])[0]
    assert isinstance(drawn, StageError)
    assert "made NaN or infinity" in str(drawn)


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


def test_loading_prints_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(folder)
    assert capfd.readouterr() == ("", "")
