"""The three training objectives: which parts train, and the losses.

Every objective minimises the cross-entropy of the replies. Where replies hold media and output projectors train, their
conditioning is drawn towards the generator's own text embedding of the caption, optionally through the frozen denoiser.

Source: NExT-GPT (arXiv 2309.05519), sections 4 and 5.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from anygpt.errors import ConfigError, RequestError
from anygpt.messages import modality_of
from anygpt.tensors import Conditioning, Features
from backbone.prompt import Prompt
from encoders.contract import Encoder
from generators.contract import Generator
from pipelines.stack.backbone_stage import BackboneStage
from pipelines.training.samples import Sample, Target

MAX_WEIGHT = 1e6
ENCODED_AT_ONCE = 64  # media in one pass of an encoder


@dataclass(frozen=True)
class Objective:
    """Which parts an objective trains; everything else is frozen."""

    input_projectors: bool = False
    output_projectors: bool = False
    signal_rows: bool = False
    lora: bool = False

    def parameters(self, stage: BackboneStage) -> dict[str, nn.Parameter]:
        """The named parameters to train."""
        chosen: dict[str, nn.Parameter] = {}
        for name in ("input_projectors", "output_projectors"):
            if getattr(self, name):
                chosen |= {f"{name}.{key}": value for key, value in getattr(stage, name).named_parameters()}
        return chosen | stage.backbone.trainable_parameters(signal_rows=self.signal_rows, lora=self.lora)


OBJECTIVES = {
    "align-input": Objective(input_projectors=True),
    "align-output": Objective(output_projectors=True, signal_rows=True),
    "instruct": Objective(input_projectors=True, output_projectors=True, signal_rows=True, lora=True),
}


@dataclass
class LossWeights:
    """Weights of the losses; a weight of 0 leaves the loss out.

    Attributes:
        embedding: distance to the generator's own text embedding, relative to that embedding's variance.
        denoising: noise prediction of the true medium through the frozen denoiser.
    """

    embedding: float = 1.0
    denoising: float = 0.0

    def __post_init__(self) -> None:
        for name in ("embedding", "denoising"):
            value = getattr(self, name)
            if not 0 <= value <= MAX_WEIGHT:
                raise ConfigError(f"{name}: {value} given, expected 0 to {MAX_WEIGHT:g}")


def training_losses(
    stage: BackboneStage,
    encoders: Mapping[str, Encoder],
    generators: Mapping[str, Generator],
    samples: Sequence[Sample],
    weights: LossWeights,
) -> dict[str, Tensor]:
    """Named scalar losses of a batch.

    Raises:
        ConfigError: if the stack cannot take a sample: its media, or its length.
    """
    prompts = [prompt_of(stage, sample) for sample in samples]
    features = encoded_media(encoders, samples)
    cross_entropy, states = stage.backbone.training_states(
        prompts, stage.project(features), [sample.forbidden for sample in samples]
    )
    losses = {"reply": cross_entropy}
    targets = [target for sample in samples for target in sample.targets]
    for modality, states_NnH in states.items():
        own = [target for target in targets if target.modality == modality]
        conditioning = stage.output_projectors[modality](states_NnH)
        losses |= conditioning_losses(generators[modality], conditioning, own, weights)
    return losses


def prompt_of(stage: BackboneStage, sample: Sample) -> Prompt:
    """A sample as the language model reads it.

    Raises:
        ConfigError: naming the sample, if the stack cannot take it.
    """
    try:
        prompt = stage.prompt(sample.conversation, learn_replies=True)
        stage.check_length(prompt)
    except RequestError as error:
        raise ConfigError(f"data: {sample.origin}: {error}") from error
    return prompt


def conditioning_losses(
    generator: Generator, conditioning: Conditioning, targets: Sequence[Target], weights: LossWeights
) -> dict[str, Tensor]:
    """Losses of N projected conditionings against their N targets."""
    losses = {}
    if weights.embedding:
        wanted = generator.encode_prompt([target.caption for target in targets])
        distances = []
        for name, spec in generator.conditioning_spec.items():
            if not spec.is_mask:
                given, goal = conditioning[name].float(), wanted[name].float()
                distances.append(nn.functional.mse_loss(given, goal) / goal.var())
        losses[f"embedding_{generator.modality}"] = weights.embedding * torch.stack(distances).mean()
    if weights.denoising and all(target.medium is not None for target in targets):
        loss = generator.denoising_loss(conditioning, [target.medium for target in targets])
        losses[f"denoising_{generator.modality}"] = weights.denoising * loss
    return losses


def encoded_media(encoders: Mapping[str, Encoder], samples: Sequence[Sample]) -> list[dict[str, Features]]:
    """Features of every sample's media by modality, those that users show; encoded side by side."""
    shown = [media_by_modality(sample) for sample in samples]
    features: list[dict[str, Features]] = [{} for _ in samples]
    for modality, encoder in encoders.items():
        media = [medium for given in shown for medium in given.get(modality, ())]
        parts = [
            encoder.encode(encoder.preprocess(media[first : first + ENCODED_AT_ONCE]))
            for first in range(0, len(media), ENCODED_AT_ONCE)
        ]
        rows = iter(row for part in parts for row in zip(part.tokens, part.valid_mask, strict=True))
        for given, own in zip(shown, features, strict=True):
            if modality in given:
                tokens, masks = zip(*itertools.islice(rows, len(given[modality])), strict=True)
                own[modality] = Features(torch.stack(tokens), torch.stack(masks))
    return features


def media_by_modality(sample: Sample) -> dict[str, list[Any]]:
    """The user's media, in order."""
    media: dict[str, list[Any]] = {}
    for message in sample.conversation:
        for part in message.parts if message.role != "assistant" else ():
            if modality_of(part) != "text":
                media.setdefault(modality_of(part), []).append(part)
    return media
