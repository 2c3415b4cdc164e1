"""Pretrain the tiny Stable Diffusion's autoencoder on pictures of the world.

Legend: B batch, C/H/W image. Pixels are in [-1, 1], as diffusers' `AutoencoderKL` has them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from pipelines.tiny.recipes.precision import bf16_products
from pipelines.tiny.world.images import SIZE_PX, render_batch
from pipelines.tiny.world.scenes import ALL_SCENES
from pipelines.training.loop import Loop, LoopOptions, print_log

BLOCK_OUT_CHANNELS = (16, 32, 48, 64)
POOL_COPIES = 16
KL_WEIGHT = 1e-4
SHAPE_WEIGHT = 4.0


def build_autoencoder() -> AutoencoderKL:
    """An untrained 8×-down, 4-latent-channel autoencoder."""
    levels = len(BLOCK_OUT_CHANNELS)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=BLOCK_OUT_CHANNELS,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        norm_num_groups=8,
        sample_size=SIZE_PX,
    )


def image_pool(seed: int, copies: int = POOL_COPIES) -> Tensor:
    """Pictures of every scene, `copies` of each: (N, 3, H, W) uint8, scene by scene."""
    scenes = [scene for scene in ALL_SCENES for _ in range(copies)]
    pixels_BHWC = render_batch(scenes, np.random.default_rng(seed))
    return torch.from_numpy(pixels_BHWC).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def to_model_range(pixels_BCHW: Tensor) -> Tensor:
    """uint8 [0, 255] → float32 [-1, 1]."""
    return pixels_BCHW.float() / 127.5 - 1.0


def reconstruction_losses(vae: AutoencoderKL, images_BCHW: Tensor) -> dict[str, Tensor]:
    """L1 that counts the shape's pixels `1 + SHAPE_WEIGHT` times, and a light KL term."""
    with bf16_products():
        posterior = vae.encode(images_BCHW).latent_dist
        decoded_BCHW = vae.decode(posterior.sample()).sample.float()
    ground_B311 = images_BCHW[:, :, :1, :1]
    on_shape_B1HW = ((images_BCHW - ground_B311).abs().amax(1, keepdim=True) > 0.02).float()
    near_shape_B1HW = torch.nn.functional.max_pool2d(on_shape_B1HW, 5, stride=1, padding=2)
    weights_B1HW = 1.0 + SHAPE_WEIGHT * near_shape_B1HW
    l1 = ((decoded_BCHW - images_BCHW).abs() * weights_B1HW).mean()
    kl = 0.5 * (posterior.mean**2 + posterior.var - 1.0 - posterior.logvar).float().mean()
    return {"l1": l1, "kl": KL_WEIGHT * kl}


def pretrain_autoencoder(out_dir: Path, steps: int, detail_steps: int, batch_size: int, seed: int) -> AutoencoderKL:
    """Train and save to `out_dir` (a `save_pretrained` folder); resumes from the states in it.

    Args:
        steps: on pictures of all scenes alike.
        detail_steps: after them, with small yellow things in half of the pictures.
    """
    torch.manual_seed(seed)
    vae = build_autoencoder().to(memory_format=torch.channels_last)
    trained = dict(vae.named_parameters())
    pool, details = image_pool(seed), detail_places()

    def losses_at(step: int) -> dict[str, Tensor]:
        return reconstruction_losses(vae, to_model_range(pool[torch.randint(len(pool), (batch_size,))]))

    def detail_losses_at(step: int) -> dict[str, Tensor]:
        any_N, detail_N = torch.randint(len(pool), (batch_size // 2,)), torch.randint(len(details), (batch_size // 2,))
        return reconstruction_losses(vae, to_model_range(pool[torch.cat([any_N, details[detail_N]])]))

    options = LoopOptions(steps=steps, learning_rate=1.5e-3, warmup_steps=100, weight_decay=0.0, seed=seed)
    Loop(trained, options, out_dir / "state").finish(losses_at, print_log)
    options = LoopOptions(steps=detail_steps, learning_rate=7e-4, warmup_steps=20, weight_decay=0.0, seed=seed)
    Loop(trained, options, out_dir / "detail_state").finish(detail_losses_at, print_log)
    vae.register_to_config(scaling_factor=measured_scaling_factor(vae, pool))
    vae.save_pretrained(out_dir)
    return vae


def detail_places() -> Tensor:
    """Where small yellow things are in the pool: on light grey they show in the blue channel alone, and blur first."""
    hard = [at for at, scene in enumerate(ALL_SCENES) if (scene.size, scene.colour) == ("small", "yellow")]
    return torch.tensor([at * POOL_COPIES + copy for at in hard for copy in range(POOL_COPIES)])


@torch.inference_mode()
def measured_scaling_factor(vae: AutoencoderKL, pool: Tensor) -> float:
    """1 / standard deviation of the latents, so that the diffusion model sees unit variance."""
    picked = torch.randperm(len(pool))[:512]
    latents = vae.encode(to_model_range(pool[picked])).latent_dist.mean
    return float(1.0 / latents.std())
