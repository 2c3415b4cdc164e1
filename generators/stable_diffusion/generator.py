"""Images by Stable Diffusion: diffusers' `StableDiffusionPipeline`, driven by prompt embeddings.

Legend: B batch, T text tokens, D text width, C/H/W image or latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from anygpt.errors import ConfigError, MediaError, StageError
from anygpt.options import GenerationOptions
from anygpt.tensors import Conditioning
from generators.batching import Batch, seeded_noise
from generators.clip_prompts import ClipPrompts
from generators.diffusers_generator import DiffusersGenerator
from generators.limits import check_limits
from generators.picture_size import check_size, native_size_px
from generators.progress import StepCounter
from generators.schedulers import SCHEDULER_NAMES, SchedulerName, check_steps, denoiser_calls
from generators.stable_diffusion.parts import load_pipeline

if TYPE_CHECKING:
    from typing_extensions import Self

STAGE = "generators.image"


class Sampling(NamedTuple):
    """All that the items of one batch share, defaults filled in."""

    steps: int
    guidance: float
    height_px: int
    width_px: int


class StableDiffusionGenerator(DiffusersGenerator):
    """A frozen Stable Diffusion 1.x or 2.x checkpoint. Safe to call from several threads at once.

    Args:
        config: how to sample.
        pipeline: the loaded checkpoint. It is copied for every batch, never run itself: schedulers keep state.
    Raises:
        ConfigError: if the config asks for a size that the checkpoint cannot make.
    """

    modality = "image"
    stage = STAGE

    @dataclass
    class Config:
        """Where the weights are and how pictures are sampled by default.

        Attributes:
            pretrained: a diffusers folder, `embedded:…` or a hub name; safetensors only.
            steps: denoising steps.
            guidance: classifier-free guidance scale; 1 or less turns guidance off.
            width_px, height_px: None takes the size that the UNet was trained at.
            scheduler: the sampler; "checkpoint" takes the one that the weights came with.
            max_batch_size: pictures denoised together. With 1 a picture is bit for bit the same, alone or beside
                others. More is faster and moves a few pixels by a level of 255, since kernels round differently.
            pad_batches: fill every batch to `max_batch_size`, so that all run the same kernels and pictures are
                bit for bit the same again. A picture alone then takes as long as a full batch.
            max_steps, max_pixels: limits of what a request may ask for.
            revision, variant: branch, tag or commit on the hub; kind of weights ("fp16").
        """

        pretrained: str
        name: str = "stable_diffusion"
        steps: int = 50
        guidance: float = 7.5
        width_px: int | None = None
        height_px: int | None = None
        scheduler: SchedulerName = "checkpoint"
        max_batch_size: int = 1
        pad_batches: bool = False
        max_steps: int = 200
        max_pixels: int = 1024 * 1024
        revision: str | None = None
        variant: str | None = None

        def __post_init__(self) -> None:
            for key in ("steps", "max_batch_size", "max_steps", "max_pixels"):
                if getattr(self, key) < 1:
                    raise ConfigError(f"{key}: {getattr(self, key)} given, expected at least 1")
            if not 0 <= self.guidance <= 100:
                raise ConfigError(f"guidance: {self.guidance} given, expected 0 to 100")
            if self.scheduler not in SCHEDULER_NAMES:
                raise ConfigError(f"scheduler: '{self.scheduler}' given, expected one of {', '.join(SCHEDULER_NAMES)}")

    def __init__(self, config: Config, pipeline: StableDiffusionPipeline) -> None:
        super().__init__(config, pipeline, ClipPrompts(pipeline.tokenizer, pipeline.text_encoder))

    @classmethod
    def from_config(cls, config: Config, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load a diffusers folder or hub checkpoint, strictly; its safety checker too, if it has one.

        Raises:
            CheckpointError: if the weights are missing, damaged or do not fit.
            ConfigError: if the config asks for a size that the checkpoint cannot make.
        """
        pipeline = load_pipeline(
            config.pretrained,
            scheduler=config.scheduler,
            revision=config.revision,
            variant=config.variant,
            device=device,
            dtype=dtype,
        )
        return cls(config, pipeline)

    def compatibility_key(self, options: GenerationOptions) -> Sampling:
        """Steps, guidance and size with the configured defaults filled in.

        Raises:
            RequestError: if there are too many steps or pixels, or a size that the networks cannot make.
        """
        config, pipeline = self.config, self._pipeline
        steps = options.steps or config.steps
        guidance = config.guidance if options.guidance is None else options.guidance
        native_height_px, native_width_px = native_size_px(pipeline)
        height_px = options.height_px or config.height_px or native_height_px
        width_px = options.width_px or config.width_px or native_width_px
        check_limits(config, self.modality, steps=steps)
        check_steps(pipeline.scheduler, steps, STAGE)
        check_size(pipeline, height_px, width_px, config.max_pixels)
        return Sampling(steps, max(guidance, 1.0), height_px, width_px)

    def _reported_steps(self, steps: int) -> int:
        return denoiser_calls(self._pipeline.scheduler, steps)

    def _denoise(self, noisy: Tensor, timesteps_B: Tensor, conditioning: Conditioning) -> Tensor:
        embeds_BTD = conditioning["prompt_embeds"]
        return self._pipeline.unet(noisy, timesteps_B, encoder_hidden_states=embeds_BTD).sample

    def _sample(
        self, conditioning: Conditioning, seeds: list[int], batch: Batch, counter: StepCounter
    ) -> list[Image.Image | StageError]:
        sampling: Sampling = batch.key
        pipeline = self._fresh_pipeline()
        scale = pipeline.vae_scale_factor
        latents_BCHW, randoms = seeded_noise(
            (pipeline.unet.config.in_channels, sampling.height_px // scale, sampling.width_px // scale), seeds
        )
        output = pipeline(
            **conditioning,
            **self._negative(conditioning),
            latents=latents_BCHW.to(conditioning["prompt_embeds"]),
            generator=randoms,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            height=sampling.height_px,
            width=sampling.width_px,
            callback_on_step_end=counter,
            output_type="pt",
        )
        flags = output.nsfw_content_detected or [False] * len(seeds)
        return [self._finish(*pair) for pair in zip(output.images[: batch.count], flags[: batch.count], strict=True)]

    def _finish(self, pixels_CHW: Tensor, flagged: bool) -> Image.Image | StageError:
        """A picture, or the reason why there is none: diffusers itself would hand out a black one."""
        if flagged:
            return StageError(
                STAGE, "the checkpoint's safety checker withheld the picture; change the prompt or the seed"
            )
        if not torch.isfinite(pixels_CHW).all():
            return StageError(STAGE, f"the {pixels_CHW.dtype} networks made NaN or infinity; load them as float32")
        processor = self._pipeline.image_processor
        return processor.numpy_to_pil(processor.pt_to_numpy(pixels_CHW[None]))[0]

    @torch.no_grad()
    def _encode_media(self, media: list[Any]) -> Tensor:
        """Pictures → scaled VAE latents (B, C, H, W) of the configured size."""
        for item, picture in enumerate(media):
            if not isinstance(picture, Image.Image):
                raise MediaError(f"media[{item}]: {type(picture).__name__} given, expected a PIL.Image")
        size = self.compatibility_key(GenerationOptions())
        vae = self._pipeline.vae
        pixels_BCHW = self._pipeline.image_processor.preprocess(
            [picture.convert("RGB") for picture in media], size.height_px, size.width_px
        )
        return vae.encode(pixels_BCHW.to(vae.device, vae.dtype)).latent_dist.sample() * vae.config.scaling_factor
