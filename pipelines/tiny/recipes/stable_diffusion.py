"""Pretrain the tiny Stable Diffusion's UNet: velocity prediction in the latents of the pretrained autoencoder,
conditioned on the pretrained CLIP's text tower. Saves a whole `StableDiffusionPipeline` folder.

Legend: B batch, T text tokens, D text width, c/h/w latent.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from generators.noise_prediction import NoisePrediction
from pipelines.tiny.recipes.autoencoder import POOL_COPIES, image_pool, to_model_range
from pipelines.tiny.recipes.clip import TEXT_WIDTH
from pipelines.tiny.recipes.precision import bf16_products
from pipelines.tiny.recipes.prompting import noise_schedule, perturbed, prompt_ids, sayings, text_tower
from pipelines.tiny.world.scenes import ALL_SCENES
from pipelines.training.loop import Loop, LoopOptions, print_log

CANONICAL_SHARE = 0.5
PREDICTION_TYPE: Final = "v_prediction"  # with the noise, large red circles came out yellow


def build_unet(latent_size: int) -> UNet2DConditionModel:
    """An untrained UNet with cross-attention at both levels, 3.4 M parameters."""
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 112),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
        norm_num_groups=8,
    )


@torch.inference_mode()
def encode_pool(vae: AutoencoderKL, seed: int) -> Tensor:
    """Latents (N, 4, h, w) of a pool of pictures, scene by scene, scaled to unit variance."""
    pool = image_pool(seed)
    batches = [vae.encode(to_model_range(batch)).latent_dist.mean for batch in pool.split(128)]
    return torch.cat(batches) * vae.config.scaling_factor


def pretrain_stable_diffusion(
    out_dir: Path, autoencoder_dir: Path, clip_dir: Path, steps: int, batch_size: int, seed: int
) -> UNet2DConditionModel:
    """Train the UNet and save the pipeline to `out_dir`."""
    torch.manual_seed(seed)
    vae = AutoencoderKL.from_pretrained(autoencoder_dir).eval().requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(clip_dir)
    text_encoder = text_tower(CLIPModel.from_pretrained(clip_dir))
    noise_prediction = NoisePrediction(noise_schedule(PREDICTION_TYPE))
    latents = encode_pool(vae, seed + 2).clone()
    unet = build_unet(latents.shape[-1]).to(memory_format=torch.channels_last)
    empty_1TD = text_encoder(prompt_ids(tokenizer, [""])).last_hidden_state

    def losses_at(step: int) -> dict[str, Tensor]:
        rng = random.Random(f"{seed}/{step}")
        picked = [rng.randrange(len(ALL_SCENES)) for _ in range(batch_size)]
        texts = sayings([ALL_SCENES[i] for i in picked], rng, CANONICAL_SHARE)
        text_BTD = perturbed(text_encoder(prompt_ids(tokenizer, texts)).last_hidden_state, empty_1TD)
        clean = latents[[i * POOL_COPIES + rng.randrange(POOL_COPIES) for i in picked]]

        def denoise(noisy: Tensor, timesteps_B: Tensor) -> Tensor:
            with bf16_products():
                return unet(
                    noisy.to(memory_format=torch.channels_last), timesteps_B, encoder_hidden_states=text_BTD
                ).sample

        return {"velocity": noise_prediction.loss(clean, denoise)}

    options = LoopOptions(steps=steps, learning_rate=8e-4, warmup_steps=200, weight_decay=0.01, seed=seed)
    loop = Loop(dict(unet.named_parameters()), options, out_dir / "state")
    loop.finish(losses_at, print_log)
    assemble_pipeline(vae, text_encoder, tokenizer, unet).save_pretrained(out_dir)
    return unet


def assemble_pipeline(
    vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: UNet2DConditionModel
) -> StableDiffusionPipeline:
    """The parts as a pipeline with a DPM-Solver++ scheduler over the training schedule."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DPMSolverMultistepScheduler.from_config(noise_schedule(PREDICTION_TYPE).config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
