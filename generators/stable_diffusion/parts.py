"""The parts of a Stable Diffusion checkpoint: load them strictly and check that they fit each other."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer

from generators.checkpoints import component_classes, fetch_pipeline, load_config_part, load_module
from generators.clip_prompts import CLIP_TOKENIZER_FILES, check_clip_parts
from generators.noise_prediction import check_denoiser
from generators.schedulers import SchedulerName, load_scheduler


def load_pipeline(
    pretrained: str,
    *,
    scheduler: SchedulerName = "checkpoint",
    revision: str | None = None,
    variant: str | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> StableDiffusionPipeline:
    """Load a diffusers folder or hub checkpoint with frozen networks, its safety checker too if it has one.

    Raises:
        CheckpointError: if a part is missing, damaged or does not fit the others.
    """
    folder = fetch_pipeline(pretrained, StableDiffusionPipeline, revision=revision, variant=variant)
    networks = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    parts: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}
    if component_classes(folder).get("safety_checker") is not None:
        networks["safety_checker"] = StableDiffusionSafetyChecker
        parts["feature_extractor"] = load_config_part(
            CLIPImageProcessor, folder, "feature_extractor", ("preprocessor_config.json",)
        )
    for name, network_class in networks.items():
        parts[name] = load_module(
            network_class, folder, name, dtype=dtype, stage="generators.image", variant=variant
        ).to(device)
    parts["scheduler"] = load_scheduler(folder, scheduler)
    parts["tokenizer"] = load_config_part(CLIPTokenizer, folder, "tokenizer", CLIP_TOKENIZER_FILES)
    check_clip_parts(parts, str(folder))
    check_denoiser(parts, str(folder))
    pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)  # False: no warning where there is none
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
