"""The optimisation loop that every training run in this project goes through: adapters and pretraining alike.

A run is a function from a step number to losses. Step `i` draws all its randomness from `(seed, i)`, so a run that
was stopped and resumed sees the batches that it would have seen, and nothing but weights and optimiser moments has
to be saved. State is one safetensors file, replaced atomically.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anygpt.errors import ConfigError, TrainingError, UserError
from pipelines.training.state import load_state, save_state

STATE_FILE = "state.safetensors"
MAX_SEED = 2**32 - 1
MAX_RATE = 1e6
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class LoopOptions:
    """How long and how fast to train.

    `learning_rate` rises linearly for `warmup_steps` and falls to 0 along a cosine; gradients are cut at `clip_norm`.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    seed: int = 0
    log_every: int = 50
    save_every: int = 250

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)} given, expected at least 1")
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            if not 0 < value <= MAX_RATE:
                raise ConfigError(f"{name}: {value} given, expected a number above 0 and at most {MAX_RATE:g}")
        if not 0 <= self.weight_decay <= MAX_RATE:
            raise ConfigError(f"weight_decay: {self.weight_decay} given, expected 0 to {MAX_RATE:g}")
        if self.warmup_steps < 0:
            raise ConfigError(f"warmup_steps: {self.warmup_steps} given, expected at least 0")
        if not 0 <= self.seed <= MAX_SEED:
            raise ConfigError(f"seed: {self.seed} given, expected 0 to {MAX_SEED}")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step in [0, steps)."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


class Loop:
    """Trains `parameters` with AdamW; resumes from `state_dir` where it holds a state of the same run.

    Args:
        parameters: what trains, by name.
        options: how long and how fast.
        state_dir: for the state of a stopped run.
        inputs: what the run learns from, in words → its hash; a state of other inputs is refused.
        accept_changes: go on with changed inputs all the same.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        options: LoopOptions,
        state_dir: Path,
        *,
        inputs: Mapping[str, str] | None = None,
        accept_changes: bool = False,
    ) -> None:
        if not parameters:
            raise TrainingError("nothing to train: the objective selects no parameter")
        self.parameters = dict(parameters)
        self.options = options
        self.inputs = dict(inputs or {})
        self.accept_changes = accept_changes
        self.state_path = Path(state_dir) / STATE_FILE
        self.optimizer = torch.optim.AdamW(
            list(self.parameters.values()), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.step = 0
        self._stop_requested = False

    def run(
        self, losses_at: Callable[[int], dict[str, Tensor]], on_log: Callable[[dict[str, float]], None] | None = None
    ) -> bool:
        """Train until `options.steps`.

        Args:
            losses_at: step number → named scalar losses; their sum is minimised.
            on_log: called every `log_every` steps with step, means of the losses, rate and seconds a step.
        Returns:
            True when finished; False when stopped early by SIGINT or SIGTERM, with the state saved. A second signal
            ends the run at once, as it would have without this loop. In a thread, signals are left to the caller.
        Raises:
            TrainingError: if a loss is not finite, or the saved state is damaged or belongs to another run.
        """
        self.resume()
        self._stop_requested = False
        previous_handlers = self._catch_signals()
        try:
            self._run(losses_at, on_log)
        except UserError:
            self.save()  # a sample that cannot be used costs none of the steps before it
            raise
        finally:
            for signal_number, handler in previous_handlers.items():
                signal.signal(signal_number, handler)
        return self.step >= self.options.steps

    def finish(
        self, losses_at: Callable[[int], dict[str, Tensor]], on_log: Callable[[dict[str, float]], None] | None = None
    ) -> None:
        """Train until `options.steps`, as `run` does.

        Raises:
            KeyboardInterrupt: when stopped early, with the state saved.
            TrainingError: as `run`.
        """
        if not self.run(losses_at, on_log):
            raise KeyboardInterrupt(f"stopped at step {self.step} of {self.options.steps}")

    def _run(
        self, losses_at: Callable[[int], dict[str, Tensor]], on_log: Callable[[dict[str, float]], None] | None
    ) -> None:
        sums: dict[str, float] = {}
        counted, started = 0, time.perf_counter()
        while self.step < self.options.steps and not self._stop_requested:
            for name, value in self._train_step(losses_at).items():
                sums[name] = sums.get(name, 0.0) + value
            self.step, counted = self.step + 1, counted + 1
            if self.step % self.options.log_every == 0 or self.step == self.options.steps:
                if on_log:
                    means = {name: value / counted for name, value in sums.items()}
                    seconds = (time.perf_counter() - started) / counted
                    rate = self.options.rate_at(self.step - 1)
                    on_log({"step": self.step, **means, "rate": rate, "seconds_per_step": seconds})
                sums, counted, started = {}, 0, time.perf_counter()
            if self.step % self.options.save_every == 0:
                self.save()
        self.save()

    def _train_step(self, losses_at: Callable[[int], dict[str, Tensor]]) -> dict[str, float]:
        torch.manual_seed(self.options.seed * 1_000_003 + self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate_at(self.step)
        losses = losses_at(self.step)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {loss.item():g}" for name, loss in losses.items())
            raise TrainingError(f"loss is not finite at step {self.step} ({values}); lower the learning rate")
        if not total.requires_grad:
            raise TrainingError(
                f"step {self.step}: no loss depends on what is trained; give samples that hold the media in question, "
                "or a larger batch"
            )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(list(self.parameters.values()), self.options.clip_norm)
        if not torch.isfinite(norm):
            raise TrainingError(f"gradient is not finite at step {self.step}; lower the learning rate")
        self.optimizer.step()
        return {name: loss.item() for name, loss in losses.items()}

    def save(self) -> None:
        """Write weights, moments and the step to `state.safetensors`, atomically.

        Raises:
            TrainingError: if there is no room, or it must not be written.
        """
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            tensors[f"weight/{name}"] = parameter.detach()
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"{key}/{name}"] = value
        save_state(self.state_path, tensors, self._facts())

    def resume(self) -> None:
        """Take up the saved state, if there is one.

        Raises:
            TrainingError: if it is damaged, belongs to another run, or its inputs have changed.
        """
        if not self.state_path.exists():
            return
        tensors, facts = load_state(self.state_path)
        shapes = {key.removeprefix("weight/"): t.shape for key, t in tensors.items() if key.startswith("weight/")}
        if (
            shapes != {name: p.shape for name, p in self.parameters.items()}
            or facts["options"] != self._facts()["options"]
        ):
            raise TrainingError(
                f"{self.state_path} belongs to another run (other parameters or options); "
                "give the options it was started with, or another output folder"
            )
        self._check_inputs(json.loads(facts["inputs"]), int(facts["step"]))
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"weight/{name}"])
                moments = {key: tensors[f"{key}/{name}"] for key in _MOMENTS if f"{key}/{name}" in tensors}
                if moments:  # AdamW keeps its step counts on the CPU
                    moments |= {key: moments[key].to(parameter.device) for key in moments.keys() - {"step"}}
                    self.optimizer.state[parameter] = moments
        self.step = int(facts["step"])

    def _check_inputs(self, before: Mapping[str, str], step: int) -> None:
        """Refuse inputs that are not what they were, unless that is wanted."""
        changed = [name for name, value in self.inputs.items() if before.get(name) != value]
        if changed and not self.accept_changes:
            raise TrainingError(
                f"{self.state_path.parent}: {' and '.join(changed)} changed since the run was stopped at step {step}; "
                "put back what was there, give another folder, or go on with the change by --accept-changes"
            )

    def _facts(self) -> dict[str, str]:
        options = {key: value for key, value in asdict(self.options).items() if key not in ("log_every", "save_every")}
        inputs = json.dumps(self.inputs, sort_keys=True)
        return {"step": str(self.step), "options": repr(sorted(options.items())), "inputs": inputs}

    def _catch_signals(self) -> dict[int, Any]:
        def request_stop(signal_number: int, frame: object) -> None:
            print(f"stopping after step {self.step + 1}, the state will be saved", file=sys.stderr)
            self._stop_requested = True
            signal.signal(signal_number, previous[signal_number])

        if threading.current_thread() is not threading.main_thread():
            return {}
        # What was not installed from Python (None) could not be put back, so it is left alone.
        numbers = (signal.SIGINT, signal.SIGTERM)
        previous: dict[int, Any] = {n: handler for n in numbers if (handler := signal.getsignal(n)) is not None}
        for number in previous:
            signal.signal(number, request_stop)
        return previous


def print_log(values: dict[str, float]) -> None:
    """Write one line of progress to stderr."""
    shown = " ".join(f"{name} {value:.4g}" for name, value in values.items() if name != "step")
    print(f"step {int(values['step'])}: {shown}", file=sys.stderr, flush=True)
