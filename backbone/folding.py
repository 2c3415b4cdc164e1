"""Fold LoRA into copies of the weights beside it: a pass without gradients then costs what the base model's costs.

PEFT's own merging writes into the frozen weights and cannot take it back exactly. Here the frozen weights and the
LoRA matrices stay as they are, and a pass with gradients still goes through both.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

FOLDED = "folded_weight"


def fold_lora(language_model: nn.Module) -> None:
    """Give every LoRA on a plain linear layer the sum of both weights, for passes without gradients.

    Later changes of a LoRA do not reach the sum: unfold before, or fold again.
    """
    unfold_lora(language_model)
    for layer in _lora_layers(language_model):
        weight = layer.base_layer.weight
        with torch.no_grad():
            deltas = [layer.get_delta_weight(name).to(weight.dtype) for name in layer.active_adapters]
            layer.register_buffer(FOLDED, sum(deltas, weight.detach()), persistent=False)
        layer.forward = partial(_forward, layer)


def unfold_lora(language_model: nn.Module) -> None:
    """Go back to the layers as PEFT made them; without folded ones, do nothing."""
    for layer in _lora_layers(language_model):
        if hasattr(layer, FOLDED):
            delattr(layer, FOLDED)
            del layer.forward


def _lora_layers(language_model: nn.Module) -> Iterator[Any]:
    from peft.tuners.lora import Linear

    for layer in language_model.modules():
        if isinstance(layer, Linear) and type(layer.base_layer) is nn.Linear:
            yield layer


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if torch.is_grad_enabled() or layer.disable_adapters:
        return type(layer).forward(layer, x, *args, **kwargs)
    return nn.functional.linear(x, layer.folded_weight, layer.base_layer.bias)
