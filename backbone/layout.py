"""Lay prompts out as one padded batch of ids, media slots and labels.

Legend: B batch, T tokens, M prompt embeddings of one medium, N media embeddings in the batch, H LLM width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from backbone.prompt import MediaSegment, Prompt, Segment, SignalSegment

IGNORED = -100
MEDIA_SLOT = -1

# modality → one (M, H) tensor for every medium of the prompt, in order.
PromptMedia = Mapping[str, Sequence[Tensor]]


@dataclass(frozen=True)
class Layout:
    """A batch of prompts, padded on the left.

    Attributes:
        ids_BT: int64; base ids, signal ids, `MEDIA_SLOT` for media, 0 where padded.
        valid_BT: bool, True = a real token.
        labels_BT: int64; the id to learn at this place or `IGNORED`. Of a signal group only the first id is learned.
        media_NH: embeddings for the media slots, in reading order; None without media.
    """

    ids_BT: Tensor
    valid_BT: Tensor
    labels_BT: Tensor
    media_NH: Tensor | None

    @property
    def positions_BT(self) -> Tensor:
        """Position ids: 0 at each row's first real token."""
        return (self.valid_BT.long().cumsum(-1) - 1).clamp(min=0)


def lay_out(prompts: Sequence[Prompt], media: Sequence[PromptMedia]) -> Layout:
    """Pad prompts into one batch; `media[i]` holds the projected media of `prompts[i]`."""
    rows = [_row(prompt, row_media) for prompt, row_media in zip(prompts, media, strict=True)]
    length = max(len(ids) for ids, _, _ in rows)
    ids_BT = torch.zeros(len(rows), length, dtype=torch.long)
    labels_BT = torch.full((len(rows), length), IGNORED)
    valid_BT = torch.zeros(len(rows), length, dtype=torch.bool)
    for row, (ids, labels, _) in enumerate(rows):
        ids_BT[row, length - len(ids) :] = torch.tensor(ids)
        labels_BT[row, length - len(ids) :] = torch.tensor(labels)
        valid_BT[row, length - len(ids) :] = True
    embeddings = [embedding for _, _, row_embeddings in rows for embedding in row_embeddings]
    return Layout(ids_BT, valid_BT, labels_BT, torch.cat(embeddings) if embeddings else None)


def _row(prompt: Prompt, media: PromptMedia) -> tuple[list[int], list[int], list[Tensor]]:
    ids: list[int] = []
    labels: list[int] = []
    embeddings: list[Tensor] = []
    for segment in prompt.segments:
        if isinstance(segment, MediaSegment):
            embedding_MH = media[segment.modality][segment.index]
            embeddings.append(embedding_MH)
            ids += [MEDIA_SLOT] * len(embedding_MH)
            labels += [IGNORED] * len(embedding_MH)
        else:
            segment_ids, learned = _ids_and_learned(segment)
            ids += segment_ids
            labels += learned if segment.is_reply else [IGNORED] * len(segment_ids)
    return ids, labels, embeddings


def _ids_and_learned(segment: Segment) -> tuple[list[int], list[int]]:
    if isinstance(segment, SignalSegment):
        ids = list(segment.group.ids)
        return ids, [ids[0]] + [IGNORED] * (len(ids) - 1)
    assert not isinstance(segment, MediaSegment)
    return list(segment.ids), list(segment.ids)


def signal_blocks(prompts: Sequence[Prompt], layout: Layout, base_vocab_size: int) -> Iterator[tuple[int, str, Tensor]]:
    """Every learned signal group of a batch as (row, modality, its positions (n,) in the row), in reading order."""
    for row, prompt in enumerate(prompts):
        groups = [segment for segment in prompt.segments if isinstance(segment, SignalSegment)]
        positions = (layout.ids_BT[row] >= base_vocab_size).nonzero().squeeze(-1)
        start = 0
        for segment in groups:
            if segment.is_reply:
                yield row, segment.group.modality, positions[start : start + segment.group.size]
            start += segment.group.size
