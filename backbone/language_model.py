"""Loads a language model and its tokenizer, strictly, and puts LoRA into its layers."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from anygpt.checkpoints.constants import is_constant
from anygpt.checkpoints.diagnosis import TOKENIZERS, diagnose
from anygpt.checkpoints.locate import locate
from anygpt.checkpoints.quiet import quiet_libraries
from anygpt.checkpoints.reading_errors import reading
from anygpt.checkpoints.trust import check_checkpoint, remote_code_allowed
from anygpt.errors import CheckpointError, ConfigError

MAX_RANK = 65_536


@dataclass
class LoraOptions:
    """PEFT LoRA.

    Attributes:
        rank, alpha, dropout: of every LoRA.
        target_modules: the linear layers that get one; ["all-linear"] for all but the head.
        fold: answer as fast as without LoRA, for the memory of those layers once more; see `Backbone.fold`.
    """

    rank: int = 32
    alpha: int = 32
    dropout: float = 0.0
    target_modules: list[str] = field(default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj"])
    fold: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= MAX_RANK:
            raise ConfigError(f"rank: {self.rank} given, expected 1 to {MAX_RANK}; set backbone.lora=null for none")
        if self.alpha < 1:
            raise ConfigError(f"alpha: {self.alpha} given, expected at least 1")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout: {self.dropout} given, expected at least 0 and less than 1")
        if not self.target_modules:
            raise ConfigError("target_modules: none given, expected names of linear layers, or all-linear")


def load_language_model(pretrained: str, revision: str | None, dtype: torch.dtype) -> tuple[Any, Any]:
    """The model, on the CPU, and its tokenizer.

    Raises:
        CheckpointError: if they cannot be read, or the weights do not fit the model.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where, what = locate(pretrained), f"backbone.pretrained: '{pretrained}'"
    trusted = remote_code_allowed()
    with _reading(what, where, revision), quiet_libraries("transformers"):
        if os.path.isfile(where):
            raise ValueError("a file was given")
        check_checkpoint(what, where, revision=revision)
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision, trust_remote_code=trusted)
        model, info = AutoModelForCausalLM.from_pretrained(
            where, revision=revision, trust_remote_code=trusted, dtype=dtype, output_loading_info=True
        )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(key for key in map(str, info.get(problem) or ()) if not is_constant(key))
        if keys:
            raise CheckpointError(
                f"backbone.pretrained: '{pretrained}' does not fit its config: {problem.replace('_', ' ')} "
                f"{', '.join(keys[:3])}{' …' if len(keys) > 3 else ''}"
            )
    model.name_or_path = pretrained  # what PEFT writes into lora/, rather than a path of this machine
    return model, tokenizer


def _reading(what: str, source: str, revision: str | None) -> AbstractContextManager[None]:
    def explain(error: Exception) -> str | None:
        if "Unrecognized configuration class" in str(error):
            return "it is of a type that transformers has no causal language model for; give one that writes text"
        return diagnose(error, source, needed=[TOKENIZERS])

    advice = "expected a language model's folder or a hub name that can be reached"
    return reading(what, source, advice=advice, revision=revision, explain=explain)


def with_lora(language_model: Any, options: LoraOptions | None) -> nn.Module:
    """The model with untrained LoRA layers, which change nothing yet and are frozen until a trainer asks for them."""
    if options is None:
        return language_model
    from peft import LoraConfig, get_peft_model

    values = asdict(options)
    targets = values["target_modules"]
    config = LoraConfig(
        r=values["rank"],
        lora_alpha=values["alpha"],
        lora_dropout=values["dropout"],
        target_modules="all-linear" if targets == ["all-linear"] else targets,
        task_type="CAUSAL_LM",
    )
    try:
        model = get_peft_model(language_model, config)
    except ValueError as error:
        raise ConfigError(f"backbone.lora.target_modules: {str(error).splitlines()[0]}") from error
    return model.requires_grad_(False)
