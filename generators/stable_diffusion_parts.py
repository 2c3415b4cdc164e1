"""The parts of a Stable Diffusion checkpoint: load them strictly and check that they fit each other."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer

from anygpt.errors import CheckpointError
from generators.checkpoints import component_classes, fetch_pipeline, load_config_part, load_module
from generators.schedulers import SchedulerName, load_scheduler

PREDICTION_TYPES = ("epsilon", "v_prediction")


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
        parts[name] = load_module(network_class, folder, name, dtype=dtype, variant=variant).to(device)
    parts["scheduler"] = load_scheduler(folder, scheduler)
    tokenizer_files = ("tokenizer.json", "vocab.json+merges.txt")
    parts["tokenizer"] = load_config_part(CLIPTokenizer, folder, "tokenizer", tokenizer_files)
    check_parts(parts, str(folder))
    pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)  # False: no warning where there is none
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def check_parts(parts: dict[str, Any], where: str) -> None:
    """Raise CheckpointError, naming both sides, if two parts do not fit each other."""
    unet, vae, text = parts["unet"].config, parts["vae"].config, parts["text_encoder"].config
    tokenizer = parts["tokenizer"]
    if unet.cross_attention_dim != text.hidden_size:
        raise CheckpointError(
            f"{where}: unet.cross_attention_dim is {unet.cross_attention_dim}, "
            f"expected text_encoder.hidden_size {text.hidden_size}"
        )
    if not unet.in_channels == unet.out_channels == vae.latent_channels:
        raise CheckpointError(
            f"{where}: unet has {unet.in_channels} channels in and {unet.out_channels} out, "
            f"expected vae.latent_channels {vae.latent_channels} for both"
        )
    if len(tokenizer) > text.vocab_size:
        raise CheckpointError(
            f"{where}: tokenizer has {len(tokenizer)} tokens, "
            f"expected at most text_encoder.vocab_size {text.vocab_size}"
        )
    if tokenizer.model_max_length > text.max_position_embeddings:
        raise CheckpointError(
            f"{where}: tokenizer.model_max_length is {tokenizer.model_max_length}, expected at most "
            f"text_encoder.max_position_embeddings {text.max_position_embeddings}"
        )
    prediction_type = parts["scheduler"].config.prediction_type
    if prediction_type not in PREDICTION_TYPES:
        raise CheckpointError(
            f"{where}: scheduler.prediction_type is '{prediction_type}', expected one of {', '.join(PREDICTION_TYPES)}"
        )
