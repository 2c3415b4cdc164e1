"""What every stage of a stack needs, measured on its real parts on the meta device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from anygpt.config.schema import StackConfig, StagePlacement
from backbone.folding import FOLDED
from encoders.contract import Encoder
from generators.contract import Generator
from pipelines.planning.meta_device import meta_passes
from pipelines.planning.passes import PassBytes, backbone_pass, encoder_pass, generator_pass
from pipelines.stack.backbone_stage import BackboneStage
from pipelines.stack.build import Stack

_HALF, _FLOAT = 2, 4  # bytes
_BLOCK = 64  # weights that share a scale at 4 bits


@dataclass(frozen=True)
class Weights:
    """What a stage's weights take.

    Attributes:
        parameters, trained: how many there are, and how many of them a training run may change.
        placed: bytes in the placed dtype, with buffers.
        half, int8, int4: bytes of the parameters in other formats. The trained ones stay as they are; int8 and 4 bits
            hold for the linear layers, with a float32 scale for every row or for every 64 weights, as bitsandbytes
            does; the rest, and the language model's head, keeps 16 bits.
    """

    parameters: int
    trained: int
    placed: int
    half: int
    int8: int
    int4: int


@dataclass(frozen=True)
class Saving:
    """An override that makes a stage smaller, and by how much about."""

    override: str
    saved: int


@dataclass(frozen=True)
class StageNeed:
    """What one stage needs where it is placed; sizes in bytes."""

    stage: str
    placement: StagePlacement
    weights: Weights
    passes: PassBytes
    savings: tuple[Saving, ...]

    @property
    def total(self) -> int:
        """Weights, cache and activations."""
        return self.weights.placed + self.passes.cache + self.passes.activations


def measure(config: StackConfig, stack: Stack) -> list[StageNeed]:
    """Count what a stack's stages take, with their largest passes.

    Args:
        stack: from `build_without_weights(config)`; its LoRA is folded, as a run would.
    Raises:
        ConfigError: if a part is of a kind whose passes are not known, or a medium does not fit the context.
    """
    return [
        *(_encoder_need(config, modality, encoder) for modality, encoder in stack.encoders.items()),
        _backbone_need(config, stack.backbone),
        *(_generator_need(config, modality, generator) for modality, generator in stack.generators.items()),
    ]


def _encoder_need(config: StackConfig, modality: str, encoder: Encoder) -> StageNeed:
    stage = f"encoders.{modality}"
    placement = config.placed(stage)
    weights, passes = weigh([encoder]), encoder_pass(encoder, placement.max_batch_size)
    savings = (
        *_narrower(stage, placement, weights.placed + passes.activations),
        *_smaller_batch(f"placement.{stage}.max_batch_size", placement.max_batch_size, passes.activations),
    )
    return StageNeed(stage, placement, weights, passes, savings)


def _backbone_need(config: StackConfig, stage: BackboneStage) -> StageNeed:
    backbone: Any = stage.backbone
    placement = config.placed("backbone")
    trained = [
        *stage.input_projectors.parameters(),
        *stage.output_projectors.parameters(),
        *backbone.trainable_parameters(signal_rows=True, lora=True).values(),
    ]
    with meta_passes():
        backbone.fold()
    head = backbone.language_model.get_output_embeddings()
    weights = weigh([stage], trained, unquantised=[head.weight])
    passes = backbone_pass(stage, placement.max_batch_size)
    frozen = weights.placed - sum(parameter.nbytes for parameter in trained)
    folded = sum(buffer.nbytes for name, buffer in stage.named_buffers() if name.endswith(FOLDED))
    context = backbone.max_context_tokens
    savings = (
        *_narrower("backbone", placement, frozen + passes.cache + passes.activations),
        *_smaller_batch(
            "placement.backbone.max_batch_size", placement.max_batch_size, passes.cache + passes.activations
        ),
        *([Saving("backbone.lora.fold=false", folded)] if folded else []),
        Saving(f"backbone.max_context_tokens={context // 2}", (passes.cache + passes.activations) // 2),
    )
    return StageNeed("backbone", placement, weights, passes, savings)


def _generator_need(config: StackConfig, modality: str, generator: Generator) -> StageNeed:
    stage = f"generators.{modality}"
    placement = config.placed(stage)
    weights, passes = weigh(generator.modules.values()), generator_pass(generator, config.generators[modality]["name"])
    size = getattr(generator, "config").max_batch_size  # noqa: B009  # the contract knows no config
    savings = (
        *_narrower(stage, placement, weights.placed + passes.activations),
        *_smaller_batch(f"{stage}.max_batch_size", size, passes.activations),
    )
    return StageNeed(stage, placement, weights, passes, savings)


def weigh(
    modules: Iterable[nn.Module], trained: Iterable[nn.Parameter] = (), unquantised: Iterable[nn.Parameter] = ()
) -> Weights:
    """Count the parameters of modules, every one once.

    Args:
        trained: those of them that training may change.
        unquantised: weights of linear layers that keep 16 bits all the same.
    """
    whole = nn.ModuleList(modules)
    parameters = list(whole.parameters())
    trained_ids = {id(parameter) for parameter in trained}
    kept_ids = trained_ids | {id(parameter) for parameter in unquantised}
    linear_ids = {id(module.weight) for module in whole.modules() if isinstance(module, nn.Linear)} - kept_ids
    sizes = {"half": 0, "int8": 0, "int4": 0}
    for parameter in parameters:
        count = parameter.numel()
        half = parameter.nbytes if id(parameter) in trained_ids else _HALF * count
        is_linear = id(parameter) in linear_ids
        sizes["half"] += half
        sizes["int8"] += count + _FLOAT * parameter.shape[0] if is_linear else half
        sizes["int4"] += -(-count // 2) + _FLOAT * -(-count // _BLOCK) if is_linear else half
    return Weights(
        parameters=sum(parameter.numel() for parameter in parameters),
        trained=sum(parameter.numel() for parameter in parameters if id(parameter) in trained_ids),
        placed=sum(tensor.nbytes for tensor in (*parameters, *whole.buffers())),
        **sizes,
    )


def _narrower(stage: str, placement: StagePlacement, affected: int) -> list[Saving]:
    width = {"float64": 8, "float32": 4}.get(placement.dtype)
    override = f"placement.{stage}.dtype={'float16' if stage.startswith('generators') else 'bfloat16'}"
    return [Saving(override, affected - affected * _HALF // width)] if width else []


def _smaller_batch(key: str, size: int, affected: int) -> list[Saving]:
    half = size // 2
    return [Saving(f"{key}={half}", affected - affected * half // size)] if half else []
