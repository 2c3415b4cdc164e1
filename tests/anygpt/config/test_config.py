from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from anygpt.config.files import shipped_configs
from anygpt.config.loading import load_stack_config, save_config
from anygpt.config.resolve import resolve, resolve_component
from anygpt.config.schema import Limits, StackConfig, StagePlacement
from anygpt.errors import ConfigError, RegistryError
from anygpt.registry import Registry


@dataclass
class Inner:
    size: int = 1

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"size: {self.size} given, expected at least 1")
        if self.size == 13:
            raise ConfigError("thirteen is not a size")


@dataclass
class Outer:
    needed: str = "???"
    count: int = 2
    rate: float = 0.5
    flag: bool = False
    kind: Literal["a", "b"] = "a"
    maybe: int | None = None
    inner: Inner = field(default_factory=Inner)
    named: dict[str, Inner] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)


def refusal(values: Any, where: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(Outer, {"needed": "x", **values}, where)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_resolve_fills_in_defaults_and_builds_the_dataclasses():
    outer = resolve(Outer, {"needed": "x", "inner": {"size": 3}, "named": {"a": {}}, "rate": 2})
    assert outer == Outer(needed="x", inner=Inner(3), named={"a": Inner()}, rate=2.0)
    assert isinstance(outer.named["a"], Inner)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 1}, "part.cuont: no such key; expected one of needed, count, rate, flag"),
        ({"inner": {"sizes": 1}}, "part.inner.sizes: no such key; expected one of size"),
        ({"named": {"a": {"sizes": 1}}}, "part.named.a.sizes: no such key; expected one of size"),
        ({"count": "many"}, "part.count: Value 'many' of type 'str' could not be converted to Integer"),
        ({"count": 1.5}, "part.count: "),
        ({"count": None}, "part.count: "),
        ({"rate": "fast"}, "part.rate: "),
        ({"flag": "perhaps"}, "part.flag: "),
        ({"kind": "c"}, "part.kind: "),
        ({"maybe": "x"}, "part.maybe: "),
        ({"inner": 5}, "part.inner: "),
        ({"inner": [1]}, "part.inner: "),
        ({"named": [1]}, "part.named: "),
        ({"named": {"a": 5}}, "part.named.a: "),
        ({"named": {"a": [1]}}, "part.named.a: "),
        ({"words": {"a": 1}}, "part.words: "),
        ({"words": "x"}, "part.words: "),
        ({"needed": "???"}, "part.needed: a value is missing; set it"),
        ({"inner": {"size": 0}}, "part.inner.size: 0 given, expected at least 1"),
        ({"named": {"fine": {}, "bad": {"size": -1}}}, "part.named.bad.size: -1 given, expected at least 1"),
        ({"inner": {"size": 13}}, "part.inner: thirteen is not a size"),
    ],
    ids=str,
)
def test_resolve_refusals_name_the_whole_key(values, message):
    assert message in refusal(values, "part")
    assert message.removeprefix("part.") in refusal(values)


def test_resolve_takes_no_strange_keys():
    assert "no such key" in refusal({5: 1})
    assert "no such key" in refusal({"a.b": 1})


def test_saved_configs_load_as_they_were(tmp_path):
    config = load_stack_config(
        "tiny", ["placement.encoders.image.device=cuda:0", "limits.timeout_s=5", "adapters=null"]
    )
    save_config(config, tmp_path / "config.yaml")
    assert load_stack_config(tmp_path / "config.yaml") == config


def test_shipped_configs_are_found_by_name_and_load():
    assert "tiny" in shipped_configs()
    for name in shipped_configs():
        assert load_stack_config(name).name == name


# Stacks

PART = {"name": "x"}
STACK = {
    "name": "x",
    "encoders": {"image": PART},
    "projectors": {"input": {"image": PART}, "output": {"image": PART}},
    "generators": {"image": PART},
    "backbone": {"name": "x", "signal_tokens": {"image": 4}},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoders": {}}, "projectors.input.image is given without encoders.image; add it, or remove the first"),
        ({"encoders": {"image": PART, "audio": PART}}, "encoders.audio is given without projectors.input.audio"),
        ({"generators": {}}, "projectors.output.image is given without generators.image"),
        ({"backbone": {}}, "generators.image has no signal tokens; set backbone.signal_tokens.image to their number"),
        ({"backbone": {"signal_tokens": 5}}, "backbone.signal_tokens: 5 given, expected modality: number of tokens"),
        (
            {"backbone": {"signal_tokens": {"image": 4, "audio": 8}}},
            "backbone.signal_tokens.audio is given without generators.audio; add it, or remove the first",
        ),
        ({"placement": {"smell": {}}}, "placement: no stage 'smell' in this stack; there are: encoders.image"),
        ({"placement": {"backbone": {"dtype": "int"}}}, "placement.backbone.dtype: 'int' given, expected one of"),
        ({"limits": {"timeout_s": 0}}, "limits.timeout_s: 0.0 given, expected a finite number of more than 0"),
        ({"limits": {"image": {"max_pixels": 10**12}}}, "limits.image.max_pixels: 1,000,000,000,000 given"),
        ({"encoders": 5}, "encoders: "),
        ({"encoders": None}, "encoders: "),
        ({"backbone": None}, "backbone: "),
        ({"projectors": {"input": None}}, "projectors.input: "),
        ({"placement": {"backbone": None}}, "placement.backbone: "),
        ({"limits": None}, "limits: "),
    ],
    ids=str,
)  # fmt: skip
def test_stacks_that_do_not_fit_together_are_refused(change, message):
    with pytest.raises(ConfigError) as caught:
        resolve(StackConfig, {**STACK, **change})
    assert str(caught.value).startswith(message), str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_stack_stages_and_their_places():
    config = resolve(StackConfig, {**STACK, "placement": {"encoders.image": {"max_batch_size": 3}}})
    assert config.stages == ("encoders.image", "backbone", "generators.image")
    assert config.placed("encoders.image") == StagePlacement(max_batch_size=3)
    assert config.placed("backbone") == StagePlacement()


SENSES = {
    "encoders": {"image": {"name": "clip"}, "audio": {"name": "whisper"}},
    "projectors": {**STACK["projectors"], "input": {"image": {"name": "mlp"}, "audio": {"name": "mlp"}}},
}


def test_stages_of_one_kind_may_share_a_process():
    shared = {stage: {"process": "senses"} for stage in ("encoders.image", "encoders.audio")}
    config = resolve(StackConfig, {**STACK, **SENSES, "placement": shared})
    assert config.processes == {
        "senses": ("encoders.image", "encoders.audio"),
        "backbone": ("backbone",),
        "generators.image": ("generators.image",),
    }


@pytest.mark.parametrize(
    ("deploy", "processes"), [(None, 3), ("separate", 8), ("one-gpu", 3), ("autoscale", 5)], ids=str
)
def test_shipped_deployments_place_every_stage_of_the_default(deploy, processes):
    config = load_stack_config("tiny", deploy=deploy)
    assert set(config.placement) == set(config.stages)
    assert len(config.processes) == processes


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (
            {"encoders.image": {"process": "x"}, "generators.image": {"process": "x"}},
            "placement.encoders.image.process: 'x' is shared by encoders.image, generators.image, expected stages",
        ),
        ({"encoders.image": {"process": "backbone"}}, "'backbone' given, expected a name that is no stage's"),
        ({"encoders.image": {"process": " "}}, "' ' given, expected a name that is no stage's"),
        (
            {"encoders.image": {"process": "x", "replicas": 2}, "encoders.audio": {"process": "x"}},
            "replicas of encoders.image: 2, encoders.audio: 1; expected the same for all, or process: null",
        ),
    ],
)
def test_processes_that_cannot_be_shared_are_refused(placement, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve(StackConfig, {**STACK, **SENSES, "placement": placement})


def test_placements_can_be_overridden_by_path(tmp_path):
    path = tmp_path / "x.yaml"
    save_config(resolve(StackConfig, {**STACK, "placement": {"encoders.image": {"replicas": 2}}}), path)
    overrides = ["placement.encoders.image.device=cuda:1", "placement.backbone.max_queue=9"]
    config = load_stack_config(path, overrides)
    assert config.placement == {
        "encoders.image": StagePlacement(device="cuda:1", replicas=2),
        "backbone": StagePlacement(max_queue=9),
    }


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (StagePlacement, {"replicas": 0}),
        (StagePlacement, {"max_batch_size": 0}),
        (StagePlacement, {"max_queue": -1}),
        (StagePlacement, {"num_gpus": float("nan")}),
        (StagePlacement, {"num_cpus": -0.5}),
        (StagePlacement, {"max_wait_s": float("inf")}),
        (Limits, {"max_text_chars": 0}),
        (Limits, {"max_media": -1}),
        (Limits, {"timeout_s": float("nan")}),
        (Limits, {"timeout_s": -1.0}),
    ],
)
def test_numbers_out_of_range_are_refused(section, values):
    ((name, value),) = values.items()
    with pytest.raises(ConfigError, match=f"{name}: {value} given, expected"):
        section(**values)


# Components


class Part:
    @dataclass
    class Config:
        name: str = "part"
        size: int = 1


@pytest.fixture
def registry() -> Registry:
    return Registry("part", "anygpt.nothing", {"part": f"{__name__}:Part"})


def test_components_resolve_to_their_class_and_options(registry, monkeypatch):
    monkeypatch.setattr(Registry, "resolve", lambda self, name: Part)
    assert resolve_component(registry, {"name": "part", "size": 3}, "parts.a") == (Part, Part.Config("part", 3))
    with pytest.raises(ConfigError, match=r"parts\.a\.sizes: no such key; expected one of name, size"):
        resolve_component(registry, {"name": "part", "sizes": 3}, "parts.a")


@pytest.mark.parametrize("values", [None, {}, {"size": 1}, 5, "part", {"name": ""}, {"name": None}])
def test_components_need_a_name(registry, values):
    with pytest.raises(ConfigError, match=r"parts\.a: no name given; set parts\.a\.name to one of part"):
        resolve_component(registry, values, "parts.a")


def test_components_of_unknown_names_list_the_names_there_are(registry):
    with pytest.raises(RegistryError, match="no part is called 'prat'; there are: part"):
        resolve_component(registry, {"name": "prat"}, "parts.a")
