"""ZeroscopeGenerator against its contract and diffusers' own pipeline."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import TextToVideoSDPipeline
from torch import Tensor

from anygpt.checkpoints.quiet import quiet_libraries
from anygpt.config.resolve import resolve_component
from anygpt.errors import CheckpointError, ConfigError, MediaError, RequestError, StageError
from anygpt.media.values import Video
from anygpt.options import GenerationOptions
from generators import GENERATORS
from generators.zeroscope.generator import ZeroscopeGenerator
from tests.generators.generator_contract import GeneratorContract
from tests.generators.tiny_stable_diffusion import MAX_TOKENS, TEXT_DIM, edit_json, edit_tensors
from tests.generators.tiny_zeroscope import FRAMES, SIZE_MULTIPLE_PX, SIZE_PX, load, save_tiny_zeroscope


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_zeroscope(tmp_path_factory.mktemp("zeroscope"))


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "damaged"))


@pytest.fixture(scope="module")
def generator(folder: Path) -> ZeroscopeGenerator:
    return load(folder)


def film(generator: ZeroscopeGenerator, prompt: str = "a red dog", **options: Any) -> np.ndarray:
    return generator.generate(generator.encode_prompt([prompt]), [GenerationOptions(**options)])[0].frames


def grey_video(level: int, frames: int = FRAMES, size_px: int = SIZE_PX) -> Video:
    return Video(np.full((frames, size_px, size_px, 3), level, np.uint8), 8.0)


class TestContract(GeneratorContract):
    def as_tensor(self, medium: Video) -> Tensor:
        return torch.from_numpy(medium.frames)

    def example_media(self, count: int) -> list[Video]:
        return [grey_video(40 * index) for index in range(count)]


def test_registry_resolves_the_class() -> None:
    assert GENERATORS.resolve("zeroscope") is ZeroscopeGenerator


def test_spec_comes_from_tokenizer_and_text_encoder(generator: ZeroscopeGenerator) -> None:
    assert {name: spec.shape for name, spec in generator.conditioning_spec.items()} == {
        "prompt_embeds": (MAX_TOKENS, TEXT_DIM)
    }


def test_videos_have_the_asked_size_length_and_rate(folder: Path) -> None:
    generator = load(folder, fps=5.0)
    conditioning = generator.encode_prompt(["a cat", "a cat"])
    long = GenerationOptions(frames=4, width_px=SIZE_PX + SIZE_MULTIPLE_PX, height_px=SIZE_PX - SIZE_MULTIPLE_PX)
    native, other = generator.generate(conditioning, [GenerationOptions(), long])
    assert (native.frames.shape, native.frames.dtype) == ((FRAMES, SIZE_PX, SIZE_PX, 3), np.uint8)
    assert other.frames.shape == (4, SIZE_PX - SIZE_MULTIPLE_PX, SIZE_PX + SIZE_MULTIPLE_PX, 3)
    assert (native.fps, native.audio) == (5.0, None)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_video_is_what_diffusers_films(folder: Path, guidance: float) -> None:
    with quiet_libraries():
        pipeline = TextToVideoSDPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.vae.enable_slicing()
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        "a red dog",
        num_frames=FRAMES,
        num_inference_steps=4,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).frames[0]
    filmed = film(load(folder, scheduler="checkpoint"), seed=7, steps=4, guidance=guidance)
    assert np.array_equal(filmed, (expected * 255).round().astype(np.uint8))


def test_guidance_of_one_or_less_turns_it_off(generator: ZeroscopeGenerator) -> None:
    off = film(generator, guidance=1.0)
    assert np.array_equal(film(generator, guidance=0.0), off)
    assert not np.array_equal(film(generator, guidance=5.0), off)


@pytest.mark.parametrize("scheduler", ["HeunDiscreteScheduler", "PNDMScheduler"])
def test_steps_are_counted_whatever_the_sampler_calls(damaged: Path, scheduler: str) -> None:
    edit_json(damaged / "model_index.json", scheduler=["diffusers", scheduler])
    edit_json(damaged / "scheduler" / "scheduler_config.json", _class_name=scheduler, skip_prk_steps=True)
    generator, seen = load(damaged, scheduler="checkpoint"), []
    generator.generate(
        generator.encode_prompt(["a cat"]),
        [GenerationOptions(steps=4)],
        on_step=lambda step, steps: seen.append((step, steps)),
    )
    assert seen == [(step, 4) for step in range(1, 5)]


def test_samplers_that_draw_noise_take_it_from_each_videos_own_seed(damaged: Path) -> None:
    edit_json(damaged / "model_index.json", scheduler=["diffusers", "EulerAncestralDiscreteScheduler"])
    generator = load(damaged, scheduler="checkpoint", max_batch_size=2, pad_batches=True)
    conditioning = generator.encode_prompt(["a red dog", "a red dog"])
    first, second = generator.generate(conditioning, [GenerationOptions(seed=1), GenerationOptions(seed=2)])
    assert np.array_equal(first.frames, film(generator, seed=1))
    assert np.array_equal(second.frames, film(generator, seed=2))
    assert not np.array_equal(first.frames, second.frames)


def test_padded_batches_are_bit_for_bit_the_same_alone_or_together(folder: Path) -> None:
    padded = load(folder, max_batch_size=2, pad_batches=True)
    prompts = ["a red dog", "a cat", "a dog"]
    options = [GenerationOptions(seed=seed) for seed in range(3)]
    together = padded.generate(padded.encode_prompt(prompts), options)
    for prompt, option, video in zip(prompts, options, together, strict=True):
        (alone,) = padded.generate(padded.encode_prompt([prompt]), [option])
        assert np.array_equal(alone.frames, video.frames)


def test_frames_encoded_at_once_or_one_by_one_are_the_same_video(folder: Path) -> None:
    sliced, whole = (film(load(folder, slice_frames=slice_frames)).astype(int) for slice_frames in (True, False))
    assert np.abs(sliced - whole).max() <= 1


def test_compatibility_key_fills_in_the_defaults(generator: ZeroscopeGenerator) -> None:
    key = generator.compatibility_key
    explicit = GenerationOptions(seed=9, steps=3, guidance=3.0, width_px=SIZE_PX, height_px=SIZE_PX, frames=FRAMES)
    assert key(GenerationOptions(seed=1)) == key(explicit) == (3, 3.0, SIZE_PX, SIZE_PX, FRAMES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 201}, "steps: 201 given, expected at most max_steps=200"),
        ({"frames": 65}, "frames: 65 given, expected at most max_frames=64"),
        ({"width_px": 30}, "width_px: 30 given, expected a multiple of 8; try 24 or 32"),
        ({"width_px": 1024, "height_px": 1024}, "1048576 pixels given, expected at most max_pixels=589824"),
    ],
)
def test_impossible_options_are_refused(generator: ZeroscopeGenerator, options: dict[str, int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        generator.compatibility_key(GenerationOptions(**options))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"frames": 0}, "frames: 0 given, expected at least 1"),
        ({"fps": 0.0}, "fps: 0.0 given, expected more than 0 and at most 240"),
        ({"guidance": -1.0}, "guidance: -1.0 given, expected 0 to 100"),
        ({"scheduler": "magic"}, "scheduler.*magic"),
    ],
)
def test_wrong_config_is_refused_by_key(config: dict[str, Any], message: str) -> None:
    values = {"name": "zeroscope", "pretrained": "anything", **config}
    with pytest.raises(ConfigError, match=f"^generators.video.{message}"):
        resolve_component(GENERATORS, values, "generators.video")


def test_defaults_that_the_checkpoint_cannot_make_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"generators.video: the defaults cannot be made; width_px: 33 given"):
        load(folder, width_px=33)


def test_loss_is_that_of_the_resized_evenly_spaced_frames(generator: ZeroscopeGenerator) -> None:
    unet, calls = generator.modules["unet"], []
    hook = unet.register_forward_hook(lambda module, given, output: calls.append((given, output.sample)))
    conditioning = generator.encode_prompt(["a cat"])
    torch.manual_seed(0)
    loss = generator.denoising_loss(conditioning, [grey_video(255, frames=7, size_px=40)])
    hook.remove()
    ((noisy_BCFHW, timesteps_B), predicted_BCFHW) = calls[0]
    torch.manual_seed(0)
    vae: Any = generator.modules["vae"]
    latents_FCHW = vae.encode(torch.ones(FRAMES, 3, SIZE_PX, SIZE_PX)).latent_dist.sample() * vae.config.scaling_factor
    latents_BCFHW = latents_FCHW.transpose(0, 1)[None]
    noise_BCFHW = torch.randn(latents_BCFHW.shape)
    kept = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)[timesteps_B].sqrt()
    torch.testing.assert_close(noisy_BCFHW, kept * latents_BCFHW + (1 - kept**2).sqrt() * noise_BCFHW)
    torch.testing.assert_close(loss, (predicted_BCFHW - noise_BCFHW).square().mean())


def test_loss_takes_videos_only(generator: ZeroscopeGenerator) -> None:
    with pytest.raises(MediaError, match=r"media\[0\]: str given, expected a Video"):
        generator.denoising_loss(generator.encode_prompt(["a cat"]), ["cat.mp4"])


def test_networks_that_overflow_cost_only_the_video(damaged: Path) -> None:
    weights = damaged / "vae" / "diffusion_pytorch_model.safetensors"
    edit_tensors(weights, lambda tensors: tensors["decoder.conv_out.bias"].fill_(torch.nan))
    generator = load(damaged)
    filmed = generator.generate(generator.encode_prompt(["a cat"]), [GenerationOptions()])[0]
    assert isinstance(filmed, StageError)
    assert filmed.stage == "generators.video"
    assert "made NaN or infinity" in str(filmed)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_part_that_is_missing_is_named(damaged: Path, part: str) -> None:
    shutil.rmtree(damaged / part)
    with pytest.raises(CheckpointError, match=f"'{part}' has no config.json"):
        load(damaged)


def test_other_pipelines_and_misfits_are_refused(folder: Path, damaged: Path) -> None:
    edit_json(damaged / "model_index.json", _class_name="StableDiffusionPipeline")
    with pytest.raises(CheckpointError, match="names a 'StableDiffusionPipeline', expected 'TextToVideoSDPipeline'"):
        load(damaged)
    shutil.copy(folder / "model_index.json", damaged)
    edit_tensors(
        damaged / "unet" / "diffusion_pytorch_model.safetensors", lambda tensors: tensors.pop("conv_in.weight")
    )
    with pytest.raises(CheckpointError, match=r"'unet': tensor 'conv_in.weight' is missing"):
        load(damaged)


def test_loading_prints_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(folder)
    assert capfd.readouterr() == ("", "")
