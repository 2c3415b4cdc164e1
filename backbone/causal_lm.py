"""Any transformers causal language model as the backbone.

Legend: B batch, T tokens, K tokens of one step, n signal tokens, H LLM width, V base vocabulary, G signal groups.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from anygpt.errors import ConfigError
from anygpt.options import SamplingOptions
from backbone.adapters import load_lora, load_signal_tokens, save_lora, save_signal_tokens
from backbone.contract import Backbone
from backbone.decoding import decode_batch
from backbone.folding import fold_lora, unfold_lora
from backbone.language_model import LoraOptions, load_language_model, with_lora
from backbone.layout import IGNORED, PromptMedia, lay_out, signal_blocks
from backbone.prompt import Prompt, PromptBuilder
from backbone.signal_tokens import SignalTokens
from backbone.steps import StepEvent

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass
class CausalLMConfig:
    """Options of `CausalLMBackbone`.

    Attributes:
        pretrained: folder, hub name or `embedded:…` of the base model and its tokenizer.
        signal_tokens: modality → size of its group.
        media_wrap: text around a user's medium; holds {media}, may hold {modality}.
        plain_text: give the model what users write without line breaks, tabs, curly quotes and emoji; for models that
            know none of them.
        chat_template: a Jinja template in place of the tokenizer's own.
        lora: None leaves LoRA out.
        max_context_tokens: longest prompt and reply together; None takes the model's own limit.
        max_tokens: default length of a reply's text.
        max_media: most media in one reply.
    """

    name: str = "causal_lm"
    pretrained: str = "???"
    revision: str | None = None
    signal_tokens: dict[str, int] = field(default_factory=dict)
    media_wrap: str = "[{modality}:{media}]"
    plain_text: bool = False
    chat_template: str | None = None
    lora: LoraOptions | None = field(default_factory=LoraOptions)
    max_context_tokens: int | None = None
    max_tokens: int = 512
    max_media: int = 4

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_media", "max_context_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}: {value} given, expected at least 1")


@dataclass(frozen=True)
class StepOutput:
    """What one forward pass gives: float32 logits (B, K, V+G) and last hidden states (B, K, H)."""

    logits: Tensor
    hidden: Tensor


class CausalLMBackbone(Backbone):
    """A frozen causal LM with signal tokens beside its vocabulary and LoRA inside its layers."""

    Config = CausalLMConfig

    def __init__(self, config: CausalLMConfig, language_model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        if config.chat_template:
            tokenizer.chat_template = config.chat_template
        language_model.requires_grad_(False)
        embedding = language_model.get_input_embeddings()
        self.base_vocab_size = language_model.get_output_embeddings().weight.shape[0]
        self.signal_tokens = SignalTokens(
            config.signal_tokens,
            max(self.base_vocab_size, embedding.num_embeddings),
            embedding.embedding_dim,
            float(embedding.weight.float().std()) if embedding.weight.device.type != "meta" else 0.02,
        ).to(embedding.weight.device)
        self.prompts = PromptBuilder(
            tokenizer, self.signal_tokens.groups, config.media_wrap, plain_text=config.plain_text
        )
        self.language_model = with_lora(language_model, config.lora)
        forward = inspect.signature(language_model.forward).parameters
        self._keeps_logits = "logits_to_keep" in forward
        self.eval()

    @classmethod
    def from_config(cls, config: CausalLMConfig, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load the base model and its tokenizer; see `Backbone.from_config`."""
        model, tokenizer = load_language_model(config.pretrained, config.revision, dtype)
        return cls(config, model.to(device), tokenizer)

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.signal_tokens.input_rows.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the embeddings are."""
        return self.signal_tokens.input_rows.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the language model's embeddings."""
        return self._embedding.weight.dtype

    @property
    def model_config(self) -> Any:
        """The language model's own config."""
        return self._base.config

    @property
    def max_context_tokens(self) -> int:
        """See `Backbone.max_context_tokens`."""
        limit = getattr(self._base.config, "max_position_embeddings", None) or 4096
        return min(self.config.max_context_tokens or limit, limit)

    @property
    def end_ids(self) -> frozenset[int]:
        """Token ids that end a reply."""
        configured = self._base.generation_config.eos_token_id if self._base.generation_config else None
        ids = configured if isinstance(configured, list) else [configured, self.tokenizer.eos_token_id]
        return frozenset(token_id for token_id in ids if token_id is not None)

    @cached_property
    def _base(self) -> Any:
        """The language model without PEFT's wrapper; the LoRA is inside its layers."""
        peft_base = getattr(self.language_model, "get_base_model", None)
        return peft_base() if peft_base else self.language_model

    @cached_property
    def _embedding(self) -> Any:
        return self._base.get_input_embeddings()

    @cached_property
    def _head(self) -> Any:
        return self._base.get_output_embeddings()

    def embed(self, ids_BT: Tensor, media_NH: Tensor | None = None, *, plain: bool = False) -> Tensor:
        """Input embeddings (B, T, H) of base ids, signal ids and, where an id is negative, media in reading order.

        Args:
            ids_BT: int64, on any device.
            media_NH: one row for every negative id.
            plain: True where all ids are known to be of the base vocabulary, which saves the look at them.
        """
        ids_BT = ids_BT.to(self.device)
        if plain:
            return self._embedding(ids_BT)
        is_signal_BT = ids_BT >= self.signal_tokens.base_vocab_size
        is_media_BT = ids_BT < 0
        embeds_BTH = self._embedding(ids_BT.masked_fill(is_signal_BT | is_media_BT, 0))
        rows_NH = self.signal_tokens.embed(ids_BT[is_signal_BT]).to(embeds_BTH.dtype)
        embeds_BTH = embeds_BTH.index_put((is_signal_BT,), rows_NH)
        if media_NH is not None:
            embeds_BTH = embeds_BTH.index_put((is_media_BT,), media_NH.to(embeds_BTH))
        return embeds_BTH

    def step(
        self, embeds_BKH: Tensor, valid_BT: Tensor | None, positions_BK: Tensor, cache: Any, keep: int | None = None
    ) -> StepOutput:
        """One forward pass over K new tokens.

        Args:
            embeds_BKH: embeddings of the new tokens.
            valid_BT: (B, T) bool over the cached and the new tokens, on any device; None, with a cache, where nothing
                is padding.
            positions_BK: position ids of the new tokens.
            cache: a transformers cache, or None for a pass on its own.
            keep: compute logits and hidden states for the last `keep` tokens only; None for all.
        """
        captured: list[Tensor] = []
        # The head's input is the last hidden state in every architecture, also where its output is scaled or capped.
        handle = self._head.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
        options = {"logits_to_keep": keep} if keep is not None and self._keeps_logits else {}
        try:
            outputs = self._base(  # PEFT's wrapper would add nothing but time
                inputs_embeds=embeds_BKH,
                attention_mask=None if valid_BT is None else valid_BT.to(self.device, torch.long),
                position_ids=positions_BK,
                past_key_values=cache,
                use_cache=cache is not None,
                **options,
            )
        finally:
            handle.remove()
        start = 0 if keep is None else -keep
        hidden, logits = captured[0][:, start:], outputs.logits[:, start:].float()
        return StepOutput(torch.cat([logits, self.signal_tokens.logits(hidden)], dim=-1), hidden)

    def training_states(
        self,
        prompts: Sequence[Prompt],
        media: Sequence[PromptMedia],
        forbidden: Sequence[Collection[str]] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Backbone.training_states`."""
        layout = lay_out(prompts, media)
        embeds_BTH = self.embed(layout.ids_BT, layout.media_NH)
        output = self.step(embeds_BTH, layout.valid_BT, layout.positions_BT.to(self.device), None)
        logits_BTV = output.logits[:, :-1]
        if forbidden is not None and any(forbidden):
            logits_BTV = logits_BTV.masked_fill(self._forbidden_columns(forbidden)[:, None], -torch.inf)
        targets_BT = self._columns(layout.labels_BT).to(self.device)[:, 1:]
        loss = nn.functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), ignore_index=IGNORED)
        states: dict[str, list[Tensor]] = {}
        for row, modality, positions in signal_blocks(prompts, layout, self.signal_tokens.base_vocab_size):
            summed_nH = output.hidden[row, positions].float() + embeds_BTH[row, positions].float()
            states.setdefault(modality, []).append(summed_nH)
        return loss, {modality: torch.stack(blocks) for modality, blocks in states.items()}

    def _columns(self, labels: Tensor) -> Tensor:
        """Labels as columns of the logits: a group's first id becomes V + its group's index."""
        columns = labels.clone()
        for index, group in enumerate(self.signal_tokens.groups):
            columns[labels == group.first_id] = self.base_vocab_size + index
        return columns

    def _forbidden_columns(self, forbidden: Sequence[Collection[str]]) -> Tensor:
        """Which columns of the logits (B, V + groups) are forbidden."""
        groups = self.signal_tokens.groups
        words = [False] * self.base_vocab_size
        rows = [words + [group.modality in modalities for group in groups] for modalities in forbidden]
        return torch.tensor(rows, device=self.device)

    @torch.inference_mode()
    def decode(
        self,
        prompts: Sequence[Prompt],
        media: Sequence[PromptMedia],
        options: Sequence[SamplingOptions],
        seeds: Sequence[int],
        should_stop: Callable[[int], bool] | None = None,
    ) -> Iterator[StepEvent]:
        """See `Backbone.decode`."""
        yield from decode_batch(self, prompts, media, options, seeds, should_stop or (lambda row: False))

    def fold(self) -> None:
        """See `Backbone.fold`; the LoRA is folded into copies of its layers' weights, as the config allows."""
        if self.config.lora and self.config.lora.fold:
            fold_lora(self._base)

    def trainable_parameters(self, *, signal_rows: bool, lora: bool) -> dict[str, nn.Parameter]:
        """See `Backbone.trainable_parameters`; LoRA names are the language model's own."""
        unfold_lora(self._base)
        chosen: dict[str, nn.Parameter] = {}
        if signal_rows:
            chosen |= {f"signal_tokens.{name}": value for name, value in self.signal_tokens.named_parameters()}
        if lora:
            named = self.language_model.named_parameters()
            chosen |= {f"language_model.{name}": value for name, value in named if "lora_" in name}
        return chosen

    def save_adapters(self, folder: Path) -> None:
        """See `Backbone.save_adapters`."""
        save_signal_tokens(self.signal_tokens, Path(folder))
        if self.config.lora:
            save_lora(self.language_model, Path(folder))

    def load_adapters(self, folder: Path) -> None:
        """See `Backbone.load_adapters`."""
        unfold_lora(self._base)
        load_signal_tokens(self.signal_tokens, Path(folder))
        if self.config.lora:
            load_lora(self.language_model, Path(folder))
