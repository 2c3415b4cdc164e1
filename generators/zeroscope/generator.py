"""Videos by Zeroscope: diffusers' `TextToVideoSDPipeline`, driven by prompt embeddings.

Legend: B batch, T text tokens, D text width, F frames, C/H/W frame or latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import TextToVideoSDPipeline
from torch import Tensor

from anygpt.errors import ConfigError, MediaError, StageError
from anygpt.media.values import Video
from anygpt.options import GenerationOptions
from anygpt.tensors import Conditioning
from generators.batching import Batch, seeded_noise
from generators.clip_prompts import ClipPrompts
from generators.diffusers_generator import DiffusersGenerator
from generators.limits import check_limits
from generators.picture_size import check_size, native_size_px
from generators.progress import StepCounter
from generators.schedulers import SCHEDULER_NAMES, SchedulerName, callback_calls, check_steps, draws_noise
from generators.zeroscope.parts import load_pipeline

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


class ZeroscopeGenerator(DiffusersGenerator):
    """A frozen Zeroscope or ModelScope text-to-video checkpoint. Safe to call from several threads at once.

    Args:
        config: how to sample.
        pipeline: the loaded checkpoint. It is copied for every batch, never run itself: schedulers keep state.
    Raises:
        ConfigError: if the config asks for a video that the checkpoint cannot make.
    """

    modality = "video"
    stage = STAGE

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
        if config.slice_frames:
            pipeline.vae.enable_slicing()
        super().__init__(config, pipeline, ClipPrompts(pipeline.tokenizer, pipeline.text_encoder))

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
        check_limits(config, self.modality, steps=steps, frames=frames)
        check_steps(self._pipeline.scheduler, steps, STAGE)
        check_size(self._pipeline, height_px, width_px, config.max_pixels)
        return Sampling(steps, max(guidance, 1.0), height_px, width_px, frames)

    @property
    def _batch_size(self) -> int:
        return 1 if draws_noise(self._pipeline.scheduler) else self.config.max_batch_size

    def _reported_steps(self, steps: int) -> int:
        return callback_calls(self._pipeline.scheduler, steps)

    def _denoise(self, noisy: Tensor, timesteps_B: Tensor, conditioning: Conditioning) -> Tensor:
        embeds_BTD = conditioning["prompt_embeds"]
        return self._pipeline.unet(noisy, timesteps_B, encoder_hidden_states=embeds_BTD).sample

    def _sample(
        self, conditioning: Conditioning, seeds: list[int], batch: Batch, counter: StepCounter
    ) -> list[Video | StageError]:
        sampling: Sampling = batch.key
        pipeline = self._fresh_pipeline()
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
            **conditioning,
            **self._negative(conditioning),
            latents=latents_BCFHW.to(conditioning["prompt_embeds"]),
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
    def _encode_media(self, media: list[Any]) -> Tensor:
        """Videos → scaled VAE latents (B, C, F, H, W) of the configured size and length."""
        for item, video in enumerate(media):
            if not isinstance(video, Video):
                raise MediaError(f"media[{item}]: {type(video).__name__} given, expected a Video")
        sampling = self.compatibility_key(GenerationOptions())
        vae = self._pipeline.vae
        pixels_NCHW = torch.cat([_resized(video, sampling) for video in media]).to(vae.device, vae.dtype)
        latents_NCHW = vae.encode(pixels_NCHW).latent_dist.sample() * vae.config.scaling_factor
        return latents_NCHW.unflatten(0, (len(media), sampling.frames)).transpose(1, 2)


def _resized(video: Video, sampling: Sampling) -> Tensor:
    """Evenly spaced frames (F, 3, H, W) in [-1, 1]."""
    places = np.linspace(0, len(video.frames) - 1, sampling.frames).round().astype(int)
    pixels_FCHW = torch.from_numpy(video.frames[places]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    size = (sampling.height_px, sampling.width_px)
    if pixels_FCHW.shape[2:] == size:
        return pixels_FCHW
    return F.interpolate(pixels_FCHW, size, mode="bilinear", antialias=True)
