"""The parts of an AudioLDM-2 checkpoint: load them strictly and check that they fit each other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AudioLDM2Pipeline, AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel, AutoencoderKL
from torch import nn
from transformers import (
    ClapModel,
    GPT2LMHeadModel,
    GPT2Model,
    RobertaTokenizer,
    SpeechT5HifiGan,
    T5EncoderModel,
    T5Tokenizer,
)

from anygpt.errors import CheckpointError
from generators.audioldm2.griffin_lim import GriffinLimVocoder
from generators.audioldm2.log_mels import LogMels
from generators.checkpoints import component_classes, fetch_pipeline, load_config_part, load_module
from generators.noise_prediction import check_denoiser
from generators.schedulers import SchedulerName, load_scheduler

VocoderName = Literal["checkpoint", "griffin_lim"]
VOCODER_NAMES = ("checkpoint", "griffin_lim")
NETWORKS: dict[str, type[nn.Module]] = {
    "unet": AudioLDM2UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": ClapModel,
    "text_encoder_2": T5EncoderModel,
    "projection_model": AudioLDM2ProjectionModel,
}
TOKENIZERS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "tokenizer": (RobertaTokenizer, ("tokenizer.json", "vocab.json+merges.txt")),
    "tokenizer_2": (T5Tokenizer, ("tokenizer.json", "spiece.model")),
}


def load_pipeline(
    pretrained: str,
    *,
    mels: LogMels.Config,
    vocoder: VocoderName = "checkpoint",
    scheduler: SchedulerName = "checkpoint",
    revision: str | None = None,
    variant: str | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> AudioLDM2Pipeline:
    """Load a diffusers folder or hub checkpoint with frozen networks.

    Args:
        mels: sizes of the log-mels that the checkpoint was trained on.
        vocoder: with "griffin_lim" the checkpoint needs none of its own.
    Raises:
        CheckpointError: if a part is missing, damaged or does not fit the others.
    """
    folder = fetch_pipeline(pretrained, AudioLDM2Pipeline, revision=revision, variant=variant)
    networks = dict(NETWORKS)
    # older checkpoints name the model without its head, which is never used
    headless = component_classes(folder).get("language_model") != GPT2LMHeadModel.__name__
    networks["language_model"] = GPT2Model if headless else GPT2LMHeadModel
    if vocoder == "checkpoint":
        networks["vocoder"] = SpeechT5HifiGan
    parts: dict[str, Any] = {
        name: load_module(network_class, folder, name, dtype=dtype, stage="generators.audio", variant=variant).to(
            device
        )
        for name, network_class in networks.items()
    }
    if vocoder == "griffin_lim":
        parts["vocoder"] = GriffinLimVocoder(mels).eval().to(device)
    for name, (tokenizer_class, files) in TOKENIZERS.items():
        parts[name] = load_config_part(tokenizer_class, folder, name, files)
    parts["scheduler"] = load_scheduler(folder, scheduler)
    check_parts(parts, mels, folder)
    # the feature extractor only ranks several sounds of one prompt, which is not asked for
    pipeline = AudioLDM2Pipeline(**parts, feature_extractor=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def check_parts(parts: dict[str, Any], mels: LogMels.Config, folder: Path) -> None:
    """Raise CheckpointError, naming both sides, if two parts do not fit each other."""
    check_denoiser(parts, str(folder))
    clap, t5, gpt2 = (parts[name].config for name in ("text_encoder", "text_encoder_2", "language_model"))
    projection, vae, vocoder = (parts[name].config for name in ("projection_model", "vae", "vocoder"))
    scale = 2 ** (len(vae.block_out_channels) - 1)
    pairs = [
        ("projection_model.text_encoder_dim", projection.text_encoder_dim, "text_encoder", clap.projection_dim),
        ("projection_model.text_encoder_1_dim", projection.text_encoder_1_dim, "text_encoder_2", t5.d_model),
        ("projection_model.langauge_model_dim", projection.langauge_model_dim, "language_model", gpt2.n_embd),
        *_attention_widths(parts["unet"].config.cross_attention_dim, gpt2.n_embd, t5.d_model),
        ("vae.in_channels", vae.in_channels, "one log-mel spectrogram", 1),
        ("vocoder.model_in_dim", vocoder.model_in_dim, "mels.bands", mels.bands),
        ("vocoder.sampling_rate", vocoder.sampling_rate, "mels.sampling_rate_hz", mels.sampling_rate_hz),
        ("vocoder.upsample_rates", math.prod(vocoder.upsample_rates), "mels.hop_size", mels.hop_size),
        ("mels.bands modulo the autoencoder's scale", mels.bands % scale, "no rest", 0),
    ]
    for name, given, other, expected in pairs:
        if given != expected:
            raise CheckpointError(f"{folder}: {name} is {given}, expected {expected} ({other})")
    for name, size in (("tokenizer", clap.text_config.vocab_size), ("tokenizer_2", t5.vocab_size)):
        if len(parts[name]) > size:
            raise CheckpointError(f"{folder}: {name} has {len(parts[name])} tokens, expected at most {size}")


def _attention_widths(blocks: Any, generated: int, prompt: int) -> list[tuple[str, Any, str, int]]:
    """The first two attentions of a UNet block see the language model's states, later ones the T5's; None, the latents.

    Source: diffusers' audioldm2/modeling_audioldm2.py, `CrossAttnDownBlock2D.forward`.
    """
    pairs = []
    for index, block in enumerate(blocks if isinstance(blocks, (list, tuple)) else [blocks]):
        widths = block if isinstance(block, (list, tuple)) else [block]
        for place, width in enumerate(widths):
            name = f"unet.cross_attention_dim[{index}][{place}]"
            part, expected = ("language_model", generated) if place <= 1 else ("text_encoder_2", prompt)
            if width is not None:
                pairs.append((name, width, part, expected))
    return pairs
