from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anygpt.errors import ConfigError, TrainingError
from pipelines.training.loop import Loop, LoopOptions
from pipelines.training.state import load_state

OPTIONS = {"learning_rate": 0.1, "warmup_steps": 2, "weight_decay": 0.1, "seed": 3}


class Run:
    """A small regression whose every step draws its own batch."""

    def __init__(self, state_dir: Path, steps: int = 12, **options: Any) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.seen: list[int] = []
        self.on_step: Callable[[int], None] = lambda step: None
        options = {**OPTIONS, **options}
        self.loop = Loop(dict(self.model.named_parameters()), LoopOptions(steps, **options), state_dir)

    def losses_at(self, step: int) -> dict[str, Tensor]:
        self.seen.append(step)
        self.on_step(step)
        inputs = torch.randn(16, 4)
        errors = self.model(inputs) - inputs.sum(-1, keepdim=True)
        return {"near": errors.square().mean(), "far": 0.1 * errors.abs().mean()}

    def go(self, on_log: Callable[[dict[str, float]], None] | None = None) -> bool:
        return self.loop.run(self.losses_at, on_log)

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    run = Run(tmp_path / "whole")
    assert run.go()
    return run


def stopped(state_dir: Path, step: int, **options: Any) -> Run:
    """A run that got SIGTERM during a step."""
    run = Run(state_dir, **options)
    run.on_step = lambda now: os.kill(os.getpid(), signal.SIGTERM) if now == step else None
    assert run.go() is False
    return run


def test_loop_learns(tmp_path):
    losses = []
    run = Run(tmp_path, steps=200, log_every=100)
    assert run.go(lambda values: losses.append(values["near"]))
    assert losses[1] < 0.2 * losses[0]


def test_loop_sees_every_step_once_in_order(finished):
    assert finished.seen == list(range(12))


def test_loop_is_the_same_run_for_the_same_seed_alone(finished, tmp_path):
    again, other = Run(tmp_path / "again"), Run(tmp_path / "other", seed=4)
    again.go()
    other.go()
    assert same(again.weights, finished.weights)
    assert not same(other.weights, finished.weights)


@pytest.mark.parametrize("step", [0, 1, 5, 10])
def test_loop_stopped_and_resumed_equals_the_uninterrupted_run_bit_for_bit(finished, tmp_path, capsys, step):
    first = stopped(tmp_path / "state", step)
    assert first.seen == list(range(step + 1))
    assert f"stopping after step {step + 1}, the state will be saved" in capsys.readouterr().err
    second = Run(tmp_path / "state")
    torch.manual_seed(99)  # whatever the new process did before
    assert second.go()
    assert second.seen == list(range(step + 1, 12))
    assert same(second.weights, finished.weights)
    assert load_file(second.loop.state_path).keys() == load_file(finished.loop.state_path).keys()


def test_loop_resumed_from_a_regular_save_equals_the_uninterrupted_run(finished, tmp_path):
    first = Run(tmp_path / "state", save_every=4)

    def crash(step: int) -> None:
        if step == 7:
            raise RuntimeError("power cut")

    first.on_step = crash
    with pytest.raises(RuntimeError, match="power cut"):
        first.go()
    second = Run(tmp_path / "state", save_every=4)
    assert second.go()
    assert second.seen == list(range(4, 12))
    assert same(second.weights, finished.weights)


def test_loop_that_is_finished_does_nothing_more(finished, tmp_path):
    again = Run(tmp_path / "whole")
    assert again.go()
    assert again.seen == []
    assert same(again.weights, finished.weights)


def test_loop_logging_and_saving_may_change_between_the_parts_of_a_run(finished, tmp_path):
    stopped(tmp_path / "state", 5)
    second = Run(tmp_path / "state", log_every=1, save_every=1)
    assert second.go()
    assert same(second.weights, finished.weights)


@pytest.mark.parametrize("options", [{"steps": 13}, {"learning_rate": 0.2}, {"seed": 4}, {"clip_norm": 2.0}])
def test_loop_refuses_to_resume_with_other_options(tmp_path, options):
    stopped(tmp_path, 2)
    other = Run(tmp_path, **options)
    before = other.weights
    with pytest.raises(TrainingError, match=r"belongs to another run .*; give the options it was started with"):
        other.go()
    assert other.seen == []
    assert same(other.weights, before)


def test_loop_refuses_to_resume_with_other_parameters(tmp_path):
    stopped(tmp_path, 2)
    options = LoopOptions(12, **OPTIONS)
    for parameters in ({"0.weight": nn.Parameter(torch.zeros(8, 4))}, {n: nn.Parameter(torch.zeros(1)) for n in "ab"}):
        with pytest.raises(TrainingError, match="belongs to another run"):
            Loop(parameters, options, tmp_path).run(lambda step: {})
    wider = {name: nn.Parameter(torch.zeros(3)) for name in Run(tmp_path / "new").loop.parameters}
    with pytest.raises(TrainingError, match="belongs to another run"):
        Loop(wider, options, tmp_path).run(lambda step: {})


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def edited(path: Path) -> None:
    tensors, facts = load_state(path)
    with safe_open(path, framework="pt") as state:
        checksum = state.metadata()["sha256"]
    save_file(tensors, path, {**facts, "step": "1", "sha256": checksum})


@pytest.mark.parametrize(
    "damage",
    [
        cut_off,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" * 64),
        edited,
    ],
    ids=["cut off", "empty", "garbage", "edited"],
)
def test_loop_refuses_a_damaged_state_in_one_line(tmp_path, damage):
    run = stopped(tmp_path, 2)
    damage(run.loop.state_path)
    with pytest.raises(TrainingError, match=r"state\.safetensors is damaged: .*; delete it to start afresh") as caught:
        Run(tmp_path).go()
    assert len(str(caught.value).splitlines()) == 1


def test_loop_notices_every_flipped_bit_of_a_state(tmp_path):
    run = stopped(tmp_path, 2)
    whole = run.loop.state_path.read_bytes()
    step = max(1, len(whole) // 300)
    for at in [*range(8), *range(8, len(whole), step), len(whole) - 1]:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        run.loop.state_path.write_bytes(flipped)
        with pytest.raises(TrainingError, match=r"is damaged|has no checksum"):
            Run(tmp_path).go()
    run.loop.state_path.write_bytes(whole)
    Run(tmp_path).go()


def test_loop_refuses_a_state_without_a_checksum(tmp_path):
    run = stopped(tmp_path, 2)
    tensors, facts = load_state(run.loop.state_path)
    save_file(tensors, run.loop.state_path, facts)
    with pytest.raises(TrainingError, match="has no checksum, as anygpt before it had one wrote it; finish with that"):
        Run(tmp_path).go()


def test_loop_saves_atomically(tmp_path, monkeypatch):
    run = stopped(tmp_path, 2)
    before = run.loop.state_path.read_bytes()

    def half(tensors: Any, path: Path, metadata: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("pipelines.training.state.save_file", half)
    with pytest.raises(TrainingError) as caught:
        run.loop.save()
    assert str(caught.value) == (
        f"{run.loop.state_path}: cannot be written (disk full); the state before it is whole: make room and go on"
    )
    assert run.loop.state_path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_loop_says_in_one_line_that_there_is_no_room(tmp_path):
    import resource

    run = stopped(tmp_path, 2)
    before = run.loop.state_path.read_bytes()
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, most))
    try:
        with pytest.raises(TrainingError, match=r"cannot be written \(.*\); the state before it is whole") as caught:
            run.loop.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert len(str(caught.value).splitlines()) == 1
    assert run.loop.state_path.read_bytes() == before


def test_loop_says_in_one_line_that_the_folder_is_none(tmp_path):
    run = stopped(tmp_path, 2)
    run.loop.state_path = run.loop.state_path / "state.safetensors"
    with pytest.raises(TrainingError, match="cannot be written"):
        run.loop.save()


def test_loop_keeps_the_steps_before_a_sample_that_cannot_be_used(finished, tmp_path):
    first = Run(tmp_path / "state")

    def refuse(step: int) -> None:
        if step == 7:
            raise ConfigError("data: line 7: no file 'cat.png'")

    first.on_step = refuse
    with pytest.raises(ConfigError, match="line 7"):
        first.go()
    second = Run(tmp_path / "state")
    assert second.go()
    assert second.seen == list(range(7, 12))
    assert same(second.weights, finished.weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loop_stops_at_a_loss_that_is_not_finite(tmp_path, value):
    run = Run(tmp_path)
    before = run.weights
    with pytest.raises(
        TrainingError, match=rf"loss is not finite at step 0 \(near .*, odd {value:g}\); lower the lear"
    ):
        run.loop.run(lambda step: {"near": run.losses_at(step)["near"], "odd": torch.tensor(value)})
    assert same(run.weights, before)
    assert not run.loop.state_path.exists()


def test_loop_stops_at_a_gradient_that_is_not_finite(tmp_path):
    run = Run(tmp_path)
    before = run.weights

    def losses_at(step: int) -> dict[str, Tensor]:
        weight = next(run.model.parameters())
        return {"root": (weight * 0.0).sum().abs().sqrt()}  # the root of 0: the loss is finite, its slope is not

    with pytest.raises(TrainingError, match="gradient is not finite at step 0; lower the learning rate"):
        run.loop.run(losses_at)
    assert same(run.weights, before)


def test_loop_refuses_losses_that_do_not_depend_on_what_is_trained(tmp_path):
    with pytest.raises(TrainingError, match="step 0: no loss depends on what is trained; give samples that hold"):
        Run(tmp_path).loop.run(lambda step: {"constant": torch.tensor(1.0)})


def test_loop_needs_something_to_train(tmp_path):
    with pytest.raises(TrainingError, match="nothing to train: the objective selects no parameter"):
        Loop({}, LoopOptions(1), tmp_path)


def test_loop_cuts_gradients_at_the_norm(tmp_path):
    run = Run(tmp_path, steps=1, clip_norm=0.01)
    run.go()
    norms = [parameter.grad.norm() for parameter in run.model.parameters()]
    assert torch.stack(norms).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_loop_puts_signal_handlers_back(tmp_path):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stopped(tmp_path, 2)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.fixture
def default_interrupt() -> Iterator[None]:
    """SIGINT as in a terminal, also where the tests run in the background."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("default_interrupt")
def test_loop_second_interrupt_ends_it_at_once(tmp_path):
    run = Run(tmp_path)

    def impatient(step: int) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    run.on_step = impatient
    with pytest.raises(KeyboardInterrupt):
        run.go()
    assert run.seen == [0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_loop_in_a_thread_leaves_signals_to_the_caller(finished, tmp_path):
    run, handlers, results = Run(tmp_path / "thread"), [], []
    run.on_step = lambda step: handlers.append(signal.getsignal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=lambda: results.append(run.go()))
    thread.start()
    thread.join()
    assert results == [True]
    assert set(handlers) == {before}
    assert same(run.weights, finished.weights)


def test_loop_stopped_once_goes_on_when_run_again(finished, tmp_path):
    run = stopped(tmp_path / "state", 5)
    assert run.go()
    assert same(run.weights, finished.weights)


def test_loop_logs_means_and_the_rate(tmp_path):
    logged = []
    Run(tmp_path, log_every=5).go(logged.append)
    assert [values["step"] for values in logged] == [5, 10, 12]
    assert all(set(values) == {"step", "near", "far", "rate", "seconds_per_step"} for values in logged)


def test_options_rate_rises_and_falls_along_a_cosine():
    options = LoopOptions(steps=110, learning_rate=2.0, warmup_steps=10)
    rates = [options.rate_at(step) for step in range(110)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[9] == rates[10] == pytest.approx(2.0)
    assert options.rate_at(60) == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.0, abs=1e-3)
    assert LoopOptions(steps=3, warmup_steps=0).rate_at(0) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps: 0 given, expected at least 1"),
        ({"log_every": 0}, "log_every: 0 given, expected at least 1"),
        ({"save_every": -1}, "save_every: -1 given, expected at least 1"),
        ({"learning_rate": 0.0}, "learning_rate: 0.0 given, expected a number above 0 and at most 1e+06"),
        ({"learning_rate": float("nan")}, "learning_rate: nan given"),
        ({"clip_norm": float("inf")}, "clip_norm: inf given"),
        ({"weight_decay": -0.1}, "weight_decay: -0.1 given, expected 0 to 1e+06"),
        ({"warmup_steps": -1}, "warmup_steps: -1 given, expected at least 0"),
        ({"seed": -1}, "seed: -1 given, expected 0 to 4294967295"),
        ({"seed": 2**40}, "seed: 1099511627776 given"),
    ],
)
def test_options_refuse_what_cannot_work(options, message):
    with pytest.raises(ConfigError) as caught:
        LoopOptions(**{"steps": 1, **options})
    assert message in str(caught.value)
