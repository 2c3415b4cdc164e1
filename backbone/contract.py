"""What every backbone is: a language model that reads projected media and writes text and signal blocks.

Legend: B batch, T tokens, n signal tokens of a group, H LLM width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from anygpt.options import SamplingOptions
from backbone.layout import PromptMedia
from backbone.prompt import Prompt, PromptBuilder
from backbone.signal_tokens import SignalTokens
from backbone.steps import StepEvent

if TYPE_CHECKING:
    from typing_extensions import Self


class Backbone(nn.Module, ABC):
    """A language model with signal tokens and LoRA. Subclasses own a `Config` dataclass."""

    Config: ClassVar[type]
    prompts: PromptBuilder
    signal_tokens: SignalTokens

    @classmethod
    @abstractmethod
    def from_config(cls, config: Any, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load the frozen base by `config.pretrained`, strictly; signal tokens and LoRA start untrained."""

    @property
    @abstractmethod
    def hidden_size(self) -> int:
        """H."""

    @property
    @abstractmethod
    def max_context_tokens(self) -> int:
        """Longest prompt and reply together."""

    @abstractmethod
    def training_states(
        self,
        prompts: Sequence[Prompt],
        media: Sequence[PromptMedia],
        forbidden: Sequence[Collection[str]] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One teacher-forced pass.

        Args:
            prompts: built with `learn_replies=True`.
            media: per prompt, modality → projected media (M, H).
            forbidden: per prompt, the modalities whose signal tokens get no probability, as in `decode` when a request
                does not allow them.
        Returns:
            The cross-entropy of the replies' tokens (scalar, float32), and for every modality the states (N, n, H) of
            the replies' signal groups in reading order.
        """

    @abstractmethod
    def decode(
        self,
        prompts: Sequence[Prompt],
        media: Sequence[PromptMedia],
        options: Sequence[SamplingOptions],
        seeds: Sequence[int],
        should_stop: Callable[[int], bool] | None = None,
    ) -> Iterator[StepEvent]:
        """Write all replies in one batch; events of a row come in order, and its last is `RowDone`.

        Raises:
            RequestError: if a prompt is longer than the context.
        """

    def fold(self) -> None:
        """Make the passes that need no gradients faster where memory can buy that; what a pass computes stays the same.

        Asking for `trainable_parameters` and loading adapters undo it. Frozen weights and adapters never change.
        """

    @abstractmethod
    def trainable_parameters(self, *, signal_rows: bool, lora: bool) -> dict[str, nn.Parameter]:
        """The named parameters of the chosen parts."""

    @abstractmethod
    def save_adapters(self, folder: Any) -> None:
        """Write `signal_tokens.safetensors` and `lora/` into a folder."""

    @abstractmethod
    def load_adapters(self, folder: Any) -> None:
        """Read what `save_adapters` wrote, strictly.

        Raises:
            CheckpointError: if a file or tensor is missing, unexpected or of another shape.
        """
