"""A backbone of real classes with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backbone.causal_lm import CausalLMBackbone, CausalLMConfig
from backbone.language_model import LoraOptions


@pytest.fixture
def backbone(random_parts: Path) -> CausalLMBackbone:
    torch.manual_seed(0)
    config = CausalLMConfig(
        pretrained=str(random_parts / "language_model"),
        signal_tokens={"image": 4, "audio": 3},
        lora=LoraOptions(rank=2, alpha=2),
        max_tokens=12,
        max_media=2,
    )
    return CausalLMBackbone.from_config(config)


def prefer(backbone: CausalLMBackbone, modality: str) -> None:
    """Make the model want a modality at every place, whatever it reads."""
    index = [group.modality for group in backbone.signal_tokens.groups].index(modality)
    head = backbone._base.get_output_embeddings()
    with torch.no_grad():
        head.weight.zero_()
        backbone._base.model.norm.weight.zero_()  # hidden states and so all logits become 0; the bias-free head follows
        backbone.signal_tokens.output_rows.zero_()
    backbone.signal_tokens.logits = (
        lambda hidden: (  # type: ignore[method-assign]
            torch.nn.functional.one_hot(torch.tensor(index), len(backbone.signal_tokens.groups))
            .float()
            .expand(*hidden.shape[:2], -1)
        )
    )


@pytest.fixture
def image_lover(backbone: CausalLMBackbone) -> CausalLMBackbone:
    prefer(backbone, "image")
    return backbone
