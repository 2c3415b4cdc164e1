"""Build a stack's real parts without weights: on the meta device, which knows shapes and dtypes and holds no numbers.

Every part is built by its own `from_config`, so that a plan sees what a run would see. Only the functions through which
weights are read are replaced meanwhile; they build the model from its config and leave it at that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from diffusers import ModelMixin
from torch import Tensor, nn
from transformers import PreTrainedModel

from anygpt.checkpoints.quiet import quiet_libraries
from anygpt.config.schema import StackConfig
from encoders.beats import encoder as beats
from encoders.ulip2 import encoder as ulip2
from encoders.whisper import checkpoint as whisper_checkpoints
from pipelines.planning.architectures import with_folders
from pipelines.planning.meta_device import META, meta_passes
from pipelines.planning.replaced import replaced
from pipelines.stack.build import Stack, build_backbone, build_backbone_stage, build_encoder, build_generator
from pipelines.stack.stage_types import FeatureShape

# What `from_pretrained` takes for the reading of weights, and no model's constructor does.
_READING_OPTIONS = (
    "revision", "variant", "use_safetensors", "local_files_only", "ignore_mismatched_sizes", "key_mapping",
    "trust_remote_code", "_from_auto", "adapter_kwargs",
)  # fmt: skip
_NOTHING_WRONG = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")


def build_without_weights(config: StackConfig) -> Stack:
    """The stack with every part on the meta device in its placed dtype; adapters are untrained, of the same shapes.

    Not for use while another thread loads a model.

    Raises:
        ConfigError: if the parts' dimensions do not chain, or an option cannot work.
        CheckpointError: if a checkpoint's architecture is not known, or its parts do not fit each other.
    """
    config = with_folders(replace(config, adapters=None))
    placement = {stage: replace(config.placed(stage), device=META) for stage in config.stages}
    config = replace(config, placement=placement)
    with quiet_libraries(), weightless(), meta_passes():
        encoders = {modality: build_encoder(config, modality) for modality in config.encoders}
        generators = {modality: build_generator(config, modality) for modality in config.generators}
        shapes = {modality: FeatureShape(e.feature_dim, e.num_tokens) for modality, e in encoders.items()}
        specs = {modality: generator.conditioning_spec for modality, generator in generators.items()}
        with torch.device(META):
            backbone = build_backbone_stage(config, build_backbone(config), shapes, specs)
    return Stack(config, encoders, backbone, generators)


@contextmanager
def weightless() -> Iterator[None]:
    """Inside the block, whatever would read weights builds models on the meta device instead."""
    with ExitStack() as stack:
        stack.enter_context(replaced(PreTrainedModel, "from_pretrained", classmethod(_transformers_model)))
        stack.enter_context(replaced(ModelMixin, "from_pretrained", classmethod(_diffusers_model)))
        stack.enter_context(replaced(torch, "load", _load_on_meta(torch.load)))
        for module in (beats, ulip2):
            stack.enter_context(replaced(module, "read_weights", _no_weights))
        for module in (beats, ulip2, whisper_checkpoints):
            stack.enter_context(replaced(module, "build_strictly", _built_on_meta))
        yield


def _transformers_model(
    model_class: Any,
    source: Any,
    *,
    config: Any = None,
    subfolder: str = "",
    dtype: torch.dtype = torch.float32,
    output_loading_info: bool = False,
    **options: Any,
) -> Any:
    """`PreTrainedModel.from_pretrained` without the weights."""
    for name in _READING_OPTIONS:
        options.pop(name, None)
    if config is None:
        config = model_class.config_class.from_pretrained(source, subfolder=subfolder, local_files_only=True)
    with torch.device(META):
        model = model_class._from_config(config, dtype=dtype, **options).eval()
    _keep_in_float32(model, dtype)
    return (model, {name: [] for name in _NOTHING_WRONG}) if output_loading_info else model


def _keep_in_float32(model: nn.Module, dtype: torch.dtype) -> None:
    """What a transformers model does not want in float16, as T5 its `wo`."""
    kept = getattr(model, "_keep_in_fp32_modules", None) or ()
    for name, parameter in model.named_parameters():
        if dtype == torch.float16 and set(kept) & set(name.split(".")):
            parameter.data = parameter.data.float()


def _diffusers_model(
    model_class: Any,
    source: Any,
    *,
    subfolder: str = "",
    dtype: torch.dtype = torch.float32,
    output_loading_info: bool = False,
    **options: Any,
) -> Any:
    """`ModelMixin.from_pretrained` without the weights."""
    values = model_class.load_config(source, subfolder=subfolder, local_files_only=True)
    with torch.device(META):
        model = model_class.from_config(values).to(dtype).eval()
    return (model, {name: [] for name in _NOTHING_WRONG}) if output_loading_info else model


def _built_on_meta(
    build: Callable[[], nn.Module], weights: Mapping[str, Tensor], source: str, *, who: str, dtype: torch.dtype
) -> nn.Module:
    """`encoders.state_dicts.build_strictly` without the weights."""
    with torch.device(META):
        return build().to(dtype)


def _no_weights(source: str, *, who: str) -> dict[str, Tensor]:
    return {}


def _load_on_meta(load: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.load` that takes from an official file its sizes alone."""

    def load_on_meta(file: Any, **options: Any) -> Any:
        return load(file, **{**options, "map_location": META})

    return load_on_meta
