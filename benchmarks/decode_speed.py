"""Our decoding beside transformers' own `generate`, on the very same language model.

Both run in inference mode on the model as it answers requests (see `Backbone.fold`), greedily, from the same prompt to
the same number of new tokens; neither may end early. Reading the prompt counts in.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest.mock import patch

import torch

from anygpt.messages import Message
from anygpt.options import SamplingOptions
from backbone.steps import RowDone
from benchmarks.figure import Figure
from benchmarks.setup import DRAW, Setup
from benchmarks.timing import medians_in_turns

BATCH_SIZES = (1, 8)


def measure(setup: Setup) -> list[Figure]:
    """Tokens per second of both, and their ratio, alone and in a batch."""
    figures = []
    for batch_size in BATCH_SIZES:
        ours, theirs = _tokens_per_s(setup, batch_size)
        where = f"batch {batch_size}"
        work = f"{setup.new_tokens} new tokens a row, {where}, prompt included, greedy, no end token"
        figures += [
            Figure(f"decoding, {where}", ours, "tokens/s", f"Backbone.decode: {work}, median of {setup.repeats}"),
            Figure(f"transformers' generate, {where}", theirs, "tokens/s", f"the same model's generate(): {work}"),
            Figure(
                f"decoding beside generate, {where}",
                ours / theirs,
                "x",
                "tokens/s of the one over tokens/s of the other, measured in turns",
                at_least=1.0,
            ),
        ]
    return figures


def _tokens_per_s(setup: Setup, batch_size: int) -> tuple[float, float]:
    backbone = setup.stack.backbone.backbone
    # Without an end token both have to write on to the last.
    with (
        patch.object(type(backbone), "end_ids", frozenset()),
        patch.object(backbone.language_model.generation_config, "eos_token_id", None),
    ):
        works = {
            "ours": partial(_decode, backbone, batch_size, setup.new_tokens),
            "theirs": partial(_generate, backbone, batch_size, setup.new_tokens),
        }
        taken = medians_in_turns(works, setup.repeats)
    tokens = batch_size * setup.new_tokens
    return tokens / taken["ours"], tokens / taken["theirs"]


def _decode(backbone: Any, batch_size: int, new_tokens: int) -> None:
    prompt = backbone.prompts.build([Message("user", DRAW)])
    options = SamplingOptions(max_tokens=new_tokens, modalities=("text",))
    events = backbone.decode([prompt] * batch_size, [{}] * batch_size, [options] * batch_size, [0] * batch_size)
    written = sum(event.completion_tokens for event in events if isinstance(event, RowDone))
    _check(written, batch_size * new_tokens)


@torch.inference_mode()
def _generate(backbone: Any, batch_size: int, new_tokens: int) -> None:
    prompt = backbone.prompts.build([Message("user", DRAW)])
    ids = [token_id for segment in prompt.segments for token_id in segment.ids]
    ids_BT = torch.tensor([ids] * batch_size, device=backbone.device)
    written_BT = backbone.language_model.generate(
        input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), max_new_tokens=new_tokens, do_sample=False
    )
    _check(written_BT[:, len(ids) :].numel(), batch_size * new_tokens)


def _check(written: int, expected: int) -> None:
    if written != expected:
        raise RuntimeError(f"{written} tokens were written, expected {expected}; the comparison would not be fair")
