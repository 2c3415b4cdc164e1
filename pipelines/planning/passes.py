"""The largest forward passes of a stack on the meta device, and the memory that they take beside the weights.

Counted: every tensor that the real code makes and holds, at the stage's largest batch, in its dtype. Not counted: what
kernels take for themselves (cuDNN's and cuBLAS's workspaces, attention's statistics), gaps of the allocator, gradients
and optimizer states; attention is taken as fused, without its scores.

Legend: B batch, T tokens, H LLM width, C/F/H/W latents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anygpt.errors import ConfigError
from anygpt.media.values import Audio, PointCloud, Video
from anygpt.options import GenerationOptions
from anygpt.tensors import Features
from backbone.cache import decoding_cache
from backbone.causal_lm import CausalLMBackbone
from encoders.contract import Encoder
from generators.contract import Generator
from pipelines.planning.live_bytes import LiveBytes
from pipelines.planning.meta_device import META, meta_passes
from pipelines.stack.backbone_stage import BackboneStage
from projectors.contract import InputProjector

_LONGEST_SOUND_S = 120
# What the encoders get to see; all of them cut or resize it to their own size.
_LARGE_MEDIA: dict[str, Callable[[], Any]] = {
    "image": lambda: Image.new("RGB", (512, 512)),
    "audio": lambda: Audio(np.zeros(_LONGEST_SOUND_S * 16_000, np.float32), 16_000),
    "video": lambda: Video(np.zeros((256, 64, 64, 3), np.uint8), 8.0),
    "points": lambda: PointCloud(np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)),
}


@dataclass(frozen=True)
class PassBytes:
    """What a stage takes beside its weights.

    Attributes:
        activations: the most bytes that live at once during a pass, without the cache.
        cache: keys and values of the language model when every row is as long as its context.
    """

    activations: int
    cache: int = 0


def encoder_pass(encoder: Encoder, batch_size: int) -> PassBytes:
    """A batch of media as large as the encoder takes them in."""
    one = encoder.preprocess([_LARGE_MEDIA[encoder.modality]()])
    batch = {name: tensor.expand(batch_size, *tensor.shape[1:]) for name, tensor in one.items()}
    with meta_passes(), LiveBytes([encoder]) as live:
        encoder.encode(batch)
    return PassBytes(live.peak)


def backbone_pass(stage: BackboneStage, batch_size: int) -> PassBytes:
    """Media of every modality projected for each of B requests, prompts as long as the context, one block of each kind.

    Raises:
        ConfigError: if a medium has more prompt embeddings than the context holds, or the backbone is of another kind.
    """
    backbone = stage.backbone
    if not isinstance(backbone, CausalLMBackbone):
        raise ConfigError(f"backbone.name: a {type(backbone).__name__} given, which cannot be planned; use causal_lm")
    tokens = backbone.max_context_tokens
    _check_context(stage)
    with meta_passes(), LiveBytes([stage]) as projecting:
        stage.project([_features(stage)] * batch_size)
        for modality, projector in stage.output_projectors.items():
            size = backbone.signal_tokens.group(modality).size
            projector(torch.empty(1, size, backbone.hidden_size, device=META))
    with meta_passes(), LiveBytes([stage]) as live:
        cache = decoding_cache(backbone.language_model.config)
        embeds_BTH = torch.empty(batch_size, tokens, backbone.hidden_size, dtype=backbone.dtype, device=META)
        positions_BT = torch.arange(tokens, device=META).expand(batch_size, -1)
        backbone.step(embeds_BTH, torch.ones(batch_size, tokens, dtype=torch.bool), positions_BT, cache, keep=1)
        del embeds_BTH, positions_BT
    cached = live.now
    del cache
    return PassBytes(max(projecting.peak, live.peak - cached), cached)


def generator_pass(generator: Generator, name: str) -> PassBytes:
    """A denoising step of the largest batch with guidance, and the decoding, at the configured size.

    Args:
        name: the generator's registered one.
    Raises:
        ConfigError: if no pass of such a generator is known here.
    """
    run = _GENERATOR_PASSES.get(name)
    if run is None:
        raise ConfigError(
            f"generators.{generator.modality}.name: '{name}' given, which cannot be planned; "
            f"expected one of {', '.join(_GENERATOR_PASSES)}"
        )
    with meta_passes(), LiveBytes(generator.modules.values()) as live:
        run(generator)
    return PassBytes(live.peak)


def _check_context(stage: BackboneStage) -> None:
    limit = stage.backbone.max_context_tokens
    for modality, module in stage.input_projectors.items():
        projector = cast(InputProjector, module)
        if projector.num_tokens >= limit:
            raise ConfigError(
                f"projectors.input.{modality}: {projector.num_tokens} prompt embeddings a medium, but the context "
                f"holds {limit} tokens; set backbone.max_context_tokens higher, or use a perceiver with fewer queries"
            )


def _features(stage: BackboneStage) -> dict[str, Features]:
    """One medium of every modality, encoded."""
    features = {}
    for modality, module in stage.input_projectors.items():
        projector = cast(InputProjector, module)
        tokens_1TD = torch.empty(1, projector.in_tokens, projector.in_dim, device=META)
        features[modality] = Features(tokens_1TD, torch.ones(tokens_1TD.shape[:2], dtype=torch.bool, device=META))
    return features


def _picture_pass(generator: Any) -> None:
    sampling, size = generator.compatibility_key(GenerationOptions()), generator.config.max_batch_size
    unet, vae = generator.modules["unet"], generator.modules["vae"]
    scale = _scale(vae)
    latents_BCHW = _latents(unet, size, sampling.height_px // scale, sampling.width_px // scale)
    _denoise(unet, latents_BCHW, sampling.guidance, generator, encoder_hidden_states="prompt_embeds")
    vae.decode(latents_BCHW)


def _video_pass(generator: Any) -> None:
    sampling, size = generator.compatibility_key(GenerationOptions()), generator.config.max_batch_size
    unet, vae = generator.modules["unet"], generator.modules["vae"]
    scale = _scale(vae)
    latents_BCFHW = _latents(unet, size, sampling.frames, sampling.height_px // scale, sampling.width_px // scale)
    _denoise(unet, latents_BCFHW, sampling.guidance, generator, encoder_hidden_states="prompt_embeds")
    vae.decode(latents_BCFHW.transpose(1, 2).flatten(0, 1))


def _sound_pass(generator: Any) -> None:
    sampling, size = generator.compatibility_key(GenerationOptions()), generator.config.max_batch_size
    unet, vae, mels = generator.modules["unet"], generator.modules["vae"], generator.config.mels
    scale = _scale(vae)
    frames = -(-sampling.samples // mels.hop_size)
    latents_BCFM = _latents(unet, size, -(-frames // scale), mels.bands // scale)
    _denoise(
        unet,
        latents_BCFM,
        sampling.guidance,
        generator,
        encoder_hidden_states="generated_prompt_embeds",
        encoder_hidden_states_1="prompt_embeds",
        encoder_attention_mask_1="attention_mask",
    )
    generator.modules["vocoder"](vae.decode(latents_BCFM).sample.squeeze(1))


_GENERATOR_PASSES: dict[str, Callable[[Any], None]] = {
    "stable_diffusion": _picture_pass,
    "zeroscope": _video_pass,
    "audioldm2": _sound_pass,
}


def _denoise(unet: Any, latents: Tensor, guidance: float, generator: Generator, **inputs: str) -> None:
    """One call of the denoiser, of the batch twice where there is guidance; `inputs` names its conditioning."""
    count = len(latents) * (2 if guidance > 1 else 1)
    conditioning = {}
    for name, source in inputs.items():
        tensor = generator.conditioning_spec[source]
        dtype = torch.int64 if tensor.is_mask else unet.dtype
        conditioning[name] = torch.ones(count, *tensor.shape, dtype=dtype, device=META)
    unet(latents.repeat(count // len(latents), *[1] * (latents.ndim - 1)), torch.ones((), device=META), **conditioning)


def _latents(unet: Any, batch_size: int, *axes: int) -> Tensor:
    return torch.empty(batch_size, unet.config.in_channels, *axes, dtype=unet.dtype, device=META)


def _scale(vae: Any) -> int:
    """Pixels, or mel frames and bands, a latent."""
    return 2 ** (len(vae.config.block_out_channels) - 1)
