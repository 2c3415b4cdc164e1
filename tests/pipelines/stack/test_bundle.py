from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from anygpt.config.loading import load_stack_config
from anygpt.config.schema import StackConfig
from anygpt.errors import CheckpointError
from pipelines.stack import bundle
from pipelines.stack.backbone_stage import BackboneStage
from pipelines.stack.build import build_stack
from pipelines.stack.bundle import load_bundle, save_bundle

FILES = {
    "README.md",
    "config.yaml",
    "input_projectors.safetensors",
    "lora/adapter_config.json",
    "lora/adapter_model.safetensors",
    "output_projectors.safetensors",
    "signal_tokens.safetensors",
}
TENSOR_FILES = sorted(name for name in FILES if name.endswith(".safetensors"))


@pytest.fixture(scope="module")
def stage(random_config: StackConfig) -> BackboneStage:
    torch.manual_seed(0)
    return build_stack(random_config).backbone


@pytest.fixture
def changed_stage(stage: BackboneStage) -> Iterator[BackboneStage]:
    """The same stage with other adapters."""
    saved = {name: tensor.clone() for name, tensor in stage.state_dict().items()}
    change(stage)
    yield stage
    stage.load_state_dict(saved)


def adapters(stage: BackboneStage) -> dict[str, torch.nn.Parameter]:
    """What the bundle should hold, by its name in the stage."""
    parts = ("input_projectors.", "output_projectors.", "backbone.signal_tokens.")
    return {name: value for name, value in stage.named_parameters() if name.startswith(parts) or "lora_" in name}


def change(stage: BackboneStage) -> None:
    with torch.no_grad():
        for parameter in adapters(stage).values():
            parameter.copy_((parameter + 1.0).float())


def hashes(stage: BackboneStage) -> dict[str, str]:
    return {name: hashlib.sha256(t.numpy().tobytes()).hexdigest() for name, t in stage.state_dict().items()}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_bundle_holds_every_adapter_and_nothing_else(stage, random_config, tmp_path):
    save_bundle(stage, random_config, tmp_path / "new" / "bundle")
    folder = tmp_path / "new" / "bundle"
    assert files(folder) == FILES
    before = hashes(stage)
    change(stage)
    assert {name for name, value in hashes(stage).items() if value != before[name]} == set(adapters(stage))
    load_bundle(stage, str(folder))
    assert hashes(stage) == before


def test_bundle_config_is_the_stacks_own(stage, random_config, tmp_path):
    save_bundle(stage, random_config, tmp_path)
    assert load_stack_config(tmp_path, allow_outside=True) == random_config


def test_bundle_card_counts_what_was_trained(stage, random_config, tmp_path):
    save_bundle(stage, random_config, tmp_path)
    counts = {name: parameter.numel() for name, parameter in adapters(stage).items()}
    lora = sum(count for name, count in counts.items() if "lora_" in name)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"{sum(counts.values()) - lora:,} parameters in projectors and signal tokens, {lora:,} in LoRA" in card
    assert "text, image in; text, image out" in card


def test_bundle_saved_over_an_older_one_replaces_it_and_keeps_the_training_state(
    stage, changed_stage, random_config, tmp_path
):
    (tmp_path / "training_state").mkdir()
    (tmp_path / "training_state" / "state.safetensors").write_bytes(b"state")
    save_bundle(changed_stage, random_config, tmp_path)
    wanted = hashes(changed_stage)
    change(changed_stage)
    save_bundle(changed_stage, random_config, tmp_path)
    assert files(tmp_path) == FILES | {"training_state/state.safetensors"}
    load_bundle(changed_stage, str(tmp_path))
    assert hashes(changed_stage) != wanted
    assert (tmp_path / "training_state" / "state.safetensors").read_bytes() == b"state"


class KilledError(BaseException):
    """Stands for a kill: nothing catches it, and nothing is tidied up after it."""


def kill_at_replace(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Die instead of moving the `count`-th file to its place, without removing the temporary folder."""
    replace, calls = Path.replace, []

    def dying(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) > count:
            raise KilledError
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", dying)
    monkeypatch.setattr(bundle.shutil, "rmtree", lambda *arguments, **options: None)


@pytest.mark.parametrize("count", range(6))
def test_bundle_killed_while_it_is_saved_is_never_loaded(stage, random_config, tmp_path, monkeypatch, count):
    with monkeypatch.context() as patched:
        kill_at_replace(patched, count)
        with pytest.raises(KilledError):
            save_bundle(stage, random_config, tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.yaml is missing, so this is no bundle or its saving was inter"):
        load_bundle(stage, str(tmp_path))


@pytest.mark.parametrize("count", range(6))
def test_bundle_killed_while_it_replaces_another_is_refused_and_can_be_saved_again(
    changed_stage, random_config, tmp_path, monkeypatch, count
):
    save_bundle(changed_stage, random_config, tmp_path)
    change(changed_stage)
    with monkeypatch.context() as patched:
        kill_at_replace(patched, count)
        with pytest.raises((KilledError, CheckpointError)):  # the old lora folder is in the way of the new one
            save_bundle(changed_stage, random_config, tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.yaml is missing"):
        load_bundle(changed_stage, str(tmp_path))
    wanted = hashes(changed_stage)
    save_bundle(changed_stage, random_config, tmp_path)
    load_bundle(changed_stage, str(tmp_path))
    assert hashes(changed_stage) == wanted


def test_bundle_failure_before_moving_leaves_the_older_one_whole(changed_stage, random_config, tmp_path, monkeypatch):
    save_bundle(changed_stage, random_config, tmp_path)
    wanted = hashes(changed_stage)
    change(changed_stage)
    with monkeypatch.context() as patched:
        patched.setattr(bundle, "model_card", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            save_bundle(changed_stage, random_config, tmp_path)
    assert files(tmp_path) == FILES
    load_bundle(changed_stage, str(tmp_path))
    assert hashes(changed_stage) == wanted


@pytest.mark.parametrize("file", TENSOR_FILES)
def test_bundle_loads_strictly(stage, random_config, tmp_path, file):
    save_bundle(stage, random_config, tmp_path)
    path = tmp_path / file
    tensors = load_file(path)
    name = min(tensors)
    for broken, message in (
        ({key: value for key, value in tensors.items() if key != name}, "is missing"),
        ({**tensors, "stranger": torch.zeros(1)}, "tensor 'stranger' is unexpected"),
        ({**tensors, name: torch.zeros(1)}, "has shape (1,), expected"),
    ):
        save_file(broken, path)
        with pytest.raises(CheckpointError) as caught:
            load_bundle(stage, str(tmp_path))
        assert message in str(caught.value)
        assert file in str(caught.value)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="is damaged"):
        load_bundle(stage, str(tmp_path))
    path.unlink()
    with pytest.raises(CheckpointError, match="is missing, expected a safetensors file"):
        load_bundle(stage, str(tmp_path))


def test_signal_tokens_of_other_groups_are_refused_though_their_number_is_right(stage, random_config, tmp_path):
    save_bundle(stage, random_config, tmp_path)
    path = tmp_path / "signal_tokens.safetensors"
    save_file(load_file(path), path, {"groups": "image:1,audio:3"})
    with pytest.raises(
        CheckpointError, match=r"made for backbone\.signal_tokens image:1,audio:3, the config has image:4"
    ):
        load_bundle(stage, str(tmp_path))


def test_bundle_in_a_files_place_is_one_line(stage, random_config, tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match=r"cannot be written .*; give another folder") as caught:
            save_bundle(stage, random_config, folder)
        assert len(str(caught.value).splitlines()) == 1


def test_bundle_of_no_place_is_one_line(stage):
    with pytest.raises(CheckpointError, match="adapter bundle '/no/such': no such folder") as caught:
        load_bundle(stage, "/no/such")
    assert len(str(caught.value).splitlines()) == 1


def test_an_overlay_takes_the_place_of_its_projectors_alone(changed_stage, stage, random_config, tmp_path):
    save_bundle(changed_stage, random_config, tmp_path / "bundle")
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    theirs = {
        f"image.{key}": torch.full_like(t, 3.0) for key, t in stage.input_projectors["image"].state_dict().items()
    }
    save_file(theirs, overlay / "input_projectors.safetensors")
    before = hashes(changed_stage)
    load_bundle(changed_stage, str(tmp_path / "bundle"), [str(overlay)])
    assert all((tensor == 3.0).all() for tensor in changed_stage.input_projectors.state_dict().values())
    after = hashes(changed_stage)
    assert {name for name in before if before[name] != after[name]} == {f"input_projectors.{key}" for key in theirs}
    save_file({"image.stranger": torch.zeros(1)}, overlay / "input_projectors.safetensors")
    with pytest.raises(CheckpointError, match=r"is missing|is unexpected"):
        load_bundle(changed_stage, str(tmp_path / "bundle"), [str(overlay)])
    with pytest.raises(CheckpointError, match="no such folder"):
        load_bundle(changed_stage, str(tmp_path / "bundle"), ["/no/such"])


def test_an_untrained_input_stays_as_it_is_whatever_the_bundle_has(changed_stage, random_config, tmp_path):
    save_bundle(changed_stage, random_config, tmp_path)
    path = tmp_path / "input_projectors.safetensors"
    save_file({"image.of_another_encoder": torch.zeros(2)}, path)
    before = hashes(changed_stage)
    change(changed_stage)
    kept = {name: value for name, value in hashes(changed_stage).items() if name.startswith("input_projectors.")}
    load_bundle(changed_stage, str(tmp_path), untrained_inputs=["image"])
    assert hashes(changed_stage) == {**before, **kept}


def test_a_saved_bundle_needs_no_overlays(stage, random_config, tmp_path):
    save_bundle(stage, replace(random_config, adapter_overlays=["elsewhere"]), tmp_path)
    assert load_stack_config(tmp_path / "config.yaml", allow_outside=True).adapter_overlays == []
