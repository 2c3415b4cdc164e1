"""A whole Stable Diffusion folder at tiny size with random weights, saved the way diffusers saves one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from generators.stable_diffusion.generator import StableDiffusionGenerator

TEXT_DIM = 32
MAX_TOKENS = 16
SIZE_PX = 32
SIZE_MULTIPLE_PX = 8
MERGES = ["r e", "re d</w>", "c i", "d o", "do g</w>", "c a", "ca t</w>"]


def build_tokenizer() -> CLIPTokenizer:
    """Byte-level pairs: single letters, a few merges, CLIP's two special tokens at the end."""
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    merged = [pair.replace(" ", "") for pair in MERGES]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *merged, "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=[tuple(pair.split()) for pair in MERGES], model_max_length=MAX_TOKENS)


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two layers, 32 wide."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_DIM,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            projection_dim=TEXT_DIM,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet() -> UNet2DConditionModel:
    """Two levels, (32, 64) channels, 8×8 latents."""
    return UNet2DConditionModel(
        sample_size=SIZE_PX // 4,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_DIM,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def build_vae() -> AutoencoderKL:
    """Three levels, 4×-down."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE_PX,
    )


def build_safety_checker(*, flags_everything: bool) -> StableDiffusionSafetyChecker:
    """A checker whose thresholds lie below (or above) every cosine."""
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(vision_config={**vision, "image_size": SIZE_PX, "patch_size": 16}, projection_dim=8)
    )
    checker.concept_embeds_weights.data.fill_(-2.0 if flags_everything else 2.0)
    checker.special_care_embeds_weights.data.fill_(2.0)
    return checker


def save_tiny_stable_diffusion(
    folder: Path, *, safety_checker: StableDiffusionSafetyChecker | None = None, prediction_type: str = "epsilon"
) -> Path:
    """Build with fixed seeds and save; a safety checker brings its image processor along."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    components: dict[str, Any] = {
        "tokenizer": tokenizer,
        "text_encoder": build_text_encoder(tokenizer),
        "unet": build_unet(),
        "vae": build_vae(),
        "scheduler": DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=prediction_type,
        ),
        "safety_checker": safety_checker,
        "feature_extractor": CLIPImageProcessor(size=SIZE_PX, crop_size=SIZE_PX) if safety_checker else None,
    }
    pipeline = StableDiffusionPipeline(**components, requires_safety_checker=safety_checker is not None)
    pipeline.save_pretrained(folder)
    return folder


def load(folder: Path, **config: Any) -> StableDiffusionGenerator:
    """The generator over a saved folder; three steps unless told otherwise."""
    defaults = {"steps": 3, "guidance": 3.0, "scheduler": "dpm_solver_multistep"}
    return StableDiffusionGenerator.from_config(
        StableDiffusionGenerator.Config(pretrained=str(folder), **{**defaults, **config})
    )


def edit_json(path: Path, **changes: Any) -> None:
    """Overwrite some keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_tensors(path: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    """Change the tensors of a safetensors file."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
