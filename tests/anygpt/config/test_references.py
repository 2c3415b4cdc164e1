"""No reference in a config is looked up and no resolver runs, however and wherever it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from anygpt.config.files import read_values
from anygpt.config.loading import load_stack_config, save_config
from anygpt.config.resolve import resolve
from anygpt.config.schema import StackConfig
from anygpt.errors import AnyGPTError
from encoders.composition import resolve_inner
from pipelines.training.trainer import TrainingConfig, load_training_config

SPELLINGS = [
    "${spy:1}",
    "${spy:}",
    "${ spy : 1 }",
    "a ${spy:1} b",
    "\\${spy:1}",
    "\\\\${spy:1}",
    "\\\\\\${spy:1}",
    "${${key}:1}",
    "${s${key}:1}",
    "${spy:${spy:2}}",
    "${key.${spy:1}}",
    "${..key}${spy:1}",
    '${spy:"${spy:1}"}',
    "${spy:{a: [1]}}",
    "$${spy:1}",
    "${oc.env:SECRET}",
    "${oc.${service.allowed_hosts.0}:SECRET}",
    "${oc.decode:'${oc.env:SECRET}'}",
    "$\ue0f1{spy:1}",
]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the resolver `spy` was asked; the variable SECRET is set."""
    asked: list[Any] = []
    monkeypatch.setenv("SECRET", "hunter2")
    OmegaConf.register_resolver("spy", lambda *given: asked.append(given) or "hunter2")
    yield asked
    OmegaConf.clear_resolver("spy")


def outcome(load: Any, *arguments: Any) -> str:
    """The loaded config, or why it is refused."""
    try:
        return str(load(*arguments))
    except AnyGPTError as error:
        assert len(str(error).splitlines()) == 1
        return str(error)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# Values of every kind of field, in lists, behind anchors, as keys.
PLACES = [
    "name: {}", "adapters: {}", "adapter_overlays: [x, {}]", "limits: {}", "limits: {{max_media: {}}}", "encoders: {}",
    "encoders: {{image: {}}}", "encoders: {{image: {{name: {}}}}}", "backbone: {{chat_template: {}}}", "placement: {}",
    "placement: {{backbone: {}}}", "placement: {{backbone: {{device: {}}}}}",
    "service: {{allowed_hosts: [{}]}}", "service: {{allowed_hosts: {}}}", "service: {{model_aliases: {{{}: x}}}}",
    "projectors: {{input: {}}}", "{}: 1", "x: &x {}\nname: *x", "name: &n {}\nadapters: *n", "extends: {}",
]  # fmt: skip


@pytest.mark.parametrize("spelling", [SPELLINGS[0], SPELLINGS[4], "${oc.${service.allowed_hosts.0}:SECRET}"])
def test_no_resolver_runs_from_a_stack_file_wherever_it_is_written(tmp_path, calls, spelling):
    file = tmp_path / "stack.yaml"
    for place in PLACES:
        text = place.format(quoted(spelling))
        file.write_text(text + ("" if "service" in text else "\nservice: {allowed_hosts: [env]}") + "\n", "utf-8")
        assert "hunter2" not in outcome(load_stack_config, file)
    assert calls == []


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_resolver_runs_from_any_kind_of_file_however_it_is_written(tmp_path, calls, spelling):
    text = quoted(spelling)
    base, extending, deployment, training = (tmp_path / f"{n}.yaml" for n in ("base", "extending", "deploy", "train"))
    base.write_text(f"key: spy\nname: {text}\nlimits: {text}\n", "utf-8")
    extending.write_text(f"extends: {base}\nkey: {text}\n", "utf-8")
    deployment.write_text(f"placement: {{backbone: {{device: {text}}}}}\n", "utf-8")
    training.write_text(f"objective: instruct\nloop: {text}\ndata: {text}\nstack_overrides: [{text}]\n", "utf-8")
    assert "hunter2" not in outcome(load_stack_config, extending)
    assert "hunter2" not in outcome(load_stack_config, base, (), str(deployment))
    assert "hunter2" not in outcome(load_training_config, str(training))
    for key in ("name", "limits", "limits.max_media", "encoders.image", spelling):
        assert "hunter2" not in outcome(load_stack_config, base, [f"{key}={text}"])
    assert calls == []


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_resolver_runs_when_a_resolved_config_is_saved_read_or_resolved_again(tmp_path, calls, spelling):
    config = load_stack_config("tiny", [f"name={quoted(spelling)}", f"backbone.chat_template={quoted(spelling)}"])
    for _ in range(2):
        save_config(config, tmp_path / "config.yaml")
        config = resolve(StackConfig, read_values(tmp_path / "config.yaml"))
    assert (config.name, config.backbone["chat_template"]) == (spelling.replace("\ue0f1", ""),) * 2
    inner = resolve_inner({"name": "clip", "pretrained": spelling}, "frame_encoder", modality="image")[1]
    assert inner.pretrained == spelling.replace("\ue0f1", "")
    assert calls == []


def test_a_training_config_with_dollars_is_saved_as_it_is(tmp_path):
    config = resolve(TrainingConfig, {"objective": "instruct", "data": "${oc.env:HOME}/d.jsonl"})
    save_config(config, tmp_path / "training.yaml")
    assert load_training_config(str(tmp_path / "training.yaml")) == config


@dataclass
class Words:
    text: str = ""
    anything: Any = None
    nested: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


@pytest.mark.parametrize("text", ["${", "${{ x }}", "a\\${b", "${a}${b}", "{{ x }}$", "$${a}", "price: ${{ x }}\n"])
def test_text_comes_through_a_schema_as_it_is(text):
    values = {"text": text, "anything": [{text: text}], "nested": {text: [text]}, "lines": [text]}
    assert asdict(resolve(Words, values)) == values


def test_the_way_a_template_is_written_does_not_matter(tmp_path):
    template = "{{ bos_token }}price: ${{ x }}\n"
    file = tmp_path / "mine.yaml"
    file.write_text("extends: tiny\nbackbone:\n  chat_template: |\n    {{ bos_token }}price: ${{ x }}\n", "utf-8")
    assert load_stack_config(file).backbone["chat_template"] == template
    assert load_stack_config("tiny", ["backbone.media_wrap=<${modality}>{media}"]).backbone["media_wrap"] == (
        "<${modality}>{media}"
    )


def test_only_the_config_modules_use_omegaconf():
    root = Path(__file__).parents[3]
    packages = ("anygpt", "backbone", "encoders", "generators", "pipelines", "projectors", "benchmarks")
    users = [
        str(file.relative_to(root))
        for package in packages
        for file in (root / package).rglob("*.py")
        if re.search(r"^\s*(from|import) omegaconf", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert sorted(users) == ["anygpt/config/errors.py", "anygpt/config/loading.py", "anygpt/config/resolve.py"]
