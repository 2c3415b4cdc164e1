"""What the frozen denoisers are told in training: captions of scenes, embedded, perturbed and sometimes left out.

Legend: B batch, T text tokens, D text width.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

import torch
from diffusers import DDPMScheduler
from torch import Tensor
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from pipelines.tiny.world.phrases import caption, paraphrase
from pipelines.tiny.world.scenes import Scene

DROPPED_SHARE = 0.1
# Projected signal states only come near the text embeddings, so the denoisers learn to take them with some noise.
CONDITIONING_NOISE = 0.15


def sayings(scenes: Sequence[Scene], rng: random.Random, canonical_share: float) -> list[str]:
    """A saying of every scene: its caption, or other words."""
    return [caption(scene) if rng.random() < canonical_share else paraphrase(scene, rng) for scene in scenes]


def prompt_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids (B, T) as `StableDiffusionPipeline.encode_prompt` makes them."""
    return tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids


def text_tower(clip: CLIPModel) -> CLIPTextModel:
    """The text half of a CLIP model as a model of its own."""
    encoder = CLIPTextModel(clip.config.text_config)
    inner = encoder.text_model if hasattr(encoder, "text_model") else encoder
    inner.load_state_dict(clip.text_model.state_dict())
    return encoder.eval().requires_grad_(False)


def with_noise(embeds_BTD: Tensor) -> Tensor:
    """Some noise on every embedding, as much as comes up."""
    return embeds_BTD + CONDITIONING_NOISE * torch.rand(len(embeds_BTD), 1, 1) * torch.randn_like(embeds_BTD)


def perturbed(text_BTD: Tensor, empty_1TD: Tensor) -> Tensor:
    """Embeddings with noise, and now and then the empty prompt's in their place."""
    noisy_BTD = with_noise(text_BTD)
    return torch.where(torch.rand(len(text_BTD), 1, 1) < DROPPED_SHARE, empty_1TD, noisy_BTD)


def noise_schedule(prediction_type: Literal["epsilon", "v_prediction"]) -> DDPMScheduler:
    """Stable Diffusion's own training schedule.

    Args:
        prediction_type: what the denoiser says. The velocity (arXiv 2202.00512) weighs what shows through much noise,
            as a path or an envelope, more than the noise itself ("epsilon") does.
    """
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )
