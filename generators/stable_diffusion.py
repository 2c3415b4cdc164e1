"""Images by Stable Diffusion: diffusers' `StableDiffusionPipeline`, driven by prompt embeddings.

Legend: B batch, T text tokens, D text width, C/H/W image or latents.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor, nn

from anygpt.errors import ConfigError, MediaError, RequestError, StageError
from anygpt.requests import GenerationOptions
from anygpt.tensors import Conditioning, ConditioningSpec, TensorSpec
from generators.batching import Batch, group_compatible, run_batches, seeded_noise
from generators.clip_prompts import ClipPrompts
from generators.contract import Generator, OnStep, ShouldStop
from generators.noise_prediction import NoisePrediction
from generators.picture_size import check_size, native_size_px
from generators.progress import StepCounter
from generators.schedulers import SCHEDULER_NAMES, SchedulerName, denoiser_calls
from generators.stable_diffusion_parts import load_pipeline

if TYPE_CHECKING:
    from typing_extensions import Self

STAGE = "generators.image"


class Sampling(NamedTuple):
    """All that the items of one batch share, defaults filled in."""

    steps: int
    guidance: float
    height_px: int
    width_px: int


class StableDiffusionGenerator(Generator):
    """A frozen Stable Diffusion 1.x or 2.x checkpoint. Safe to call from several threads at once.

    Args:
        config: how to sample.
        pipeline: the loaded checkpoint. It is copied for every batch, never run itself: schedulers keep state.
    Raises:
        ConfigError: if the config asks for a size that the checkpoint cannot make.
    """

    modality = "image"

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
        self.config = config
        self._pipeline = pipeline
        self._prompts = ClipPrompts(pipeline.tokenizer, pipeline.text_encoder)
        self._noise_prediction = NoisePrediction(pipeline.scheduler)
        try:
            self.compatibility_key(GenerationOptions())
        except RequestError as error:
            raise ConfigError(f"{STAGE}: the defaults cannot be made; {error}") from error
        self._empty_prompt_1TD = self._prompts.encode([""])

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

    @property
    def conditioning_spec(self) -> ConditioningSpec:
        """`prompt_embeds` (T, D): as many tokens as the tokenizer pads to, as wide as the text encoder."""
        return {"prompt_embeds": TensorSpec(self._prompts.shape)}

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The frozen networks by their diffusers names."""
        return {name: part for name, part in self._pipeline.components.items() if isinstance(part, nn.Module)}

    def encode_prompt(self, prompts: list[str]) -> Conditioning:
        """The checkpoint's own text encoder.

        Args:
            prompts: B texts; empty is allowed, what is beyond T tokens is cut off.
        Returns:
            `prompt_embeds` (B, T, D) in the text encoder's dtype.
        Raises:
            RequestError: if there are no prompts.
        """
        return {"prompt_embeds": self._prompts.encode(prompts)}

    def denoising_loss(self, conditioning: Conditioning, media: list[Any]) -> Tensor:
        """Mean squared error of the UNet's prediction at random timesteps, drawn from torch's global generators.

        Args:
            conditioning: `prompt_embeds` (B, T, D), which gradients reach.
            media: B pictures; resized to the configured size.
        Returns:
            A float32 scalar.
        Raises:
            RequestError: if the conditioning does not match the spec or the number of pictures.
            MediaError: if an item is not a picture.
        """
        embeds_BTD = self._prompt_embeds(conditioning, len(media))

        def denoise(noisy_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
            return self._pipeline.unet(noisy_BCHW, timesteps_B, encoder_hidden_states=embeds_BTD).sample

        return self._noise_prediction.loss(self._encode_pictures(media), denoise)

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
        if steps > config.max_steps:
            raise RequestError(f"steps: {steps} given, expected at most max_steps={config.max_steps}")
        check_size(pipeline, height_px, width_px, config.max_pixels)
        return Sampling(steps, max(guidance, 1.0), height_px, width_px)

    def generate(
        self,
        conditioning: Conditioning,
        options: Sequence[GenerationOptions],
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[Any]:
        """Sample one RGB picture per item; what is common to all generators stands in the contract."""
        embeds_BTD = self._prompt_embeds(conditioning, len(options)).detach()
        config = self.config
        keys = [self.compatibility_key(item) for item in options]
        return run_batches(
            group_compatible(keys, config.max_batch_size, pad=config.pad_batches),
            lambda sampling: denoiser_calls(self._pipeline.scheduler, sampling.steps),
            lambda batch, counter: self._sample(
                embeds_BTD[batch.items], [options[item].seed for item in batch.items], batch, counter
            ),
            on_step,
            should_stop,
        )

    def _sample(
        self, embeds_BTD: Tensor, seeds: list[int], batch: Batch, counter: StepCounter
    ) -> list[Image.Image | StageError]:
        sampling: Sampling = batch.key
        pipeline = copy.copy(self._pipeline)
        pipeline.scheduler = copy.deepcopy(self._pipeline.scheduler)
        scale = pipeline.vae_scale_factor
        latents_BCHW, randoms = seeded_noise(
            (pipeline.unet.config.in_channels, sampling.height_px // scale, sampling.width_px // scale), seeds
        )
        output = pipeline(
            prompt_embeds=embeds_BTD,
            negative_prompt_embeds=self._empty_prompt_1TD.to(embeds_BTD).expand_as(embeds_BTD),
            latents=latents_BCHW.to(embeds_BTD),
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
    def _encode_pictures(self, media: list[Any]) -> Tensor:
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

    def _prompt_embeds(self, conditioning: Conditioning, batch_size: int) -> Tensor:
        self.check_conditioning(conditioning, batch_size)
        return conditioning["prompt_embeds"].to(self._pipeline.unet.device, self._pipeline.unet.dtype)
