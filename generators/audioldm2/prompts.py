"""Prompts through AudioLDM-2's frozen text encoders: CLAP and T5 → GPT-2, which goes on in hidden states.

diffusers' own `encode_prompt` needs methods that GPT-2 lost in transformers 5, and pads a prompt to its neighbours'
length, which moves GPT-2's positions. Here every prompt is encoded as diffusers would encode it alone.

Legend: B batch, L tokens of the longest prompt, T prompt tokens, D T5 width, G generated tokens, H GPT-2 width,
P CLAP width.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import torch
from torch import Tensor

from anygpt.errors import ConfigError, RequestError
from anygpt.tensors import Conditioning, ConditioningSpec, TensorSpec

MARKS = 5  # CLAP's one token, and a start and an end around it and around T5's


class AudioLDM2Prompts:
    """Texts → conditioning. Safe to call from several threads at once.

    Args:
        pipeline: the loaded checkpoint.
        prompt_tokens: T, most T5 tokens of a prompt.
        generated_tokens: G, hidden states that GPT-2 generates.
    Raises:
        ConfigError: if GPT-2 or CLAP has too few positions for them.
    """

    def __init__(self, pipeline: Any, prompt_tokens: int, generated_tokens: int) -> None:
        self._pipeline = pipeline
        self._prompt_tokens = prompt_tokens
        self._generated_tokens = generated_tokens
        self._lock = Lock()  # fast tokenizers keep padding and truncation as state
        positions = pipeline.language_model.config.n_positions
        if MARKS + prompt_tokens + generated_tokens > positions:
            raise ConfigError(
                f"prompt_tokens={prompt_tokens}, generated_tokens={generated_tokens} given, expected at most "
                f"{positions - MARKS} together; the checkpoint's language model has {positions} positions"
            )
        clap = pipeline.text_encoder.config.text_config
        # RoBERTa counts positions from the one after its padding's
        self._clap_tokens = min(
            pipeline.tokenizer.model_max_length, clap.max_position_embeddings - clap.pad_token_id - 1
        )

    @property
    def spec(self) -> ConditioningSpec:
        """`prompt_embeds` (T, D), `attention_mask` (T,) and `generated_prompt_embeds` (G, H)."""
        pipeline = self._pipeline
        return {
            "prompt_embeds": TensorSpec((self._prompt_tokens, pipeline.text_encoder_2.config.d_model)),
            "generated_prompt_embeds": TensorSpec((self._generated_tokens, pipeline.language_model.config.n_embd)),
            "attention_mask": TensorSpec((self._prompt_tokens,), is_mask=True),
        }

    @torch.no_grad()
    def encode(self, prompts: list[str]) -> Conditioning:
        """Conditioning as the spec says; where the mask is 0, a prompt's own tokens are repeated.

        An output projector's masks are all ones. Attention to whole repetitions of some tokens is attention to the
        tokens, so what a projector learns from here means about the same with its masks.

        Args:
            prompts: B texts; empty is allowed, what is beyond T tokens is cut off.
        Raises:
            RequestError: if there are no prompts.
        Source: diffusers' `AudioLDM2Pipeline.encode_prompt`.
        """
        if not prompts:
            raise RequestError("prompts: none given, expected at least one")
        clap_B1P = self._clap(prompts)
        t5_BLD, mask_BL = self._t5(prompts)
        projected = self._pipeline.projection_model(
            hidden_states=clap_B1P,
            hidden_states_1=t5_BLD,
            attention_mask=mask_BL.new_ones(len(prompts), 1),
            attention_mask_1=mask_BL,
        )
        generated_BGH = generate_states(
            self._pipeline.language_model.base_model,
            projected.hidden_states,
            projected.attention_mask,
            self._generated_tokens,
        )
        lengths_B1 = mask_BL.sum(1, keepdim=True)
        places_T = torch.arange(self._prompt_tokens, device=mask_BL.device)
        sources_BTD = (places_T % lengths_B1)[..., None].expand(-1, -1, t5_BLD.shape[-1])
        return {
            "prompt_embeds": t5_BLD.gather(1, sources_BTD),
            "generated_prompt_embeds": generated_BGH,
            "attention_mask": (places_T < lengths_B1).long(),
        }

    def _clap(self, prompts: list[str]) -> Tensor:
        texts = self._tokenize(self._pipeline.tokenizer, prompts, self._clap_tokens)
        features = self._pipeline.text_encoder.get_text_features(texts.input_ids, attention_mask=texts.attention_mask)
        return features.pooler_output[:, None]

    def _t5(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        texts = self._tokenize(self._pipeline.tokenizer_2, prompts, self._prompt_tokens)
        states = self._pipeline.text_encoder_2(texts.input_ids, attention_mask=texts.attention_mask)
        return states.last_hidden_state, texts.attention_mask

    def _tokenize(self, tokenizer: Any, prompts: list[str], max_length: int) -> Any:
        with self._lock:
            texts = tokenizer(prompts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        return texts.to(self._pipeline.text_encoder.device)


def generate_states(language_model: Any, embeds_BLH: Tensor, mask_BL: Tensor, count: int) -> Tensor:
    """Feed a GPT-2 its own last hidden state `count` times.

    Args:
        language_model: a `GPT2Model`.
        embeds_BLH: (B, L, H) input embeddings; the last of each item must be a real one.
        mask_BL: (B, L), 1 = real. Masked places take no position, so that an item comes out as it would without them.
        count: G, hidden states to make.
    Returns:
        (B, G, H).
    Source: diffusers' `AudioLDM2Pipeline.generate_language_model`.
    """
    inputs_BLH, positions_BL, cache, states = embeds_BLH, (mask_BL.cumsum(1) - 1).clamp(min=0), None, []
    for _ in range(count):
        output = language_model(
            inputs_embeds=inputs_BLH,
            attention_mask=mask_BL,
            position_ids=positions_BL,
            past_key_values=cache,
            use_cache=True,
        )
        inputs_BLH, cache = output.last_hidden_state[:, -1:], output.past_key_values
        states.append(inputs_BLH)
        positions_BL = positions_BL[:, -1:] + 1
        mask_BL = torch.cat([mask_BL, torch.ones_like(positions_BL)], 1)
    return torch.cat(states, 1)
