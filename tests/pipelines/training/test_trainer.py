"""Training on the untrained stack: what changes, what must not, and what comes out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anygpt.config.loading import save_config
from anygpt.config.schema import StackConfig
from anygpt.errors import CheckpointError, ConfigError, TrainingError
from pipelines.assistant import AnyGPT
from pipelines.stack.build import Stack, build_stack
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.scenes import Scene
from pipelines.training import trainer
from pipelines.training.loop import LoopOptions
from pipelines.training.objectives import OBJECTIVES, LossWeights, conditioning_losses
from pipelines.training.samples import Target
from pipelines.training.trainer import TrainingConfig, load_training_config, train, trainable_table


@pytest.fixture
def run_config(stack_file: Path) -> TrainingConfig:
    loop = LoopOptions(steps=2, learning_rate=1e-3, warmup_steps=0)
    return TrainingConfig("instruct", str(stack_file), batch_size=2, precision="fp32", loop=loop)


def tensors(stack: Stack) -> dict[str, torch.Tensor]:
    """Every parameter and buffer of the whole stack."""
    modules: dict[str, Any] = {"backbone": stack.backbone}
    modules |= {f"encoders.{name}": encoder for name, encoder in stack.encoders.items()}
    for modality, generator in stack.generators.items():
        modules |= {f"generators.{modality}.{name}": module for name, module in generator.modules.items()}
    return {
        f"{owner}/{name}": tensor
        for owner, module in modules.items()
        for kind in (module.named_parameters(), module.named_buffers())
        for name, tensor in kind
    }


def hashes(stack: Stack) -> dict[str, str]:
    return {name: hashlib.sha256(t.detach().numpy().tobytes()).hexdigest() for name, t in tensors(stack).items()}


def trained_names(stack: Stack, objective: str) -> set[str]:
    chosen = {id(parameter) for parameter in OBJECTIVES[objective].parameters(stack.backbone).values()}
    return {name for name, tensor in tensors(stack).items() if id(tensor) in chosen}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Stack, dict[str, str]]]:
    """The stacks that `train` builds, with their hashes before training."""
    built: list[tuple[Stack, dict[str, str]]] = []

    def build(config: StackConfig, *options: Any) -> Stack:
        stack = build_stack(config, *options)
        built.append((stack, hashes(stack)))
        return stack

    monkeypatch.setattr(trainer, "build_stack", build)
    return built


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_train_changes_exactly_what_its_objective_selects(run_config, watched, tmp_path, objective):
    config = dataclasses.replace(run_config, objective=objective, loss=LossWeights(embedding=1.0, denoising=0.1))
    stack = train(config, tmp_path)
    (built, before) = watched[0]
    assert built is stack
    after = hashes(stack)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == trained_names(stack, objective)
    assert not [name for name, tensor in tensors(stack).items() if tensor.requires_grad]
    parts = {name.split("/")[1].split(".")[0] for name in changed if "lora_" not in name}
    expected = {
        "align-input": {"input_projectors"},
        "align-output": {"output_projectors", "backbone"},
        "instruct": {"input_projectors", "output_projectors", "backbone"},
    }
    assert parts == expected[objective]
    assert any("lora_" in name for name in changed) == (objective == "instruct")
    assert not [name for name in changed if not name.startswith("backbone/")]


def test_train_writes_a_bundle_that_answers_as_the_trained_stack(run_config, tmp_path, picture_message):
    stack = train(run_config, tmp_path)
    in_float32 = [f"placement.{stage}.dtype=float32" for stage in ("encoders.image", "backbone")]  # as it is trained
    with AnyGPT.from_pretrained(tmp_path, in_float32, allow_outside=True) as model:
        loaded = hashes(model.executor.stack)
        folded = [name for name in loaded if name.endswith(".folded_weight")]  # sums kept for serving, not weights
        assert {name: value for name, value in loaded.items() if name not in folded} == hashes(stack)
        assert model.chat(picture_message, modalities=["text"]).text
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"config.yaml", "training.yaml", "training_state", "lora", "README.md"}
    assert load_training_config(str(tmp_path / "training.yaml")) == run_config


@pytest.fixture
def picture_message() -> list[Any]:
    return [render_image(Scene("star", "red")), "What is this?"]


def test_train_stopped_and_resumed_equals_the_uninterrupted_run(run_config, tmp_path):
    torch.manual_seed(5)
    whole = train(run_config, tmp_path / "whole")
    torch.manual_seed(5)
    stop_at_once = lambda values: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    logging = dataclasses.replace(run_config, loop=dataclasses.replace(run_config.loop, log_every=1))
    assert train(logging, tmp_path / "parts", on_log=stop_at_once) is None
    assert not (tmp_path / "parts" / "config.yaml").exists()
    torch.manual_seed(6)  # the second process starts its adapters elsewhere, and takes them from the state
    resumed = train(run_config, tmp_path / "parts")
    names = trained_names(whole, "instruct")
    assert {n: h for n, h in hashes(resumed).items() if n in names} == {
        n: h for n, h in hashes(whole).items() if n in names
    }


def test_train_refuses_to_go_on_with_another_config_and_leaves_the_folder_as_it_was(run_config, tmp_path):
    train(run_config, tmp_path)
    before = (tmp_path / "training.yaml").read_bytes()
    other = dataclasses.replace(run_config, batch_size=3, loop=dataclasses.replace(run_config.loop, seed=1))
    with pytest.raises(TrainingError) as caught:
        train(other, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} belongs to another run (batch_size: 2 then, 3 now, loop.seed: 0 then, 1 now); "
        "give the options it was started with, or another folder"
    )
    assert (tmp_path / "training.yaml").read_bytes() == before


def test_train_starts_from_a_bundle(run_config, tmp_path):
    first = train(run_config, tmp_path / "first")
    config = dataclasses.replace(
        run_config, adapters=str(tmp_path / "first"), loop=dataclasses.replace(run_config.loop, learning_rate=1e-12)
    )
    second = train(config, tmp_path / "second")
    for name, parameter in OBJECTIVES["instruct"].parameters(first.backbone).items():
        torch.testing.assert_close(OBJECTIVES["instruct"].parameters(second.backbone)[name], parameter)


def test_train_gives_a_trained_stack_a_new_input_projector(run_config, tmp_path):
    """Of another shape than the bundle's, as another encoder needs it; all else comes from the bundle."""
    train(run_config, tmp_path / "first")
    other = dataclasses.replace(
        run_config,
        objective="align-input",
        adapters=str(tmp_path / "first"),
        stack_overrides=["projectors.input.image.queries=3"],
    )
    with pytest.raises(CheckpointError, match="has shape"):
        train(other, tmp_path / "refused")
    with pytest.raises(
        ConfigError, match="untrained_inputs: 'smell' given, expected some of the stack's encoders: image"
    ):
        train(dataclasses.replace(other, untrained_inputs=["smell"]), tmp_path / "refused")
    assert train(dataclasses.replace(other, untrained_inputs=["image"]), tmp_path / "second") is not None
    for file in ("output_projectors.safetensors", "signal_tokens.safetensors", "lora/adapter_model.safetensors"):
        assert (tmp_path / "second" / file).read_bytes() == (tmp_path / "first" / file).read_bytes()
    with AnyGPT.from_pretrained(tmp_path / "second", allow_outside=True) as assistant:
        assert assistant.chat("Hello", max_tokens=2).text is not None


def test_train_takes_json_lines(run_config, tmp_path):
    render_image(Scene("star", "red")).save(tmp_path / "star.png")
    said = {"role": "user", "content": [{"type": "image", "path": "star.png"}, {"type": "text", "text": "Copy it."}]}
    drawn = {"role": "assistant", "content": [{"type": "image", "caption": "a star", "path": "star.png"}]}
    (tmp_path / "data.jsonl").write_text(json.dumps({"conversation": [said, drawn]}), encoding="utf-8")
    logged: list[dict[str, float]] = []
    config = dataclasses.replace(
        run_config, data=str(tmp_path / "data.jsonl"), loss=LossWeights(1.0, 1.0), precision="bf16"
    )
    assert train(config, tmp_path / "out", on_log=logged.append)
    assert set(logged[-1]) == {
        "step", "reply", "embedding_image", "denoising_image", "rate", "seconds_per_step",
    }  # fmt: skip


def conversation(answer: str, picture: str | None = None) -> str:
    said: list[Any] = [{"type": "text", "text": "Hello"}]
    said += [{"type": "image", "path": picture}] if picture else []
    return json.dumps({"conversation": [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]})


@pytest.fixture
def stopped(run_config: TrainingConfig, tmp_path: Path) -> TrainingConfig:
    """A run on JSON lines with a picture, stopped after its first step."""
    render_image(Scene("star", "red")).save(tmp_path / "star.png")
    lines = [conversation("I am here."), conversation("A star.", "star.png")]
    (tmp_path / "data.jsonl").write_text("\n".join(lines), encoding="utf-8")
    loop = dataclasses.replace(run_config.loop, log_every=1)
    config = dataclasses.replace(run_config, data=str(tmp_path / "data.jsonl"), loop=loop)
    stop_at_once = lambda values: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    assert train(config, tmp_path / "out", on_log=stop_at_once) is None
    return config


def replace_data(folder: Path) -> None:
    (folder / "data.jsonl").write_text(conversation("You are a teapot."), encoding="utf-8")


def append_data(folder: Path) -> None:
    with (folder / "data.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n" + conversation("More."))


def replace_picture(folder: Path) -> None:
    render_image(Scene("circle", "blue")).save(folder / "star.png")


@pytest.mark.parametrize("change", [replace_data, append_data, replace_picture])
def test_train_notices_changed_data_and_goes_on_with_it_if_told_to(stopped, tmp_path, change):
    state = tmp_path / "out" / "training_state" / "state.safetensors"
    before = state.read_bytes()
    change(tmp_path)
    with pytest.raises(TrainingError) as refused:
        train(stopped, tmp_path / "out")
    assert str(refused.value) == (
        f"{state.parent}: the data changed since the run was stopped at step 1; put back what was there, give another "
        "folder, or go on with the change by --accept-changes"
    )
    assert state.read_bytes() == before
    assert train(stopped, tmp_path / "out", accept_changes=True)


def test_train_goes_on_with_data_of_the_same_content(stopped, tmp_path):
    text = (tmp_path / "data.jsonl").read_text(encoding="utf-8")
    (tmp_path / "data.jsonl").unlink()
    (tmp_path / "data.jsonl").write_text(text, encoding="utf-8")
    assert train(stopped, tmp_path / "out")


def test_train_notices_changed_frozen_weights(stopped, tmp_path, monkeypatch):
    def build_changed(config: StackConfig, *options: Any) -> Stack:
        stack = build_stack(config, *options)
        with torch.no_grad():
            next(iter(stack.encoders["image"].parameters())).add_(1.0)
        return stack

    monkeypatch.setattr(trainer, "build_stack", build_changed)
    with pytest.raises(TrainingError, match="the frozen weights changed since the run was stopped at step 1"):
        train(stopped, tmp_path / "out")


def test_train_notices_a_changed_stack_config(stopped, tmp_path, stack_file):
    text = stack_file.read_text(encoding="utf-8")
    try:
        stack_file.write_text(text.replace("max_tokens: 12", "max_tokens: 13"), encoding="utf-8")
        with pytest.raises(TrainingError, match="the stack's config changed since the run was stopped at step 1"):
            train(stopped, tmp_path / "out")
    finally:
        stack_file.write_text(text, encoding="utf-8")


def test_train_notices_that_the_adapters_it_started_from_have_changed(stopped, run_config, tmp_path):
    assert train(run_config, tmp_path / "first")
    config = dataclasses.replace(stopped, objective="align-input", adapters=str(tmp_path / "first"))
    stop_at_once = lambda values: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    assert train(config, tmp_path / "second", on_log=stop_at_once) is None
    lora = tmp_path / "first" / "lora" / "adapter_model.safetensors"
    save_file({name: tensor + 0.5 for name, tensor in load_file(lora).items()}, lora)
    with pytest.raises(TrainingError, match="the adapters to start from changed since the run was stopped at step 1"):
        train(config, tmp_path / "second")
    assert train(config, tmp_path / "second", accept_changes=True)


def test_train_stops_where_training_yaml_is_lost(stopped, tmp_path):
    (tmp_path / "out" / "training.yaml").unlink()
    with pytest.raises(TrainingError, match=r"training\.yaml is lost, so it cannot be told which run the state in"):
        train(stopped, tmp_path / "out")
    assert not (tmp_path / "out" / "training.yaml").exists()


def test_train_refuses_data_that_the_objective_cannot_learn_from(run_config, tmp_path):
    said, reply = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
    (tmp_path / "data.jsonl").write_text(json.dumps({"conversation": [said, reply]}), encoding="utf-8")
    config = dataclasses.replace(run_config, objective="align-input", data=str(tmp_path / "data.jsonl"))
    with pytest.raises(TrainingError, match="step 0: no loss depends on what is trained; give samples that hold"):
        train(config, tmp_path / "out")


def test_train_refuses_media_that_the_stack_does_not_take(run_config, random_config, tmp_path):
    deaf = dataclasses.replace(
        random_config, encoders={}, projectors=dataclasses.replace(random_config.projectors, input={}), placement={}
    )
    save_config(deaf, tmp_path / "deaf.yaml")
    render_image(Scene("star", "red")).save(tmp_path / "star.png")
    asked = {"role": "user", "content": [{"type": "image", "path": "star.png"}, {"type": "text", "text": "What?"}]}
    line = json.dumps({"conversation": [asked, {"role": "assistant", "content": "A star."}]})
    (tmp_path / "data.jsonl").write_text(line, encoding="utf-8")
    config = dataclasses.replace(run_config, stack=str(tmp_path / "deaf.yaml"), data=str(tmp_path / "data.jsonl"))
    with pytest.raises(
        ConfigError, match=r"data\.jsonl, line 1: conversation: image given, but this stack only takes in"
    ):
        train(config, tmp_path / "out")


def test_train_names_the_line_that_is_longer_than_the_context_and_keeps_the_steps_before_it(run_config, tmp_path):
    said, reply = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
    lines = [[said, reply]] * 7 + [[{**said, "content": "word " * 5000}, reply]]
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(json.dumps({"conversation": turns}) for turns in lines), encoding="utf-8")
    config = dataclasses.replace(
        run_config, data=str(data), batch_size=1, loop=dataclasses.replace(run_config.loop, steps=8, log_every=1)
    )
    logged: list[dict[str, float]] = []
    with pytest.raises(ConfigError, match=r"data\.jsonl, line 8: conversation: \d+ tokens given, the context holds"):
        train(config, tmp_path / "out", logged.append)
    with safe_open(tmp_path / "out" / "training_state" / "state.safetensors", framework="pt") as state:
        assert state.metadata()["step"] == str(len(logged))


def test_train_refuses_what_another_run_left_while_it_was_loading(run_config, tmp_path, monkeypatch):
    """Another run takes the folder, trains and ends after this one has looked and before it takes the folder."""
    other = dataclasses.replace(run_config, batch_size=3)
    check, checked = trainer.check_same_run, []

    def check_and_let_another_run(config: TrainingConfig, folder: Path) -> None:
        check(config, folder)
        checked.append(config)
        if checked == [other]:
            train(run_config, folder)

    monkeypatch.setattr(trainer, "check_same_run", check_and_let_another_run)
    with pytest.raises(TrainingError, match="belongs to another run"):
        train(other, tmp_path / "out")
    assert load_training_config(str(tmp_path / "out" / "training.yaml")) == run_config


@pytest.mark.parametrize("in_the_way", ["training_state", "training_state/lock", "training.yaml"])
def test_train_says_in_one_line_what_is_in_the_way(run_config, tmp_path, in_the_way):
    path = tmp_path / "out" / in_the_way
    if in_the_way == "training_state":
        path.parent.mkdir()
        path.touch()
    else:
        path.mkdir(parents=True)
    with pytest.raises((ConfigError, TrainingError), match="cannot be written") as caught:
        train(run_config, tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.rglob("*.partial"))


def test_train_refuses_a_folder_that_another_run_is_writing_to(run_config, tmp_path):
    def start_another(values: dict[str, float]) -> None:
        with pytest.raises(TrainingError, match="another run is writing there; let it end, or give another folder"):
            train(dataclasses.replace(run_config, batch_size=3), tmp_path / "out")

    assert train(run_config, tmp_path / "out", start_another) is not None
    assert load_training_config(str(tmp_path / "out" / "training.yaml")).batch_size == run_config.batch_size


def test_trainable_table_counts_every_part(random_config):
    stack = build_stack(random_config)
    stage = stack.backbone
    table = trainable_table(stack, OBJECTIVES["instruct"].parameters(stage))
    hidden, layers = stage.backbone.hidden_size, stage.backbone._base.config.num_hidden_layers
    rank = random_config.backbone["lora"]["rank"]
    assert table.trainable == {
        "input_projectors": sum(p.numel() for p in stage.input_projectors.parameters()),
        "output_projectors": sum(p.numel() for p in stage.output_projectors.parameters()),
        "signal_tokens": (4 + 1) * hidden,
        "lora": layers * 4 * rank * 2 * hidden,
    }
    parameters = [t for t in tensors(stack).values() if isinstance(t, torch.nn.Parameter)]
    assert table.total == sum(parameter.numel() for parameter in parameters)
    lines = str(table).splitlines()
    assert [line.split()[0] for line in lines] == [*table.trainable, "trainable"]
    count = sum(table.trainable.values())
    assert lines[-1].split()[1:] == [f"{count:,}", f"{count / table.total:.2%}", "of", f"{table.total:,}"]


def test_conditioning_losses_are_zero_at_the_goal(random_config):
    generator = build_stack(random_config).generators["image"]
    goal = generator.encode_prompt(["a star", "a circle"])
    targets = [Target("image", caption) for caption in ("a star", "a circle")]
    assert conditioning_losses(generator, goal, targets, LossWeights(1.0, 0.0))["embedding_image"] == 0.0
    swapped = {name: tensor.flip(0) for name, tensor in goal.items()}
    assert conditioning_losses(generator, swapped, targets, LossWeights(1.0, 0.0))["embedding_image"] > 0.0
    assert conditioning_losses(generator, goal, targets, LossWeights(0.0, 1.0)) == {}  # no media, no denoising


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_shipped_training_configs_load(objective):
    assert load_training_config(f"training/{objective}").objective == objective


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective=guess", "objective: 'guess' given, expected one of align-input, align-output, instruct"),
        ("batch_size=0", "batch_size: 0 given, expected 1 to 65536"),
        ("batch_size=10000000000000000000", "batch_size: a number of 20 digits given, expected at most"),
        ("loop.warmup_steps=1" + 400 * "0", "warmup_steps: a number of 401 digits given"),
        ("loop.learning_rate=1e308", "loop.learning_rate: 1e+308 given, expected a number above 0 and at most 1e+06"),
        ("batch_size=many", "batch_size: Value 'many' of type 'str' could not be converted to Integer"),
        ("precision=int8", "precision"),
        ("loop.steps=0", "loop.steps: 0 given, expected at least 1"),
        ("loop.learning_rate=nan", "loop.learning_rate: nan given, expected a number above 0"),
        ("loop.sleps=5", "loop.sleps: no such key; expected one of steps, learning_rate"),
        ("loss.denoising=-1", "loss.denoising: -1.0 given, expected 0 to 1e+06"),
        ("loss.embedding=.inf", "loss.embedding: inf given"),
        ("loop.steps=${oc.env:HOME}", "loop.steps: Value '${oc.env:HOME}' of type 'str' could not be converted"),
    ],
)
def test_training_config_refuses_what_cannot_work(override, message):
    with pytest.raises(ConfigError) as caught:
        load_training_config("training/instruct", [override])
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
