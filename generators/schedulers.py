"""The samplers that a config may name, each built from the checkpoint's own noise schedule."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, SchedulerMixin

from anygpt.errors import CheckpointError, RequestError
from generators.checkpoints import component_classes, load_config_part

SchedulerName = Literal["checkpoint", "ddim", "dpm_solver_multistep", "euler"]
SCHEDULERS: dict[str, tuple[type[SchedulerMixin], dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {}),
    "dpm_solver_multistep": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "euler": (EulerDiscreteScheduler, {}),
}
SCHEDULER_NAMES = ("checkpoint", *SCHEDULERS)
_TRIED = 16  # numbers of steps beyond one that a sampler cannot take


def load_scheduler(folder: Path, name: SchedulerName) -> Any:
    """The scheduler that a pipeline folder was saved with, or another sampler for the same noise schedule.

    Raises:
        CheckpointError: if the folder's scheduler is not one of diffusers', or its config is missing or damaged.
    """
    saved_name = component_classes(folder).get("scheduler")
    saved_class = getattr(diffusers, str(saved_name), None)
    if not (isinstance(saved_class, type) and issubclass(saved_class, SchedulerMixin)):
        raise CheckpointError(f"{folder}: 'scheduler' is a '{saved_name}', expected one of diffusers' schedulers")
    saved: Any = load_config_part(saved_class, folder, "scheduler", ("scheduler_config.json",))
    if name == "checkpoint":
        return saved
    scheduler_class, options = SCHEDULERS[name]
    return scheduler_class.from_config(saved.config, **options)


def check_steps(scheduler: Any, steps: int, stage: str) -> None:
    """Refuse a number of steps that a sampler cannot take, before it is asked to.

    Args:
        stage: names the config section in messages: "generators.image".
    Raises:
        RequestError: with a number that it can take, if there is one close by.
    """
    if _takes(scheduler, steps):
        return
    near = (*range(steps + 1, steps + 1 + _TRIED), getattr(scheduler.config, "num_train_timesteps", steps))
    possible = next((count for count in near if count != steps and _takes(scheduler, count)), None)
    least = "" if possible is None else f"ask for at {'least' if possible > steps else 'most'} {possible}, or "
    name = type(scheduler).__name__
    raise RequestError(
        f"steps: {steps} given, which the checkpoint's sampler {name} cannot take; "
        f"{least}set {stage}.scheduler to one of {', '.join(SCHEDULERS)}"
    )


def _takes(scheduler: Any, steps: int) -> bool:
    try:
        return denoiser_calls(scheduler, steps) > 0
    except (ValueError, LookupError, ArithmeticError, RuntimeError, AssertionError):  # each sampler has its own way
        return False


def denoiser_calls(scheduler: Any, steps: int) -> int:
    """How often a sampler calls the denoiser for `steps` steps: `steps` for most, more for some (PNDM, Heun)."""
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    return len(scheduler.timesteps)


def callback_calls(scheduler: Any, steps: int) -> int:
    """How often diffusers' older pipelines (video, sound) call `callback` for `steps` steps of a sampler.

    Source: the end of the denoising loop in diffusers' `TextToVideoSDPipeline` and `AudioLDM2Pipeline`.
    """
    calls = denoiser_calls(scheduler, steps)
    warm_up = calls - steps * scheduler.order
    return sum(call == calls or (call > warm_up and call % scheduler.order == 0) for call in range(1, calls + 1))


def draws_noise(scheduler: Any) -> bool:
    """True for samplers that take fresh noise between steps (ancestral ones and their like), seen by trying one out."""
    scheduler = copy.deepcopy(scheduler)
    if "generator" not in inspect.signature(scheduler.step).parameters:
        return False
    scheduler.set_timesteps(next((steps for steps in range(3, 3 + _TRIED) if _takes(scheduler, steps)), 3))
    random = torch.Generator().manual_seed(0)
    before = random.get_state()
    latents = torch.zeros(1, 1, 1, 1)
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(torch.zeros_like(scaled), timestep, latents, generator=random).prev_sample
    return not torch.equal(before, random.get_state())
