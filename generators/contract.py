"""What every generator is: a frozen diffusion model from conditioning to media values.

Legend: B batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from anygpt.errors import RequestError
from anygpt.options import GenerationOptions
from anygpt.tensors import Conditioning, ConditioningSpec

if TYPE_CHECKING:
    from typing_extensions import Self

OnStep = Callable[[int, int], None]
ShouldStop = Callable[[], bool]


class Generator(ABC):
    """A frozen generator of one output modality. Subclasses set `modality` and own a `Config` dataclass."""

    modality: ClassVar[str]
    Config: ClassVar[type]

    @classmethod
    @abstractmethod
    def from_config(cls, config: Any, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """Load weights by `config.pretrained` (a folder, a hub name or `embedded:…`), strictly.

        Raises:
            CheckpointError: if the weights are missing, damaged or do not fit.
        """

    @property
    @abstractmethod
    def conditioning_spec(self) -> ConditioningSpec:
        """Names and shapes (without B) of the tensors that condition the sampling."""

    @abstractmethod
    def encode_prompt(self, prompts: list[str]) -> Conditioning:
        """The frozen text encoder: what an output projector learns to imitate. Tensors are (B, *shape)."""

    @abstractmethod
    def denoising_loss(self, conditioning: Conditioning, media: list[Any]) -> Tensor:
        """Scalar noise-prediction loss of true media; gradients reach the conditioning, never a weight."""

    @abstractmethod
    def compatibility_key(self, options: GenerationOptions) -> tuple[Any, ...]:
        """Requests with equal keys may share one batch (same steps, guidance, sizes).

        Raises:
            RequestError: if the options ask for something that the model cannot make.
        """

    @abstractmethod
    def generate(
        self,
        conditioning: Conditioning,
        options: Sequence[GenerationOptions],
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[Any]:
        """Sample one medium per item.

        Args:
            conditioning: tensors (B, *shape) as `conditioning_spec` names them.
            options: B options; items are grouped by `compatibility_key`, results keep the given order.
            on_step: called after every denoising step with (step, steps), counted from 1 over all groups of the call,
                so that step = steps means that every item is done.
            should_stop: asked before the first and after every step; True abandons the whole call.
        Returns:
            B media values. An item that cannot be shown (a safety checker withheld it, the networks made NaN) is a
            `StageError` in its place, so that it costs only its own medium; check before use.
        Raises:
            RequestError: if shapes do not match the spec or an option is impossible.
            CancelledError: if `should_stop` said so.
        """

    @property
    @abstractmethod
    def modules(self) -> dict[str, torch.nn.Module]:
        """The frozen networks by name, for hashing, planning and moving."""

    def check_conditioning(self, conditioning: Conditioning, batch_size: int) -> None:
        """Raise RequestError unless names and shapes match the spec and every number is finite."""
        spec = self.conditioning_spec
        if conditioning.keys() != spec.keys():
            given = ", ".join(sorted(conditioning)) or "nothing"
            raise RequestError(f"conditioning: {given} given, expected {', '.join(sorted(spec))}")
        if batch_size < 1:
            raise RequestError("conditioning: no items given, expected at least one")
        for name, tensor in conditioning.items():
            expected = (batch_size, *spec[name].shape)
            if tuple(tensor.shape) != expected:
                raise RequestError(f"conditioning '{name}': shape {tuple(tensor.shape)} given, expected {expected}")
            if not torch.isfinite(tensor).all():
                raise RequestError(f"conditioning '{name}': NaN or infinity given, expected finite numbers")
