"""What a backbone reports while it writes; importable without torch.

Legend: n signal tokens of a group, H LLM width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TextPiece:
    """Row `row` wrote `text`."""

    row: int
    text: str


@dataclass(frozen=True)
class SignalBlock:
    """Row `row` asked for a medium.

    Attributes:
        states_nH: the group's last hidden states plus its input embeddings, (n, H).
    """

    row: int
    modality: str
    states_nH: Tensor


@dataclass(frozen=True)
class RowDone:
    """Row `row` is finished: "stop", "length" or "cancelled", with its token counts."""

    row: int
    reason: str
    prompt_tokens: int
    completion_tokens: int


StepEvent = TextPiece | SignalBlock | RowDone
