"""A whole Zeroscope folder at tiny size with random weights, saved the way diffusers saves one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel

from anygpt.checkpoints.quiet import quiet_libraries
from generators.zeroscope.generator import ZeroscopeGenerator
from tests.generators.tiny_stable_diffusion import TEXT_DIM, build_text_encoder, build_tokenizer, build_vae

FRAMES = 3
SIZE_PX = 16
SIZE_MULTIPLE_PX = 8


def build_unet() -> UNet3DConditionModel:
    """Two levels, (32, 64) channels, 4×4 latents."""
    return UNet3DConditionModel(
        sample_size=SIZE_PX // 4,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        cross_attention_dim=TEXT_DIM,
        attention_head_dim=8,
        norm_num_groups=8,
    )


def save_tiny_zeroscope(folder: Path) -> Path:
    """Build with fixed seeds and save."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    with quiet_libraries():
        pipeline = TextToVideoSDPipeline(
            tokenizer=tokenizer,
            text_encoder=build_text_encoder(tokenizer),
            unet=awake(build_unet()),
            vae=build_vae(),
            scheduler=DDIMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                clip_sample=False,
                set_alpha_to_one=False,
                steps_offset=1,
            ),
        )
        pipeline.save_pretrained(folder)
    return folder


def awake(unet: UNet3DConditionModel) -> UNet3DConditionModel:
    """Temporal convolutions start at zero, so that frames would not see each other."""
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if name.endswith("conv4.3.weight"):
                weight.normal_(std=0.05)
    return unet


def load(folder: Path, **config: Any) -> ZeroscopeGenerator:
    """The generator over a saved folder; three frames and three steps unless told otherwise."""
    defaults = {"steps": 3, "guidance": 3.0, "frames": FRAMES, "scheduler": "dpm_solver_multistep"}
    return ZeroscopeGenerator.from_config(ZeroscopeGenerator.Config(pretrained=str(folder), **{**defaults, **config}))
