"""Batched decoding with a KV cache, streaming, and signal blocks completed by construction.

Every step feeds each row its pending tokens: one text token, or a whole signal group as soon as the row has written the
group's first token. A group's tokens are known in advance, so they share a single forward pass; rows that feed fewer
tokens than the widest are padded on the left of the step, and the attention mask hides the padding for good.

Legend: B rows, T cached and new tokens, K tokens of a step, V base vocabulary, G signal groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from anygpt.errors import RequestError
from anygpt.options import SamplingOptions
from backbone.layout import PromptMedia, lay_out
from backbone.prompt import Prompt
from backbone.sampling import choose
from backbone.signal_tokens import SignalGroup, SignalTokens
from backbone.steps import RowDone, SignalBlock, StepEvent, TextPiece
from backbone.text_stream import TextStream


class StepwiseModel(Protocol):
    """What decoding needs of a backbone; `CausalLMBackbone` says what each means."""

    config: Any
    tokenizer: Any
    signal_tokens: SignalTokens

    @property
    def model_config(self) -> Any: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def base_vocab_size(self) -> int: ...
    @property
    def max_context_tokens(self) -> int: ...
    @property
    def end_ids(self) -> frozenset[int]: ...
    def embed(self, ids_BT: Tensor, media_NH: Tensor | None = None, *, plain: bool = False) -> Tensor: ...
    def step(
        self, embeds_BKH: Tensor, valid_BT: Tensor | None, positions_BK: Tensor, cache: Any, keep: int | None = None
    ) -> Any: ...


@dataclass
class Row:
    """One reply being written."""

    index: int
    options: SamplingOptions
    generator: torch.Generator
    stream: TextStream
    prompt_tokens: int
    max_tokens: int
    next_position: int
    text_tokens: int = 0
    signal_tokens: int = 0
    media: int = 0
    pending: tuple[int, ...] = ()
    produced: set[str] = field(default_factory=set)
    ending: str | None = None  # why the row ends once its pending signal block was fed


def decode_batch(
    backbone: StepwiseModel,
    prompts: Sequence[Prompt],
    media: Sequence[PromptMedia],
    options: Sequence[SamplingOptions],
    seeds: Sequence[int],
    should_stop: Callable[[int], bool],
) -> Iterator[StepEvent]:
    """See `Backbone.decode`."""
    from backbone.cache import decoding_cache  # transformers is imported with it

    layout = lay_out(prompts, media)
    lengths = layout.valid_BT.sum(-1).tolist()
    rows = [_start_row(backbone, *row) for row in zip(range(len(prompts)), lengths, options, seeds, strict=True)]
    device, end_ids = backbone.device, backbone.end_ids
    first_signal_id = backbone.signal_tokens.base_vocab_size
    valid_BT = None if layout.valid_BT.all() else layout.valid_BT  # nothing is padding: no mask is the fastest one
    cache, cached_tokens = decoding_cache(backbone.model_config), layout.ids_BT.shape[1]
    embeds_BTH = backbone.embed(layout.ids_BT, layout.media_NH)
    output = backbone.step(embeds_BTH, valid_BT, layout.positions_BT.to(device), cache, keep=1)
    forbidden_BG = _forbidden(backbone, rows)
    while True:
        for row, token in zip(rows, _choose(rows, output.logits[:, -1], forbidden_BG), strict=True):
            yield from _advance(backbone, row, token, end_ids, should_stop)
        going = [at for at, row in enumerate(rows) if row.pending]
        if not going:
            return
        dropped = len(going) < len(rows)
        if dropped:
            rows = [rows[at] for at in going]
            valid_BT = valid_BT[going] if valid_BT is not None else None
            cache.batch_select_indices(torch.tensor(going, device=device))
        signalling = [at for at, row in enumerate(rows) if row.pending[0] >= first_signal_id]
        if dropped or signalling:
            forbidden_BG = _forbidden(backbone, rows)
        valid_BT = _extended(valid_BT, rows, cached_tokens)
        ids_BK, positions_BK = _next_inputs(rows).to(device)
        cached_tokens += ids_BK.shape[1]
        embeds_BKH = backbone.embed(ids_BK, plain=not signalling)
        output = backbone.step(embeds_BKH, valid_BT, positions_BK, cache, keep=ids_BK.shape[1])
        for at in signalling:
            yield _signal_block(backbone, rows[at], output.hidden[at], embeds_BKH[at])


def _start_row(backbone: StepwiseModel, index: int, prompt_tokens: int, options: SamplingOptions, seed: int) -> Row:
    room = backbone.max_context_tokens - prompt_tokens
    if room < 1:
        raise RequestError(
            f"conversation: {prompt_tokens} tokens given, the context holds {backbone.max_context_tokens}; shorten it"
        )
    generator = torch.Generator().manual_seed(seed)
    stream = TextStream(backbone.tokenizer, options.stop)
    max_tokens = min(options.max_tokens or backbone.config.max_tokens, room)
    return Row(index, options, generator, stream, prompt_tokens, max_tokens, next_position=prompt_tokens)


def _forbidden(backbone: StepwiseModel, rows: Sequence[Row]) -> Tensor | None:
    """Which groups (B, G) a row may not write; None where every row may write all."""
    forbidden_BG = [
        [
            row.media >= backbone.config.max_media or not row.options.allows(group.modality)
            for group in backbone.signal_tokens.groups
        ]
        for row in rows
    ]
    return torch.tensor(forbidden_BG, device=backbone.device) if any(map(any, forbidden_BG)) else None


def _choose(rows: Sequence[Row], logits_BV: Tensor, forbidden_BG: Tensor | None) -> list[int]:
    """Every row's next token, were it to write one. Overwrites the logits of forbidden groups, the last columns."""
    if forbidden_BG is not None:
        logits_BV[:, -forbidden_BG.shape[1] :].masked_fill_(forbidden_BG, -torch.inf)
    likeliest_B = logits_BV.argmax(-1).tolist()  # one look at the device, not one a row
    return [
        choose(logits_BV[at], row.options, row.generator) if row.options.temperature else likeliest_B[at]
        for at, row in enumerate(rows)
    ]


def _advance(
    backbone: StepwiseModel, row: Row, token: int, end_ids: frozenset[int], should_stop: Callable[[int], bool]
) -> Iterator[StepEvent]:
    """Take the row's next token; afterwards `row.pending` holds what to feed, or nothing when the row is done."""
    row.pending = ()
    if should_stop(row.index):
        yield from _finish(row, "cancelled")
        return
    if row.ending:
        yield from _finish(row, row.ending)
        return
    forced = _missing_group(backbone, row)
    if forced and row.text_tokens >= row.max_tokens:
        yield from _begin_signal(row, forced, ending="length")
    elif token >= backbone.base_vocab_size:
        yield from _begin_signal(row, backbone.signal_tokens.groups[token - backbone.base_vocab_size])
    elif token in end_ids:
        if forced is None:
            yield from _finish(row, "stop")
        else:
            yield from _begin_signal(row, forced)
    else:
        yield from _write(row, token, forced)


def _missing_group(backbone: StepwiseModel, row: Row) -> SignalGroup | None:
    """The group that was asked for and is not in the reply yet."""
    forced = row.options.forced_modality
    return backbone.signal_tokens.group(forced) if forced and forced not in row.produced else None


def _write(row: Row, token: int, forced: SignalGroup | None) -> Iterator[StepEvent]:
    row.text_tokens += 1
    text = row.stream.add(token)
    if text:
        yield TextPiece(row.index, text)
    if row.stream.stopped and forced:
        yield from _begin_signal(row, forced, ending="stop")
    elif row.stream.stopped:
        yield from _finish(row, "stop")
    elif row.text_tokens >= row.max_tokens and not forced:
        yield from _finish(row, "length")
    else:
        row.pending = (token,)


def _begin_signal(row: Row, group: SignalGroup, ending: str | None = None) -> Iterator[StepEvent]:
    rest = row.stream.flush()
    if rest:
        yield TextPiece(row.index, rest)
    row.stream = TextStream(row.stream.tokenizer, row.stream.stop)
    row.media += 1
    row.signal_tokens += group.size
    row.produced.add(group.modality)
    row.pending, row.ending = group.ids, ending


def _finish(row: Row, reason: str) -> Iterator[StepEvent]:
    rest = row.stream.flush()
    if rest:
        yield TextPiece(row.index, rest)
    yield RowDone(row.index, reason, row.prompt_tokens, row.text_tokens + row.signal_tokens)


def _extended(valid_BT: Tensor | None, rows: Sequence[Row], cached_tokens: int) -> Tensor | None:
    """Validity over the cached and the pending tokens; None where still nothing is padding."""
    counts = [len(row.pending) for row in rows]
    width = max(counts)
    if valid_BT is None:
        if min(counts) == width:
            return None
        valid_BT = torch.ones(len(rows), cached_tokens, dtype=torch.bool)
    fed_BK = torch.tensor([[False] * (width - count) + [True] * count for count in counts])
    return torch.cat([valid_BT, fed_BK], dim=-1)


def _next_inputs(rows: Sequence[Row]) -> Tensor:
    """Ids and positions (2, B, K) of the pending tokens, padded on the left; one tensor, so one copy to the device."""
    width = max(len(row.pending) for row in rows)
    ids, positions = [], []
    for row in rows:
        count = len(row.pending)
        padding = [0] * (width - count)
        ids.append([*padding, *row.pending])
        positions.append([*padding, *range(row.next_position, row.next_position + count)])
        row.next_position += count
    return torch.tensor([ids, positions])


def _signal_block(backbone: StepwiseModel, row: Row, hidden_KH: Tensor, embeds_KH: Tensor) -> SignalBlock:
    count = len(row.pending)
    group = next(group for group in backbone.signal_tokens.groups if group.first_id == row.pending[0])
    states_nH = hidden_KH[-count:].float() + embeds_KH[-count:].float()
    return SignalBlock(row.index, group.modality, states_nH)
