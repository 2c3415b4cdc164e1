"""Pretrain the tiny Stable Diffusion's UNet: noise prediction in the latents of the pretrained autoencoder,
conditioned on the pretrained CLIP's text tower. Saves a whole `StableDiffusionPipeline` folder.

Legend: B batch, T text tokens, D text width, c/h/w latent.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from anygpt.world.phrases import caption, paraphrase
from anygpt.world.scenes import ALL_SCENES
from pipelines.pretraining.autoencoder import POOL_COPIES, image_pool, to_model_range
from pipelines.pretraining.clip import TEXT_WIDTH
from pipelines.training.loop import Loop, LoopOptions, print_log

CANONICAL_SHARE = 0.5
DROPPED_SHARE = 0.1
# Projected signal states only come near the text embeddings, so the UNet learns to take them with some noise.
CONDITIONING_NOISE = 0.15


def noise_schedule() -> DDPMScheduler:
    """Stable Diffusion's own training schedule."""
    return DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )


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


def text_tower(clip: CLIPModel) -> CLIPTextModel:
    """The text half of a CLIP model as a model of its own."""
    encoder = CLIPTextModel(clip.config.text_config)
    inner = encoder.text_model if hasattr(encoder, "text_model") else encoder
    inner.load_state_dict(clip.text_model.state_dict())
    return encoder.eval().requires_grad_(False)


@torch.inference_mode()
def encode_pool(vae: AutoencoderKL, seed: int) -> Tensor:
    """Latents (N, 4, h, w) of a pool of pictures, scene by scene, scaled to unit variance."""
    pool = image_pool(seed)
    batches = [vae.encode(to_model_range(batch)).latent_dist.mean for batch in pool.split(128)]
    return torch.cat(batches) * vae.config.scaling_factor


def prompt_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids (B, T) as `StableDiffusionPipeline.encode_prompt` makes them."""
    return tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids


def pretrain_diffusion(
    out_dir: Path, autoencoder_dir: Path, clip_dir: Path, steps: int, batch_size: int, seed: int
) -> UNet2DConditionModel:
    """Train the UNet and save the pipeline to `out_dir`."""
    torch.manual_seed(seed)
    vae = AutoencoderKL.from_pretrained(autoencoder_dir).eval().requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(clip_dir)
    text_encoder = text_tower(CLIPModel.from_pretrained(clip_dir))
    schedule = noise_schedule()
    latents = encode_pool(vae, seed + 2).clone()
    unet = build_unet(latents.shape[-1]).to(memory_format=torch.channels_last)
    empty_1TD = text_encoder(prompt_ids(tokenizer, [""])).last_hidden_state

    def losses_at(step: int) -> dict[str, Tensor]:
        rng = random.Random(f"{seed}/{step}")
        picked = [rng.randrange(len(ALL_SCENES)) for _ in range(batch_size)]
        texts = [
            caption(ALL_SCENES[i]) if rng.random() < CANONICAL_SHARE else paraphrase(ALL_SCENES[i], rng) for i in picked
        ]
        text_BTD = text_encoder(prompt_ids(tokenizer, texts)).last_hidden_state
        text_BTD = text_BTD + CONDITIONING_NOISE * torch.rand(batch_size, 1, 1) * torch.randn_like(text_BTD)
        text_BTD = torch.where(torch.rand(batch_size, 1, 1) < DROPPED_SHARE, empty_1TD, text_BTD)
        clean = latents[[i * POOL_COPIES + rng.randrange(POOL_COPIES) for i in picked]]
        noise = torch.randn_like(clean)
        timesteps = torch.randint(schedule.config.num_train_timesteps, (batch_size,))
        noisy = schedule.add_noise(clean, noise, timesteps).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = unet(noisy, timesteps, encoder_hidden_states=text_BTD).sample
        return {"noise": torch.nn.functional.mse_loss(predicted.float(), noise)}

    options = LoopOptions(steps=steps, learning_rate=8e-4, warmup_steps=200, weight_decay=0.01, seed=seed)
    loop = Loop(dict(unet.named_parameters()), options, out_dir / "state")
    if loop.run(losses_at, print_log):
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
        scheduler=DPMSolverMultistepScheduler.from_config(noise_schedule().config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
