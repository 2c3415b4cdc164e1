"""Videos by Zeroscope: diffusers' `TextToVideoSDPipeline`, driven by prompt embeddings.

Legend: B batch, T text tokens, D text width, F frames, C/H/W frame or latents.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import TextToVideoSDPipeline
from torch import Tensor, nn

from anygpt.errors import ConfigError, MediaError, RequestError, StageError
from anygpt.media.values import Video
from anygpt.requests import GenerationOptions
from anygpt.tensors import Conditioning, ConditioningSpec, TensorSpec
from generators.batching import Batch, group_compatible, run_batches, seeded_noise
from generators.clip_prompts import ClipPrompts
from generators.contract import Generator, OnStep, ShouldStop
from generators.noise_prediction import NoisePrediction
from generators.picture_size import check_size, native_size_px
from generators.progress import StepCounter
from generators.schedulers import SCHEDULER_NAMES, SchedulerName, callback_calls, draws_noise
from generators.zeroscope_parts import load_pipeline

if TYPE_CHECKING:
    from typing_extensions import Self

STAGE = "generators.video"


class Sampling(NamedTuple):
    """All that the items of one batch share, defaults filled in."""

    steps: int
    guidance: float
    height_px: int
    width_px: int
    frames: int


class ZeroscopeGenerator(Generator):
    """A frozen Zeroscope or ModelScope text-to-video checkpoint. Safe to call from several threads at once.

    Args:
        config: how to sample.
        pipeline: the loaded checkpoint. It is copied for every batch, never run itself: schedulers keep state.
    Raises:
        ConfigError: if the config asks for a video that the checkpoint cannot make.
    """

    modality = "video"

    @dataclass
    class Config:
        """Where the weights are and how videos are sampled by default.

        Attributes:
            pretrained: a diffusers folder, `embedded:…` or a hub name; safetensors only.
            steps: denoising steps.
            guidance: classifier-free guidance scale; 1 or less turns guidance off.
            frames: frames of a video.
            fps: frames a second that the checkpoint was trained on; sampling does not depend on it.
            width_px, height_px: None takes the size that the UNet was trained at.
            scheduler: the sampler; "checkpoint" takes the one that the weights came with.
            max_batch_size: videos denoised together. With 1 a video is bit for bit the same, alone or beside others.
                Samplers that draw noise between steps always take one at a time: diffusers would share it.
            pad_batches: fill every batch to `max_batch_size`, so that all run the same kernels and videos are
                bit for bit the same again. A video alone then takes as long as a full batch.
            slice_frames: encode and decode one frame at a time: slower, and far less memory at full size.
            max_steps, max_pixels, max_frames: limits of what a request may ask for; pixels are those of one frame.
            revision, variant: branch, tag or commit on the hub; kind of weights ("fp16").
        """

        pretrained: str
        name: str = "zeroscope"
        steps: int = 40
        guidance: float = 9.0
        frames: int = 24
        fps: float = 8.0
        width_px: int | None = None
        height_px: int | None = None
        scheduler: SchedulerName = "checkpoint"
        max_batch_size: int = 1
        pad_batches: bool = False
        slice_frames: bool = True
        max_steps: int = 200
        max_pixels: int = 1024 * 576
        max_frames: int = 64
        revision: str | None = None
        variant: str | None = None

        def __post_init__(self) -> None:
            for key in ("steps", "frames", "max_batch_size", "max_steps", "max_pixels", "max_frames"):
                if getattr(self, key) < 1:
                    raise ConfigError(f"{key}: {getattr(self, key)} given, expected at least 1")
            if not 0 <= self.guidance <= 100:
                raise ConfigError(f"guidance: {self.guidance} given, expected 0 to 100")
            if not 0 < self.fps <= 240:
                raise ConfigError(f"fps: {self.fps} given, expected more than 0 and at most 240")
            if self.scheduler not in SCHEDULER_NAMES:
                raise ConfigError(f"scheduler: '{self.scheduler}' given, expected one of {', '.join(SCHEDULER_NAMES)}")

    def __init__(self, config: Config, pipeline: TextToVideoSDPipeline) -> None:
        self.config = config
        self._pipeline = pipeline
        self._prompts = ClipPrompts(pipeline.tokenizer, pipeline.text_encoder)
        self._noise_prediction = NoisePrediction(pipeline.scheduler)
        self._batch_size = 1 if draws_noise(pipeline.scheduler) else config.max_batch_size
        if config.slice_frames:
            pipeline.vae.enable_slicing()
        try:
            self.compatibility_key(GenerationOptions())
        except RequestError as error:
            raise ConfigError(f"{STAGE}: the defaults cannot be made; {error}") from error
        self._empty_prompt_1TD = self._prompts.encode([""])

    @classmethod
    def from_config(cls, config: Config, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load a diffusers folder or hub checkpoint, strictly.

        Raises:
            CheckpointError: if the weights are missing, damaged or do not fit.
            ConfigError: if the config asks for a video that the checkpoint cannot make.
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
            media: B videos; resized to the configured size, and as many of their frames as configured, evenly spaced.
        Returns:
            A float32 scalar.
        Raises:
            RequestError: if the conditioning does not match the spec or the number of videos.
            MediaError: if an item is not a video.
        """
        embeds_BTD = self._prompt_embeds(conditioning, len(media))

        def denoise(noisy_BCFHW: Tensor, timesteps_B: Tensor) -> Tensor:
            return self._pipeline.unet(noisy_BCFHW, timesteps_B, encoder_hidden_states=embeds_BTD).sample

        return self._noise_prediction.loss(self._encode_videos(media), denoise)

    def compatibility_key(self, options: GenerationOptions) -> Sampling:
        """Steps, guidance, size and frames with the configured defaults filled in.

        Raises:
            RequestError: if there are too many steps, pixels or frames, or a size that the networks cannot make.
        """
        config = self.config
        steps = options.steps or config.steps
        guidance = config.guidance if options.guidance is None else options.guidance
        native_height_px, native_width_px = native_size_px(self._pipeline)
        height_px = options.height_px or config.height_px or native_height_px
        width_px = options.width_px or config.width_px or native_width_px
        frames = options.frames or config.frames
        if steps > config.max_steps:
            raise RequestError(f"steps: {steps} given, expected at most max_steps={config.max_steps}")
        if frames > config.max_frames:
            raise RequestError(f"frames: {frames} given, expected at most max_frames={config.max_frames}")
        check_size(self._pipeline, height_px, width_px, config.max_pixels)
        return Sampling(steps, max(guidance, 1.0), height_px, width_px, frames)

    def generate(
        self,
        conditioning: Conditioning,
        options: Sequence[GenerationOptions],
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[Any]:
        """Sample one `Video` per item; what is common to all generators stands in the contract."""
        embeds_BTD = self._prompt_embeds(conditioning, len(options)).detach()
        keys = [self.compatibility_key(item) for item in options]
        return run_batches(
            group_compatible(keys, self._batch_size, pad=self.config.pad_batches),
            lambda sampling: callback_calls(self._pipeline.scheduler, sampling.steps),
            lambda batch, counter: self._sample(
                embeds_BTD[batch.items], [options[item].seed for item in batch.items], batch, counter
            ),
            on_step,
            should_stop,
        )

    def _sample(
        self, embeds_BTD: Tensor, seeds: list[int], batch: Batch, counter: StepCounter
    ) -> list[Video | StageError]:
        sampling: Sampling = batch.key
        pipeline = copy.copy(self._pipeline)
        pipeline.scheduler = copy.deepcopy(self._pipeline.scheduler)
        scale = pipeline.vae_scale_factor
        latents_BCFHW, randoms = seeded_noise(
            (
                pipeline.unet.config.in_channels,
                sampling.frames,
                sampling.height_px // scale,
                sampling.width_px // scale,
            ),
            seeds,
        )
        pixels_BFCHW = pipeline(
            prompt_embeds=embeds_BTD,
            negative_prompt_embeds=self._empty_prompt_1TD.to(embeds_BTD).expand_as(embeds_BTD),
            latents=latents_BCFHW.to(embeds_BTD),
            generator=randoms[0],  # only drawn from where batches hold one video
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            num_frames=sampling.frames,
            height=sampling.height_px,
            width=sampling.width_px,
            callback=counter.after_step,
            output_type="pt",
        ).frames
        return [self._finish(pixels_FCHW) for pixels_FCHW in pixels_BFCHW[: batch.count]]

    def _finish(self, pixels_FCHW: Tensor) -> Video | StageError:
        """A video, or the reason why there is none."""
        if not torch.isfinite(pixels_FCHW).all():
            return StageError(STAGE, f"the {self._pipeline.unet.dtype} networks made NaN or infinity; load as float32")
        frames_FHWC = (pixels_FCHW.permute(0, 2, 3, 1) * 255).round().to("cpu", torch.uint8)
        return Video(frames_FHWC.contiguous().numpy(), self.config.fps)

    @torch.no_grad()
    def _encode_videos(self, media: list[Any]) -> Tensor:
        """Videos → scaled VAE latents (B, C, F, H, W) of the configured size and length."""
        for item, video in enumerate(media):
            if not isinstance(video, Video):
                raise MediaError(f"media[{item}]: {type(video).__name__} given, expected a Video")
        sampling = self.compatibility_key(GenerationOptions())
        vae = self._pipeline.vae
        pixels_NCHW = torch.cat([_resized(video, sampling) for video in media]).to(vae.device, vae.dtype)
        latents_NCHW = vae.encode(pixels_NCHW).latent_dist.sample() * vae.config.scaling_factor
        return latents_NCHW.unflatten(0, (len(media), sampling.frames)).transpose(1, 2)

    def _prompt_embeds(self, conditioning: Conditioning, batch_size: int) -> Tensor:
        self.check_conditioning(conditioning, batch_size)
        return conditioning["prompt_embeds"].to(self._pipeline.unet.device, self._pipeline.unet.dtype)


def _resized(video: Video, sampling: Sampling) -> Tensor:
    """Evenly spaced frames (F, 3, H, W) in [-1, 1]."""
    places = np.linspace(0, len(video.frames) - 1, sampling.frames).round().astype(int)
    pixels_FCHW = torch.from_numpy(video.frames[places]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    size = (sampling.height_px, sampling.width_px)
    if pixels_FCHW.shape[2:] == size:
        return pixels_FCHW
    return F.interpolate(pixels_FCHW, size, mode="bilinear", antialias=True)
