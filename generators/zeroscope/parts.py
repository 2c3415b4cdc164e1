"""The parts of a Zeroscope (ModelScope text-to-video) checkpoint: load them strictly, check that they fit."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, TextToVideoSDPipeline, UNet3DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from anygpt.checkpoints.quiet import quiet_libraries
from generators.checkpoints import fetch_pipeline, load_config_part, load_module
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
) -> TextToVideoSDPipeline:
    """Load a diffusers folder or hub checkpoint with frozen networks.

    Raises:
        CheckpointError: if a part is missing, damaged or does not fit the others.
    """
    folder = fetch_pipeline(pretrained, TextToVideoSDPipeline, revision=revision, variant=variant)
    networks = {"unet": UNet3DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    parts: dict[str, Any] = {
        name: load_module(network_class, folder, name, dtype=dtype, stage="generators.video", variant=variant).to(
            device
        )
        for name, network_class in networks.items()
    }
    parts["scheduler"] = load_scheduler(folder, scheduler)
    parts["tokenizer"] = load_config_part(CLIPTokenizer, folder, "tokenizer", CLIP_TOKENIZER_FILES)
    check_clip_parts(parts, str(folder))
    check_denoiser(parts, str(folder))
    with quiet_libraries():  # diffusers calls this pipeline deprecated whenever one is made
        pipeline = TextToVideoSDPipeline(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
