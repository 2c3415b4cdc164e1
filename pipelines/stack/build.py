"""Build a stack's parts from its config."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from anygpt.checkpoints.quiet import quiet_libraries
from anygpt.checkpoints.trust import remote_code
from anygpt.config.resolve import resolve_component
from anygpt.config.schema import StackConfig
from anygpt.errors import ConfigError
from anygpt.tensors import ConditioningSpec
from backbone import BACKBONES
from backbone.contract import Backbone
from encoders import ENCODERS
from encoders.contract import Encoder
from generators import GENERATORS
from generators.contract import Generator
from pipelines.stack.backbone_stage import BackboneStage
from pipelines.stack.bundle import load_bundle
from pipelines.stack.stage_types import FeatureShape


@dataclass
class Stack:
    """Every part of an assistant, loaded in this process."""

    config: StackConfig
    encoders: dict[str, Encoder]
    backbone: BackboneStage
    generators: dict[str, Generator]


def build_encoder(config: StackConfig, modality: str) -> Encoder:
    """Load one encoder to its place.

    Raises:
        ConfigError: if the named encoder is of another modality.
    """
    stage = f"encoders.{modality}"
    encoder_class, options = resolve_component(ENCODERS, config.encoders[modality], stage)
    if encoder_class.modality != modality:
        raise ConfigError(f"{stage}.name: '{options.name}' takes in {encoder_class.modality}, expected {modality}")
    placement = config.placed(stage)
    with remote_code(allowed=config.trust_remote_code):
        return encoder_class.from_config(options, device=placement.device, dtype=getattr(torch, placement.dtype))


def build_generator(config: StackConfig, modality: str) -> Generator:
    """Load one generator to its place.

    Raises:
        ConfigError: if the named generator is of another modality.
    """
    stage = f"generators.{modality}"
    generator_class, options = resolve_component(GENERATORS, config.generators[modality], stage)
    if generator_class.modality != modality:
        raise ConfigError(f"{stage}.name: '{options.name}' makes {generator_class.modality}, expected {modality}")
    placement = config.placed(stage)
    with remote_code(allowed=config.trust_remote_code):
        return generator_class.from_config(options, device=placement.device, dtype=getattr(torch, placement.dtype))


def build_backbone(config: StackConfig) -> Backbone:
    """Load the language model to its place, without adapters."""
    placement = config.placed("backbone")
    backbone_class, options = resolve_component(BACKBONES, config.backbone, "backbone")
    with remote_code(allowed=config.trust_remote_code):
        return backbone_class.from_config(options, device=placement.device, dtype=getattr(torch, placement.dtype))


def build_backbone_stage(
    config: StackConfig,
    backbone: Backbone,
    shapes: Mapping[str, FeatureShape],
    specs: Mapping[str, ConditioningSpec],
    untrained_inputs: Collection[str] = (),
) -> BackboneStage:
    """Put the adapters to the language model, trained ones if the config names a bundle.

    Args:
        shapes: encoder modality → what that encoder gives.
        specs: generator modality → what that generator wants.
        untrained_inputs: modalities whose input projector stays untrained.
    """
    stage = BackboneStage.build(config, backbone, shapes, specs)
    if config.adapters:
        load_bundle(stage, config.adapters, config.adapter_overlays, untrained_inputs)
    return stage


def check_device(config: StackConfig, stage: str) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        ConfigError: naming the stage.
    """
    name = config.placed(stage).device
    try:
        if torch.empty(0, device=name).is_meta:
            raise NotImplementedError("it holds no weights")
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch raises all three
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigError(f"placement.{stage}.device: '{name}' given, which cannot be used: {reason}") from error


def build_stack(config: StackConfig, untrained_inputs: Collection[str] = ()) -> Stack:
    """Load every part, and the adapters if the config names a bundle.

    Args:
        untrained_inputs: modalities whose input projector stays untrained.
    Raises:
        ConfigError, RegistryError, CheckpointError: if a part cannot be built.
    """
    for stage in config.stages:
        check_device(config, stage)
    with quiet_libraries(hide_bars=False):
        return _load(config, untrained_inputs)


def _load(config: StackConfig, untrained_inputs: Collection[str]) -> Stack:
    encoders = {modality: build_encoder(config, modality) for modality in config.encoders}
    generators = {modality: build_generator(config, modality) for modality in config.generators}
    shapes = {modality: FeatureShape(e.feature_dim, e.num_tokens) for modality, e in encoders.items()}
    specs = {modality: generator.conditioning_spec for modality, generator in generators.items()}
    backbone = build_backbone_stage(config, build_backbone(config), shapes, specs, untrained_inputs)
    return Stack(config, encoders, backbone, generators)
