from __future__ import annotations

import pytest
import torch

from anygpt.messages import Message
from anygpt.options import SamplingOptions
from backbone.causal_lm import CausalLMBackbone, CausalLMConfig
from backbone.folding import FOLDED, fold_lora
from backbone.language_model import LoraOptions


@pytest.fixture
def trained(backbone: CausalLMBackbone) -> CausalLMBackbone:
    with torch.no_grad():
        for parameter in backbone.trainable_parameters(signal_rows=False, lora=True).values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return backbone


def is_folded(backbone: CausalLMBackbone) -> bool:
    return any(FOLDED in name for name, _ in backbone.named_buffers())


def logits(backbone: CausalLMBackbone) -> torch.Tensor:
    ids = torch.arange(12)[None] + 20
    return backbone.step(backbone.embed(ids), torch.ones_like(ids).bool(), torch.arange(12)[None], None).logits


@torch.no_grad()
def test_fold_gives_the_same_logits_but_for_rounding(trained):
    before = logits(trained)
    trained.fold()
    assert is_folded(trained)
    torch.testing.assert_close(logits(trained), before, atol=1e-5, rtol=1e-5)
    with trained.language_model.disable_adapter():
        assert not torch.allclose(logits(trained), before, atol=1e-2)


def test_fold_changes_no_weight_and_adds_none(trained, tmp_path):
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    trained.fold()
    after = trained.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    trained.save_adapters(tmp_path)
    other = CausalLMBackbone.from_config(trained.config)
    other.load_adapters(tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


def test_fold_is_undone_exactly_before_training(trained):
    with torch.no_grad():
        before = logits(trained)
        trained.fold()
        chosen = trained.trainable_parameters(signal_rows=False, lora=True)
        assert not is_folded(trained)
        assert torch.equal(logits(trained), before)
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    logits(trained).square().mean().backward()
    assert all(parameter.grad is not None for parameter in chosen.values())


def test_fold_leaves_passes_with_gradients_as_they_are(trained):
    before = logits(trained)
    fold_lora(trained.language_model)
    assert torch.equal(logits(trained), before)


@torch.no_grad()
def test_fold_is_undone_by_loading_adapters(trained, tmp_path):
    trained.save_adapters(tmp_path)
    before = logits(trained)
    other = CausalLMBackbone.from_config(trained.config)
    other.fold()
    other.load_adapters(tmp_path)
    assert torch.equal(logits(other), before)
    other.fold()
    other.fold()
    torch.testing.assert_close(logits(other), before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lora", [None, LoraOptions(rank=2, fold=False)])
def test_fold_does_nothing_without_lora_or_where_the_config_says_no(random_parts, lora):
    config = CausalLMConfig(pretrained=str(random_parts / "language_model"), lora=lora)
    backbone = CausalLMBackbone.from_config(config)
    backbone.fold()
    assert not is_folded(backbone)
    assert list(
        backbone.decode(
            [backbone.prompts.build([Message("user", "Hello")])], [{}], [SamplingOptions(max_tokens=2)], [0]
        )
    )
