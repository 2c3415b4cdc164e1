"""The training signal of a frozen latent denoiser: how well it predicts the noise in true latents.

Legend: B batch; other axes are the latents' own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import Tensor

from anygpt.errors import CheckpointError

PREDICTION_TYPES = ("epsilon", "v_prediction")


class NoisePrediction:
    """A checkpoint's noise schedule, used for training.

    Args:
        scheduler: the checkpoint's, of any class.
    """

    def __init__(self, scheduler: Any) -> None:
        self._schedule = DDPMScheduler.from_config(scheduler.config)

    def loss(self, latents: Tensor, denoise: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Mean squared error at random timesteps, drawn from torch's global generators.

        Args:
            latents: (B, …) true latents, scaled.
            denoise: (noisy latents, timesteps (B,)) → prediction, shaped like the latents.
        Returns:
            A float32 scalar.
        Source: diffusers, examples/text_to_image/train_text_to_image.py.
        """
        schedule = self._schedule
        noise = torch.randn(latents.shape).to(latents)
        timesteps_B = torch.randint(schedule.config.num_train_timesteps, (len(latents),)).to(latents.device)
        predicted = denoise(schedule.add_noise(latents, noise, timesteps_B), timesteps_B)
        target = noise
        if schedule.config.prediction_type == "v_prediction":
            target = schedule.get_velocity(latents, noise, timesteps_B)
        return F.mse_loss(predicted.float(), target.float())


def check_denoiser(parts: dict[str, Any], where: str) -> None:
    """Raise CheckpointError, naming both sides, if denoiser, autoencoder and scheduler do not fit each other."""
    unet, vae = parts["unet"].config, parts["vae"].config
    if not unet.in_channels == unet.out_channels == vae.latent_channels:
        raise CheckpointError(
            f"{where}: unet has {unet.in_channels} channels in and {unet.out_channels} out, "
            f"expected vae.latent_channels {vae.latent_channels} for both"
        )
    prediction_type = parts["scheduler"].config.prediction_type
    if prediction_type not in PREDICTION_TYPES:
        raise CheckpointError(
            f"{where}: scheduler.prediction_type is '{prediction_type}', expected one of {', '.join(PREDICTION_TYPES)}"
        )
