"""Train a stack's adapters: one trainer for all objectives.

The output folder is an adapter bundle; `training_state/` inside it lets a stopped run go on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from anygpt.config.files import read_values
from anygpt.config.loading import load_stack_config, save_config
from anygpt.config.resolve import resolve
from anygpt.config.schema import StackConfig
from anygpt.errors import ConfigError, TrainingError
from pipelines.stack.build import Stack, build_stack
from pipelines.stack.bundle import bundle_folder, save_bundle
from pipelines.training.inputs import adapters_fingerprint, values_fingerprint, weights_fingerprint
from pipelines.training.loop import STATE_FILE, Loop, LoopOptions, print_log
from pipelines.training.objectives import OBJECTIVES, LossWeights, training_losses
from pipelines.training.samples import SampleSource, open_source

STATE_FOLDER = "training_state"
CONFIG_FILE = "training.yaml"
LOCK_FILE = "lock"
MAX_BATCH_SIZE = 65_536
_PARTS = ("encoders", "projectors", "backbone", "generators")  # of a stack: what decides what is learned


@dataclass
class TrainingConfig:
    """A training run.

    Attributes:
        objective: "align-input", "align-output" or "instruct".
        stack: name or file of the stack's config.
        stack_overrides: `key.path=value` strings for it.
        adapters: bundle to start from, in place of the stack's own; None starts untrained.
        untrained_inputs: modalities whose input projector is not taken from that bundle: to add one to a trained
            stack, or to train one for another encoder.
        data: a registered source ("world"), or a JSON lines file.
        batch_size: conversations a step.
        precision: "bf16" runs matrix products in bfloat16.
        loop: steps, rates, seed.
        loss: weights of the losses.
    """

    objective: str = "???"
    stack: str = "tiny"
    stack_overrides: list[str] = field(default_factory=list)
    adapters: str | None = None
    untrained_inputs: list[str] = field(default_factory=list)
    data: str = "world"
    batch_size: int = 32
    precision: Literal["bf16", "fp32"] = "bf16"
    loop: LoopOptions = field(default_factory=lambda: LoopOptions(steps=1000))
    loss: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ConfigError(f"objective: '{self.objective}' given, expected one of {', '.join(OBJECTIVES)}")
        if not 1 <= self.batch_size <= MAX_BATCH_SIZE:
            raise ConfigError(f"batch_size: {self.batch_size} given, expected 1 to {MAX_BATCH_SIZE}")


@dataclass(frozen=True)
class TrainableTable:
    """How many parameters train."""

    trainable: dict[str, int]
    total: int

    def __str__(self) -> str:
        rows = [f"  {part:<20} {count:>12,}  {count / self.total:7.2%}" for part, count in self.trainable.items()]
        count = sum(self.trainable.values())
        return "\n".join([*rows, f"  {'trainable':<20} {count:>12,}  {count / self.total:7.2%} of {self.total:,}"])


def load_training_config(name_or_file: str, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Read, override and check a training run's config.

    Raises:
        ConfigError: if a key or value is wrong.
    """
    return resolve(TrainingConfig, read_values(name_or_file, overrides))


def train(
    config: TrainingConfig,
    out_dir: Path,
    on_log: Callable[[dict[str, float]], None] = print_log,
    *,
    accept_changes: bool = False,
    allow_outside: bool = False,
    trust_remote_code: bool = False,
) -> Stack | None:
    """Run or resume a training; the bundle in `out_dir` is written when it is finished.

    Args:
        accept_changes: go on although the data or the frozen weights have changed since the run was stopped.
        allow_outside, trust_remote_code: for the stack, as in `load_stack_config`.
    Returns:
        The stack with its trained adapters, or None if the run was stopped early and can be resumed.
    Raises:
        ConfigError, CheckpointError: if the data or the stack cannot be used.
        TrainingError: if the run fails, or `out_dir` holds the state of another run or is in use by one.
    """
    check_same_run(config, out_dir)
    loaded = load_stack_config(
        config.stack, config.stack_overrides, allow_outside=allow_outside, trust_remote_code=trust_remote_code
    )
    stack_config = replace(loaded, adapters=config.adapters, adapter_overlays=[])
    _check_untrained_inputs(config, stack_config)
    source = sample_source(config, stack_config)
    stack = build_stack(in_float32(stack_config), config.untrained_inputs)
    parameters = OBJECTIVES[config.objective].parameters(stack.backbone)
    print(f"{config.objective}, to {out_dir}:\n{trainable_table(stack, parameters)}", file=sys.stderr)
    for parameter in parameters.values():
        parameter.requires_grad_(True)

    def losses_at(step: int) -> dict[str, Tensor]:
        samples = source.batch(config.loop.seed, step, config.batch_size)
        with _precision(config, stack):
            return training_losses(stack.backbone, stack.encoders, stack.generators, samples, config.loss)

    with only_run_in(out_dir):
        check_same_run(config, out_dir)  # again, since another may have run meanwhile
        save_config(config, out_dir / CONFIG_FILE)
        inputs, state = _inputs(config, stack_config, stack, source), out_dir / STATE_FOLDER
        loop = Loop(parameters, config.loop, state, inputs=inputs, accept_changes=accept_changes)
        finished = loop.run(losses_at, on_log)
        for parameter in parameters.values():
            parameter.requires_grad_(False)
        if not finished:
            return None
        save_bundle(stack.backbone, stack_config, out_dir)
    return stack


def _check_untrained_inputs(config: TrainingConfig, stack_config: StackConfig) -> None:
    for modality in config.untrained_inputs:
        if modality not in stack_config.encoders:
            known = ", ".join(stack_config.encoders) or "none"
            raise ConfigError(f"untrained_inputs: '{modality}' given, expected some of the stack's encoders: {known}")


def _inputs(config: TrainingConfig, stack_config: StackConfig, stack: Stack, source: SampleSource) -> dict[str, str]:
    """Fingerprints of what a run depends on, by what messages call it."""
    inputs = {
        "the data": source.fingerprint(),
        "the stack's config": values_fingerprint(asdict(stack_config), _PARTS),
        "the frozen weights": weights_fingerprint(_frozen(stack)),
    }
    if config.adapters:
        inputs["the adapters to start from"] = adapters_fingerprint(bundle_folder(config.adapters))
    return inputs


@contextmanager
def only_run_in(out_dir: Path) -> Iterator[None]:
    """Keep a folder, made if need be, to this process.

    Raises:
        TrainingError: if another run is writing there.
    """
    lock = FileLock(out_dir / STATE_FOLDER / LOCK_FILE, blocking=False)
    try:
        (out_dir / STATE_FOLDER).mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise TrainingError(f"{out_dir}: another run is writing there; let it end, or give another folder") from error
    except OSError as error:
        raise TrainingError(f"{out_dir}: cannot be written ({error.strerror or error}); give another folder") from error
    with lock:
        yield


def in_float32(stack: StackConfig) -> StackConfig:
    """The config with float32 in place of float64, which is there for answers and would only slow training down."""
    placement = {
        stage: replace(placed, dtype="float32") if placed.dtype == "float64" else placed
        for stage, placed in stack.placement.items()
    }
    return replace(stack, placement=placement)


def check_same_run(config: TrainingConfig, out_dir: Path) -> None:
    """Refuse to go on from the state of a run with another config; how often to log and save may differ.

    Raises:
        TrainingError: naming what differs, or if `training.yaml` is lost.
    """
    saved_file, state_file = out_dir / CONFIG_FILE, out_dir / STATE_FOLDER / STATE_FILE
    if not state_file.exists():
        return
    if not saved_file.exists():
        raise TrainingError(
            f"{saved_file} is lost, so it cannot be told which run the state in {out_dir / STATE_FOLDER} is of; put it "
            "back, delete that folder to start afresh, or give another folder"
        )
    saved, given = _flat(read_values(saved_file)), _flat(asdict(config))
    free = {"loop.log_every", "loop.save_every"}
    changed = sorted(key for key in (saved.keys() | given.keys()) - free if saved.get(key) != given.get(key))
    if changed:
        values = ", ".join(f"{key}: {saved.get(key)} then, {given.get(key)} now" for key in changed)
        raise TrainingError(
            f"{out_dir} belongs to another run ({values}); give the options it was started with, or another folder"
        )


def _frozen(stack: Stack) -> dict[str, Tensor]:
    """All weights that no objective trains, by name."""
    adapters = {id(p) for objective in OBJECTIVES.values() for p in objective.parameters(stack.backbone).values()}
    modules: dict[str, torch.nn.Module] = {"backbone": stack.backbone}
    modules |= {f"encoders.{modality}": encoder for modality, encoder in stack.encoders.items()}
    for modality, generator in stack.generators.items():
        modules |= {f"generators.{modality}.{name}": module for name, module in generator.modules.items()}
    named = {f"{part}.{name}": p for part, module in modules.items() for name, p in module.named_parameters()}
    return {name: parameter for name, parameter in named.items() if id(parameter) not in adapters}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def sample_source(config: TrainingConfig, stack: StackConfig) -> SampleSource:
    """The samples that a run learns from.

    Raises:
        ConfigError: if the data cannot be used.
    """
    target_media = config.loss.denoising > 0
    return open_source(config.data, config.objective, tuple(stack.encoders), tuple(stack.generators), target_media)


def trainable_table(stack: Stack, parameters: dict[str, torch.nn.Parameter]) -> TrainableTable:
    """Trainable parameters by part, and the parameters of the whole stack."""
    trainable: dict[str, int] = {}
    for name, parameter in parameters.items():
        part = "lora" if "lora_" in name else name.split(".")[0]
        trainable[part] = trainable.get(part, 0) + parameter.numel()
    modules: list[Any] = [stack.backbone, *stack.encoders.values()]
    modules += [module for generator in stack.generators.values() for module in generator.modules.values()]
    return TrainableTable(trainable, sum(p.numel() for module in modules for p in module.parameters()))


def _precision(config: TrainingConfig, stack: Stack) -> Any:
    if config.precision == "fp32":
        return nullcontext()
    return torch.autocast(stack.backbone.device.type, torch.bfloat16)
