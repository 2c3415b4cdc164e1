"""StableDiffusionGenerator against its contract and diffusers' own pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from anygpt.config.resolve import resolve_component
from anygpt.errors import ConfigError, MediaError, RequestError, StageError
from anygpt.options import GenerationOptions
from generators import GENERATORS
from generators.stable_diffusion.generator import StableDiffusionGenerator
from tests.generators.generator_contract import GeneratorContract
from tests.generators.tiny_stable_diffusion import (
    MAX_TOKENS,
    SIZE_MULTIPLE_PX,
    SIZE_PX,
    TEXT_DIM,
    build_safety_checker,
    edit_json,
    edit_tensors,
    load,
    save_tiny_stable_diffusion,
)


@pytest.fixture(scope="module")
def generator(folder: Path) -> StableDiffusionGenerator:
    return load(folder)


def draw(generator: StableDiffusionGenerator, **options: Any) -> np.ndarray:
    picture = generator.generate(generator.encode_prompt(["a red dog"]), [GenerationOptions(**options)])[0]
    return np.asarray(picture)


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


def test_padded_batches_are_bit_for_bit_the_same_alone_or_together(folder: Path) -> None:
    padded = load(folder, max_batch_size=4, pad_batches=True)
    conditioning = padded.encode_prompt(["a red dog", "a cat", "a dog", "a red cat", "a cat"])
    options = [GenerationOptions(seed=seed) for seed in range(5)]
    together = padded.generate(conditioning, options)
    for item in reversed(range(5)):
        (alone,) = padded.generate({"prompt_embeds": conditioning["prompt_embeds"][[item]]}, [options[item]])
        assert np.array_equal(alone, together[item])


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
        ({"steps": 0}, "steps: 0 given, expected at least 1"),
        ({"max_batch_size": 0}, "max_batch_size: 0 given, expected at least 1"),
        ({"scheduler": "magic"}, "scheduler.*magic"),
        ({"guidance": -1.0}, "guidance: -1.0 given, expected 0 to 100"),
        ({"sizes": 3}, "sizes: no such key; expected one of pretrained, name, steps"),
    ],
)
def test_wrong_config_is_refused_by_key(config: dict[str, Any], message: str) -> None:
    values = {"name": "stable_diffusion", "pretrained": "anything", **config}
    with pytest.raises(ConfigError, match=f"^generators.image.{message}"):
        resolve_component(GENERATORS, values, "generators.image")


def test_config_from_plain_values_has_the_published_defaults() -> None:
    values = {"name": "stable_diffusion", "pretrained": "anything", "scheduler": "ddim"}
    _, config = resolve_component(GENERATORS, values, "generators.image")
    assert (config.steps, config.guidance, config.scheduler, config.width_px) == (50, 7.5, "ddim", None)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"steps": 300}, "steps: 300 given, expected at most max_steps=200"),
        ({"width_px": 33}, "width_px: 33 given, expected a multiple of 8; try 32 or 40"),
        ({"max_pixels": 100}, f"{SIZE_PX**2} pixels given, expected at most max_pixels=100"),
    ],
)
def test_defaults_that_the_checkpoint_cannot_make_are_refused(
    folder: Path, config: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"generators.image: the defaults cannot be made; .*{message}"):
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


def test_loading_prints_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(folder)
    assert capfd.readouterr() == ("", "")
