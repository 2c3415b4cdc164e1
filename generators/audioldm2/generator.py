"""Sounds by AudioLDM-2: diffusers' `AudioLDM2Pipeline`, driven by prompt embeddings.

Legend: B batch, S samples, F mel frames, M mel bands, C/F/M latents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from diffusers import AudioLDM2Pipeline
from torch import Tensor

from anygpt.errors import ConfigError, MediaError, StageError
from anygpt.media.values import Audio
from anygpt.options import GenerationOptions
from anygpt.tensors import Conditioning
from generators.audioldm2.log_mels import LogMels
from generators.audioldm2.parts import VOCODER_NAMES, VocoderName, load_pipeline
from generators.audioldm2.prompts import AudioLDM2Prompts
from generators.batching import Batch, seeded_noise
from generators.diffusers_generator import DiffusersGenerator
from generators.limits import check_limits
from generators.progress import StepCounter
from generators.schedulers import SCHEDULER_NAMES, SchedulerName, callback_calls, check_steps

if TYPE_CHECKING:
    from typing_extensions import Self

STAGE = "generators.audio"


class Sampling(NamedTuple):
    """All that the items of one batch share, defaults filled in."""

    steps: int
    guidance: float
    samples: int


class AudioLDM2Generator(DiffusersGenerator):
    """A frozen AudioLDM-2 text-to-audio checkpoint. Safe to call from several threads at once.

    Sounds are as loud as the checkpoint makes them: nothing is normalised, only what is beyond ±1 is clipped.

    Args:
        config: how to sample.
        pipeline: the loaded checkpoint. It is copied for every batch, never run itself: schedulers keep state.
    Raises:
        ConfigError: if the config asks for a sound that the checkpoint cannot make.
    """

    modality = "audio"
    stage = STAGE

    @dataclass
    class Config:
        """Where the weights are and how sounds are sampled by default.

        Attributes:
            pretrained: a diffusers folder, `embedded:…` or a hub name; safetensors only.
            steps: denoising steps.
            guidance: classifier-free guidance scale; 1 or less turns guidance off.
            duration_s: length of a sound in seconds.
            prompt_tokens: T5 tokens of the conditioning; longer prompts are cut off.
            generated_tokens: hidden states that the checkpoint's GPT-2 adds; 8 in the published ones.
            mels: the log-mels that the checkpoint was trained on.
            vocoder: "checkpoint" takes the HiFi-GAN that the weights came with, "griffin_lim" needs none.
            scheduler: the sampler; "checkpoint" takes the one that the weights came with.
            max_batch_size: sounds denoised together. With 1 a sound is bit for bit the same, alone or beside others.
            pad_batches: fill every batch to `max_batch_size`, so that all run the same kernels and sounds are
                bit for bit the same again. A sound alone then takes as long as a full batch.
            max_steps, max_duration_s: limits of what a request may ask for.
            revision, variant: branch, tag or commit on the hub; kind of weights ("fp16").
        """

        pretrained: str
        name: str = "audioldm2"
        steps: int = 200
        guidance: float = 3.5
        duration_s: float = 10.24
        prompt_tokens: int = 64
        generated_tokens: int = 8
        mels: LogMels.Config = field(default_factory=LogMels.Config)
        vocoder: VocoderName = "checkpoint"
        scheduler: SchedulerName = "checkpoint"
        max_batch_size: int = 1
        pad_batches: bool = False
        max_steps: int = 400
        max_duration_s: float = 60.0
        revision: str | None = None
        variant: str | None = None

        def __post_init__(self) -> None:
            for key in ("steps", "prompt_tokens", "generated_tokens", "max_batch_size", "max_steps"):
                if getattr(self, key) < 1:
                    raise ConfigError(f"{key}: {getattr(self, key)} given, expected at least 1")
            for key in ("duration_s", "max_duration_s"):
                if not 0 < getattr(self, key) < math.inf:
                    raise ConfigError(f"{key}: {getattr(self, key)} given, expected a number above 0")
            if not 0 <= self.guidance <= 100:
                raise ConfigError(f"guidance: {self.guidance} given, expected 0 to 100")
            for key, names in (("scheduler", SCHEDULER_NAMES), ("vocoder", VOCODER_NAMES)):
                if getattr(self, key) not in names:
                    raise ConfigError(f"{key}: '{getattr(self, key)}' given, expected one of {', '.join(names)}")

    def __init__(self, config: Config, pipeline: AudioLDM2Pipeline) -> None:
        self._log_mels = LogMels(config.mels)
        super().__init__(config, pipeline, AudioLDM2Prompts(pipeline, config.prompt_tokens, config.generated_tokens))

    @classmethod
    def from_config(cls, config: Config, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load a diffusers folder or hub checkpoint, strictly.

        Raises:
            CheckpointError: if the weights are missing, damaged or do not fit.
            ConfigError: if the config asks for a sound that the checkpoint cannot make.
        """
        pipeline = load_pipeline(
            config.pretrained,
            mels=config.mels,
            vocoder=config.vocoder,
            scheduler=config.scheduler,
            revision=config.revision,
            variant=config.variant,
            device=device,
            dtype=dtype,
        )
        return cls(config, pipeline)

    def compatibility_key(self, options: GenerationOptions) -> Sampling:
        """Steps, guidance and length with the configured defaults filled in.

        Raises:
            RequestError: if there are too many steps, or the sound is too long.
        """
        config = self.config
        steps = options.steps or config.steps
        guidance = config.guidance if options.guidance is None else options.guidance
        duration_s = options.duration_s or config.duration_s
        check_limits(config, self.modality, steps=steps, duration_s=duration_s)
        check_steps(self._pipeline.scheduler, steps, STAGE)
        return Sampling(steps, max(guidance, 1.0), max(1, round(duration_s * config.mels.sampling_rate_hz)))

    def _reported_steps(self, steps: int) -> int:
        return callback_calls(self._pipeline.scheduler, steps)

    def _denoise(self, noisy: Tensor, timesteps_B: Tensor, conditioning: Conditioning) -> Tensor:
        return self._pipeline.unet(
            noisy,
            timesteps_B,
            encoder_hidden_states=conditioning["generated_prompt_embeds"],
            encoder_hidden_states_1=conditioning["prompt_embeds"],
            encoder_attention_mask_1=conditioning["attention_mask"],
        ).sample

    def _sample(
        self, conditioning: Conditioning, seeds: list[int], batch: Batch, counter: StepCounter
    ) -> list[Audio | StageError]:
        sampling: Sampling = batch.key
        pipeline, mels = self._fresh_pipeline(), self.config.mels
        frames, scale = self._frames(sampling.samples), pipeline.vae_scale_factor
        latents_BCFM, randoms = seeded_noise(
            (pipeline.unet.config.in_channels, frames // scale, mels.bands // scale), seeds
        )
        waveforms_BS = pipeline(
            **conditioning,
            **self._negative(conditioning),
            latents=latents_BCFM.to(conditioning["prompt_embeds"]),
            generator=randoms,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            audio_length_in_s=(frames * mels.hop_size + 0.5) / mels.sampling_rate_hz,  # diffusers rounds down
            callback=counter.after_step,
            output_type="pt",
        ).audios
        return [self._finish(waveform_S[: sampling.samples]) for waveform_S in waveforms_BS[: batch.count]]

    def _finish(self, waveform_S: Tensor) -> Audio | StageError:
        """A sound, or the reason why there is none."""
        if not torch.isfinite(waveform_S).all():
            return StageError(STAGE, f"the {self._pipeline.unet.dtype} networks made NaN or infinity; load as float32")
        return Audio(waveform_S.clamp(-1.0, 1.0).cpu().numpy(), self.config.mels.sampling_rate_hz)

    def _frames(self, samples: int) -> int:
        """Mel frames that hold so many samples, as many as the autoencoder can halve and a vocoder reflect."""
        least = max(samples, self._log_mels.margin + 1)
        scale = self._pipeline.vae_scale_factor
        return math.ceil(math.ceil(least / self.config.mels.hop_size) / scale) * scale

    @torch.no_grad()
    def _encode_media(self, media: list[Any]) -> Tensor:
        """Sounds → scaled VAE latents (B, C, F, M) of the configured length."""
        rate_hz = self.config.mels.sampling_rate_hz
        for item, sound in enumerate(media):
            if not isinstance(sound, Audio):
                raise MediaError(f"media[{item}]: {type(sound).__name__} given, expected an Audio")
            if sound.sampling_rate_hz != rate_hz:
                raise MediaError(
                    f"media[{item}]: sampling_rate_hz {sound.sampling_rate_hz} given, expected {rate_hz}; resample it"
                )
        kept = self.compatibility_key(GenerationOptions()).samples
        filled = self._frames(kept) * self.config.mels.hop_size
        waveforms = [torch.from_numpy(sound.waveform[:kept]) for sound in media]
        waveforms_BS = torch.stack([F.pad(waveform_S, (0, filled - len(waveform_S))) for waveform_S in waveforms])
        vae = self._pipeline.vae
        mels_B1FM = self._log_mels(waveforms_BS)[:, None].to(vae.device, vae.dtype)
        return vae.encode(mels_B1FM).latent_dist.sample() * vae.config.scaling_factor
