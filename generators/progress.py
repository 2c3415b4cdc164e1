"""Count the denoising steps of one `generate` call, report them, and stop when the caller asks."""

from __future__ import annotations

from typing import Any

from anygpt.errors import CancelledError
from generators.contract import OnStep, ShouldStop


class StepCounter:
    """Counts over all batches of a call. It is a diffusers `callback_on_step_end`; older pipelines call `after_step`.

    Args:
        steps: denoising steps of the whole call.
        on_step, should_stop: as in `Generator.generate`.
    """

    def __init__(self, steps: int, on_step: OnStep | None, should_stop: ShouldStop | None) -> None:
        self.step = 0
        self.steps = steps
        self._on_step = on_step
        self._should_stop = should_stop

    def check(self) -> None:
        """Raise CancelledError if the caller wants to stop."""
        if self._should_stop is not None and self._should_stop():
            raise CancelledError(f"generation cancelled by the caller after denoising step {self.step} of {self.steps}")

    def __call__(self, pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """One step is done; nothing in the pipeline is replaced."""
        self.after_step(index, timestep, None)
        return {}

    def after_step(self, index: int, timestep: Any, latents: Any) -> None:
        """One step is done: the `callback` that diffusers' older pipelines take."""
        self.step += 1
        if self._on_step is not None:
            self._on_step(self.step, self.steps)
        self.check()
