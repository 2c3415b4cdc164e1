"""Pretrain the tiny Zeroscope: its UNet starts from the tiny Stable Diffusion's, as Zeroscope's line did, and learns
to move pictures; its autoencoder is the pictures' own, whose decoder also learns the places between theirs.
Saves a whole `TextToVideoSDPipeline` folder.

Legend: B batch, T text tokens, D text width, F frames, c/h/w latent.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    TextToVideoSDPipeline,
    UNet2DConditionModel,
    UNet3DConditionModel,
)
from torch import Tensor
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from generators.noise_prediction import NoisePrediction
from pipelines.tiny.recipes.autoencoder import reconstruction_losses, to_model_range
from pipelines.tiny.recipes.precision import bf16_products
from pipelines.tiny.recipes.prompting import noise_schedule, perturbed, prompt_ids, sayings, text_tower
from pipelines.tiny.world import videos
from pipelines.tiny.world.scenes import scenes_for
from pipelines.training.loop import Loop, LoopOptions, print_log

CANONICAL_SHARE = 0.5
PREDICTION_TYPE: Final = "v_prediction"  # the path is seen through more noise than the shape
COPIES = 3
SCENES = scenes_for("video")


def frame_pool(seed: int) -> Tensor:
    """Videos of every scene, `COPIES` of each: (N, F, 3, H, W) uint8, scene by scene."""
    scenes = [scene for scene in SCENES for _ in range(COPIES)]
    return torch.from_numpy(videos.render_batch(scenes, np.random.default_rng(seed))).permute(0, 1, 4, 2, 3)


def pretrain_frame_decoder(out_dir: Path, autoencoder_dir: Path, steps: int, batch_size: int, seed: int) -> None:
    """Train the decoder of the pictures' autoencoder on frames and save it to `out_dir`; latents stay the same."""
    torch.manual_seed(seed)
    vae = AutoencoderKL.from_pretrained(autoencoder_dir, torch_dtype=torch.float32)
    vae = vae.requires_grad_(False).to(memory_format=torch.channels_last)
    decoder = {name: value for name, value in vae.named_parameters() if name.startswith(("decoder", "post_quant"))}
    for parameter in decoder.values():
        parameter.requires_grad_(True)
    frames = frame_pool(seed).flatten(0, 1)

    def losses_at(step: int) -> dict[str, Tensor]:
        picked = to_model_range(frames[torch.randint(len(frames), (batch_size,))])
        return {"l1": reconstruction_losses(vae, picked.contiguous(memory_format=torch.channels_last))["l1"]}

    options = LoopOptions(steps=steps, learning_rate=5e-4, warmup_steps=20, weight_decay=0.0, seed=seed)
    Loop(decoder, options, out_dir / "state").finish(losses_at, print_log)
    vae.save_pretrained(out_dir)


def inflated_unet(picture_unet: UNet2DConditionModel) -> UNet3DConditionModel:
    """A UNet3D of the picture UNet's sizes and weights, whose layers over time do nothing yet.

    Only the first level and the middle keep their attention: what ships is to stay small. The middle's heads are cut
    anew: what diffusers' UNet2D takes for their number, its UNet3D takes for their width (8 and 8 at the first level).
    """
    config = picture_unet.config
    unet = UNet3DConditionModel(
        sample_size=config.sample_size,
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        cross_attention_dim=config.cross_attention_dim,
        attention_head_dim=config.attention_head_dim,
        norm_num_groups=config.norm_num_groups,
    )
    spatial = picture_unet.state_dict()
    weights = unet.state_dict()
    for name, value in weights.items():
        if name in spatial:
            weights[name] = spatial[name].reshape(value.shape)  # a convolution of one pixel is a linear layer here
        elif "proj_out" in name or "conv4.3" in name:  # the last convolution alone: conv4.0 is the norm before it
            weights[name] = torch.zeros_like(value)
    unet.load_state_dict(weights)
    return unet


@torch.inference_mode()
def encode_pool(vae: AutoencoderKL, seed: int) -> Tensor:
    """Latents (N, 4, F, h, w) of a pool of videos, scene by scene, scaled to unit variance."""
    latents = [vae.encode(to_model_range(video)).latent_dist.mean.transpose(0, 1) for video in frame_pool(seed)]
    return torch.stack(latents) * vae.config.scaling_factor


def pretrain_zeroscope(
    out_dir: Path, picture_unet_dir: Path, vae_dir: Path, clip_dir: Path, steps: int, batch_size: int, seed: int
) -> UNet3DConditionModel:
    """Train the UNet and save the pipeline to `out_dir`."""
    torch.manual_seed(seed)
    vae = AutoencoderKL.from_pretrained(vae_dir).eval().requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(clip_dir)
    text_encoder = text_tower(CLIPModel.from_pretrained(clip_dir, dtype=torch.float32))
    noise_prediction = NoisePrediction(noise_schedule(PREDICTION_TYPE))
    latents = encode_pool(vae, seed + 2).clone()
    # Without dropout, which so small a network has nothing to spare for.
    unet = inflated_unet(UNet2DConditionModel.from_pretrained(picture_unet_dir, torch_dtype=torch.float32)).eval()
    empty_1TD = text_encoder(prompt_ids(tokenizer, [""])).last_hidden_state

    def losses_at(step: int) -> dict[str, Tensor]:
        rng = random.Random(f"{seed}/{step}")
        picked = rng.sample(range(len(SCENES)), batch_size)
        texts = sayings([SCENES[i] for i in picked], rng, CANONICAL_SHARE)
        text_BTD = perturbed(text_encoder(prompt_ids(tokenizer, texts)).last_hidden_state, empty_1TD)
        clean = latents[[i * COPIES + rng.randrange(COPIES) for i in picked]]

        def denoise(noisy: Tensor, timesteps_B: Tensor) -> Tensor:
            with bf16_products():
                return unet(noisy, timesteps_B, encoder_hidden_states=text_BTD).sample

        return {"velocity": noise_prediction.loss(clean, denoise)}

    options = LoopOptions(steps=steps, learning_rate=8e-4, warmup_steps=50, weight_decay=0.01, seed=seed)
    Loop(dict(unet.named_parameters()), options, out_dir / "state").finish(losses_at, print_log)
    assemble_pipeline(vae, text_encoder, tokenizer, unet).save_pretrained(out_dir)
    return unet


def assemble_pipeline(
    vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: UNet3DConditionModel
) -> TextToVideoSDPipeline:
    """The parts as a pipeline with a DPM-Solver++ scheduler over the training schedule."""
    return TextToVideoSDPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DPMSolverMultistepScheduler.from_config(noise_schedule(PREDICTION_TYPE).config),
    )
