"""Prompts through a frozen CLIP text encoder, as Stable Diffusion and Zeroscope are conditioned on them.

Legend: B batch, T text tokens, D text width.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import torch

from anygpt.errors import CheckpointError, RequestError
from anygpt.tensors import Conditioning, ConditioningSpec, TensorSpec

CLIP_TOKENIZER_FILES = ("tokenizer.json", "vocab.json+merges.txt")  # alternatives


class ClipPrompts:
    """Texts → hidden states. Safe to call from several threads at once.

    Args:
        tokenizer: a `CLIPTokenizer`.
        text_encoder: a `CLIPTextModel`.
    """

    def __init__(self, tokenizer: Any, text_encoder: Any) -> None:
        self._tokenizer = tokenizer
        self._text_encoder = text_encoder
        self._lock = Lock()  # fast tokenizers keep padding and truncation as state

    @property
    def spec(self) -> ConditioningSpec:
        """`prompt_embeds` (T, D): as many tokens as the tokenizer pads to, as wide as the text encoder."""
        return {"prompt_embeds": TensorSpec((self._tokenizer.model_max_length, self._text_encoder.config.hidden_size))}

    @torch.no_grad()
    def encode(self, prompts: list[str]) -> Conditioning:
        """The last hidden states.

        Args:
            prompts: B texts; empty is allowed, what is beyond T tokens is cut off.
        Returns:
            `prompt_embeds` (B, T, D) in the text encoder's dtype.
        Raises:
            RequestError: if there are no prompts.
        Source: diffusers' `StableDiffusionPipeline.encode_prompt`, which would tokenize twice and log what it cuts off.
        """
        if not prompts:
            raise RequestError("prompts: none given, expected at least one")
        with self._lock:
            texts = self._tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").to(
                self._text_encoder.device
            )
        # CLIP attends to its padding, save in checkpoints that say otherwise
        attends = getattr(self._text_encoder.config, "use_attention_mask", False)
        mask_BT = texts.attention_mask if attends else None
        return {"prompt_embeds": self._text_encoder(texts.input_ids, attention_mask=mask_BT).last_hidden_state}


def check_clip_parts(parts: dict[str, Any], where: str) -> None:
    """Raise CheckpointError, naming both sides, if denoiser, text encoder and tokenizer do not fit each other."""
    unet, text, tokenizer = parts["unet"].config, parts["text_encoder"].config, parts["tokenizer"]
    if unet.cross_attention_dim != text.hidden_size:
        raise CheckpointError(
            f"{where}: unet.cross_attention_dim is {unet.cross_attention_dim}, "
            f"expected text_encoder.hidden_size {text.hidden_size}"
        )
    if len(tokenizer) > text.vocab_size:
        raise CheckpointError(
            f"{where}: tokenizer has {len(tokenizer)} tokens, "
            f"expected at most text_encoder.vocab_size {text.vocab_size}"
        )
    if tokenizer.model_max_length > text.max_position_embeddings:
        raise CheckpointError(
            f"{where}: tokenizer.model_max_length is {tokenizer.model_max_length}, expected at most "
            f"text_encoder.max_position_embeddings {text.max_position_embeddings}"
        )
