"""A bundle's config names nothing outside the bundle but hub models and `embedded:…`, unless the user says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from anygpt.checkpoints.locate import locate
from anygpt.config.bundles import is_bundle, stands_alone
from anygpt.config.loading import load_stack_config
from anygpt.errors import CheckpointError, ConfigError

STACK = """
name: theirs
encoders: {{image: {encoder}}}
projectors: {{input: {{image: {{name: mlp}}}}, output: {{image: {{name: mlp}}}}}}
backbone: {{name: causal_lm, pretrained: some-org/some-model, signal_tokens: {{image: 4}}{backbone}}}
generators: {{image: {{name: stable_diffusion, pretrained: 'embedded:tiny/stable_diffusion', scheduler: checkpoint}}}}
placement: {{encoders.image: {{process: encoders, device: "cuda:0"}}}}
{rest}
"""


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle's folder, beside the working directory, which has folders of common names."""
    here = tmp_path / "here"
    for name in ("encoders", "clip", "checkpoint", "main", "theirs", "cuda:0"):
        (here / name).mkdir(parents=True)
    for name in ("mine/model", "model"):
        (here / name).mkdir(parents=True)
        (here / name / "config.json").write_text("{}", "utf-8")
    (here / "model.pt").touch()
    monkeypatch.chdir(here)
    (tmp_path / "bundle").mkdir()
    write(tmp_path / "bundle")
    return tmp_path / "bundle"


def write(
    bundle: Path, encoder: str = "{name: clip, pretrained: openai/clip}", backbone: str = "", rest: str = ""
) -> None:
    text = STACK.format(encoder=encoder, backbone=backbone and f", {backbone}", rest=rest)
    (bundle / "config.yaml").write_text(text, "utf-8")


def test_hub_names_embedded_weights_and_words_are_taken(bundle):
    words = "chat_template: \"/{{ x }} ../ ~ http://a/b ${y}\", media_wrap: '/{media}'"
    write(bundle, "{name: clip, pretrained: gpt2, revision: main}", words, "adapter_overlays: [some-org/overlay]")
    assert load_stack_config(bundle).backbone["media_wrap"] == "/{media}"
    assert stands_alone(bundle)


OUTSIDE = [
    "/etc/model", "~/model", "~root/model", "../model", "./model", ".", "..", "a/../../b", "C:\\model", "c:/model",
    "\\\\host\\share", "a\\..\\b", "https://example.org/model", "http:/example.org", "file:///etc/passwd", "file:/etc",
    "ftp://example.org/x", "embedded:/etc", "embedded:../model", "embedded:tiny/../../x", "//host/x",
]  # fmt: skip
HERE = ["mine/model", "model", "model.pt", "mine/model/config.json"]


@pytest.mark.parametrize(
    ("named", "reason"),
    [*((name, "is a path or an address") for name in OUTSIDE), *((name, "is on this machine") for name in HERE)],
)
def test_places_outside_the_bundle_are_refused(bundle, named, reason):
    write(bundle, f"{{name: clip, pretrained: '{named}'}}")
    with pytest.raises(ConfigError) as caught:
        load_stack_config(bundle)
    assert str(caught.value) == (
        f"encoders.image.pretrained: '{named}' given by the bundle '{bundle}', which {reason}; a bundle names hub "
        "models and embedded:… alone. If you trust it, give --allow-outside on the command line, or allow_outside=True "
        "in Python"
    )
    assert not stands_alone(bundle)
    assert load_stack_config(bundle, allow_outside=True).encoders["image"]["pretrained"] == named
    assert load_stack_config(bundle, ["encoders.image.pretrained=some-org/model"]).name == "theirs"
    with pytest.raises(ConfigError, match=r"encoders\.image\.pretrained: "):
        load_stack_config(bundle, ["encoders.image.hidden_layer=-1", "backbone.pretrained=/my/own"])


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"encoder": "{name: x, options_of_a_new_part: {files: [a/b, /etc/passwd]}}"},
         "encoders.image.options_of_a_new_part.files.1"),
        ({"encoder": "{name: sampled_frames, frame_encoder: {name: clip, pretrained: /etc}}"},
         "encoders.image.frame_encoder.pretrained"),
        ({"encoder": "{name: concat, parts: [{name: clap, pretrained: ~/a}, {name: clap, pretrained: a}]}"},
         "encoders.image.parts.0.pretrained"),
        ({"encoder": "{name: x, /etc/passwd: 1}"}, "encoders.image./etc/passwd"),
        ({"rest": "adapters: /etc"}, "adapters"),
        ({"rest": "adapter_overlays: [a/b, ../mine]"}, "adapter_overlays.1"),
        ({"rest": "x: &x [/etc]\nadapter_overlays: *x"}, "x.0"),
        ({"rest": "extends: ../mine.yaml"}, "extends"),
        ({"rest": "extends: /etc/mine.yaml"}, "extends"),
        ({"rest": "extends: mine.yaml"}, "extends"),
        ({"rest": "service: {allowed_hosts: [evil.example.org]}"}, "service.allowed_hosts.0"),
        ({"rest": "service: {allowed_origins: ['*']}"}, "service.allowed_origins.0"),
    ],
)  # fmt: skip
def test_every_key_at_every_depth_is_looked_at(bundle, change, key):
    write(bundle, **change)
    with pytest.raises(ConfigError) as caught:
        load_stack_config(bundle)
    assert str(caught.value).startswith(f"{key}: '")
    assert "--allow-outside" in str(caught.value)


def test_a_config_file_inside_a_bundle_is_the_bundles(bundle):
    write(bundle, "{name: clip, pretrained: /etc}")
    (bundle / "signal_tokens.safetensors").touch()
    assert is_bundle(bundle / "config.yaml")
    with pytest.raises(ConfigError, match=r"encoders\.image\.pretrained: '/etc' given by the bundle"):
        load_stack_config(bundle / "config.yaml")


def test_a_config_of_ones_own_names_anything(bundle, tmp_path):
    write(bundle, "{name: clip, pretrained: /etc}")
    (bundle / "config.yaml").rename(tmp_path / "mine.yaml")
    assert load_stack_config(tmp_path / "mine.yaml").encoders["image"]["pretrained"] == "/etc"


def test_a_bundle_extends_what_ships(bundle):
    (bundle / "config.yaml").write_text("extends: tiny\nname: theirs\n", "utf-8")
    assert load_stack_config(bundle).name == "theirs"
    (bundle / "config.yaml").write_text("extends: tiny\nencoders: {image: {pretrained: /etc}}\n", "utf-8")
    with pytest.raises(ConfigError, match=r"encoders\.image\.pretrained"):
        load_stack_config(bundle)


def test_a_bundles_deployment_and_overrides_are_the_users(bundle, tmp_path):
    write(bundle, rest="adapters: /theirs")
    deployment = tmp_path / "deploy.yaml"
    deployment.write_text("placement: {backbone: {process: ../x}}\n", "utf-8")
    config = load_stack_config(bundle, ["adapters=/mine"], str(deployment))
    assert (config.adapters, config.placed("backbone").process) == ("/mine", "../x")


@pytest.mark.parametrize("name", ["embedded:../weights/tiny/clip", "embedded:/etc", "embedded:", "embedded:tiny/../.."])
def test_embedded_names_lead_to_what_ships_alone(name):
    with pytest.raises(CheckpointError, match=f"pretrained: no weights '{name}' ship with anygpt; there are: tiny/"):
        locate(name)
