"""What generators over diffusers pipelines share: prompts, the denoising loss, and sampling in compatible batches.

Legend: B batch; other axes are the latents' own.
"""

from __future__ import annotations

import copy
import functools
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from anygpt.errors import ConfigError, RequestError
from anygpt.options import GenerationOptions
from anygpt.tensors import Conditioning, ConditioningSpec
from generators.batching import Batch, group_compatible, run_batches
from generators.contract import Generator, OnStep, ShouldStop
from generators.noise_prediction import NoisePrediction
from generators.progress import StepCounter


class PromptEncoder(Protocol):
    """A checkpoint's frozen text encoders. Safe to call from several threads at once."""

    @property
    def spec(self) -> ConditioningSpec:
        """Names and shapes, without B, of what it makes."""

    def encode(self, prompts: list[str]) -> Conditioning:
        """B texts → tensors (B, *shape); empty texts are allowed, what is too long is cut off.

        Raises:
            RequestError: if there are no prompts.
        """


class DiffusersGenerator(Generator):
    """A frozen diffusers checkpoint, conditioned on prompt embeddings. Safe to call from several threads at once.

    Args:
        config: how to sample; has at least `max_batch_size` and `pad_batches`.
        pipeline: the loaded checkpoint. It is copied for every batch, never run itself: schedulers keep state.
        prompts: its text encoders.
    Raises:
        ConfigError: if the config asks for a medium that the checkpoint cannot make.
    """

    stage: ClassVar[str]

    def __init__(self, config: Any, pipeline: Any, prompts: PromptEncoder) -> None:
        self.config = config
        self._pipeline = pipeline
        self._prompts = prompts
        self._noise_prediction = NoisePrediction(pipeline.scheduler)
        try:
            self.compatibility_key(GenerationOptions())
        except RequestError as error:
            raise ConfigError(f"{self.stage}: the defaults cannot be made; {error}") from error

    @property
    def conditioning_spec(self) -> ConditioningSpec:
        """What the checkpoint's text encoders make."""
        return self._prompts.spec

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The frozen networks by their diffusers names."""
        return {name: part for name, part in self._pipeline.components.items() if isinstance(part, nn.Module)}

    def encode_prompt(self, prompts: list[str]) -> Conditioning:
        """The checkpoint's own text encoders; see `PromptEncoder.encode`."""
        return self._prompts.encode(prompts)

    def denoising_loss(self, conditioning: Conditioning, media: list[Any]) -> Tensor:
        """Mean squared error of the UNet's prediction at random timesteps, drawn from torch's global generators.

        Args:
            conditioning: as the spec names it; gradients reach all but masks.
            media: B media, brought to the configured size.
        Returns:
            A float32 scalar.
        Raises:
            RequestError: if the conditioning does not match the spec or the number of media.
            MediaError: if an item is of another kind.
        """
        given = self._placed(conditioning, len(media))
        return self._noise_prediction.loss(
            self._encode_media(media), lambda noisy, timesteps_B: self._denoise(noisy, timesteps_B, given)
        )

    def generate(
        self,
        conditioning: Conditioning,
        options: Sequence[GenerationOptions],
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[Any]:
        """Sample one medium per item; what is common to all generators stands in the contract."""
        given = {name: tensor.detach() for name, tensor in self._placed(conditioning, len(options)).items()}
        keys = [self.compatibility_key(item) for item in options]
        return run_batches(
            group_compatible(keys, self._batch_size, pad=self.config.pad_batches),
            lambda sampling: self._reported_steps(sampling.steps),
            lambda batch, counter: self._sample(
                {name: tensor[batch.items] for name, tensor in given.items()},
                [options[item].seed for item in batch.items],
                batch,
                counter,
            ),
            on_step,
            should_stop,
        )

    @property
    def _batch_size(self) -> int:
        """Items denoised together."""
        return int(self.config.max_batch_size)

    @abstractmethod
    def _reported_steps(self, steps: int) -> int:
        """How often the pipeline reports while it takes so many steps."""

    @abstractmethod
    def _denoise(self, noisy: Tensor, timesteps_B: Tensor, conditioning: Conditioning) -> Tensor:
        """The UNet's prediction, shaped like the latents."""

    @abstractmethod
    def _encode_media(self, media: list[Any]) -> Tensor:
        """Media → scaled latents of the configured size."""

    @abstractmethod
    def _sample(self, conditioning: Conditioning, seeds: list[int], batch: Batch, counter: StepCounter) -> list[Any]:
        """The first `batch.count` media of a batch."""

    def _fresh_pipeline(self) -> Any:
        """The pipeline with a scheduler of its own."""
        pipeline = copy.copy(self._pipeline)
        pipeline.scheduler = copy.deepcopy(self._pipeline.scheduler)
        return pipeline

    @functools.cached_property
    def _empty_prompt(self) -> Conditioning:
        """What guidance leads away from; encoded at the first need, since a text's reply needs no generator."""
        return self._prompts.encode([""])

    def _negative(self, conditioning: Conditioning) -> Conditioning:
        """The empty prompt, as diffusers names it, for as many items."""
        return {
            f"negative_{name}": tensor.to(conditioning[name]).expand_as(conditioning[name])
            for name, tensor in self._empty_prompt.items()
        }

    def _placed(self, conditioning: Conditioning, batch_size: int) -> Conditioning:
        """Checked conditioning where the UNet is, in its dtype."""
        self.check_conditioning(conditioning, batch_size)
        unet, spec = self._pipeline.unet, self.conditioning_spec
        return {
            name: tensor.to(unet.device, torch.int64 if spec[name].is_mask else unet.dtype)
            for name, tensor in conditioning.items()
        }
