from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from anygpt.errors import CheckpointError
from pipelines.tiny.recipes.packaging import (
    PARTS,
    copy_halved,
    package_adapters,
    package_input_projector,
    package_parts,
)
from pipelines.tiny.recipes.recipes import RECIPES, run_recipes


def test_copies_are_halved_without_training_state_and_origin(tmp_path):
    source = tmp_path / "source"
    for folder in (source / "part", source / "state", source / "part" / "training_state"):
        folder.mkdir(parents=True)
        save_file({"x": torch.ones(3), "count": torch.tensor(7)}, folder / "w.safetensors", {"format": "pt"})
    (source / "config.json").write_text(json.dumps({"_name_or_path": "/home/me", "dtype": "float32", "size": 1}))
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("from before")
    copy_halved(source, target)
    assert {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()} == {
        "part/w.safetensors",
        "config.json",
    }
    tensors = load_file(target / "part" / "w.safetensors")
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {"x": torch.float16, "count": torch.int64}
    assert json.loads((target / "config.json").read_text()) == {"dtype": "float16", "size": 1}


def test_missing_parts_are_named_with_the_command_that_makes_them(tmp_path):
    with pytest.raises(CheckpointError, match=r"clip is missing; make it with: anygpt pretrain clip"):
        package_parts(tmp_path, tmp_path / "weights")
    with pytest.raises(CheckpointError, match="anygpt pretrain instruct"):
        package_adapters(tmp_path / "instruct", tmp_path / "weights")
    with pytest.raises(CheckpointError, match="anygpt pretrain align_beats"):
        package_input_projector(tmp_path / "align_beats", "audio", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
    assert {recipe for _, recipe in PARTS.values()} <= set(RECIPES)


def test_one_input_projector_becomes_an_overlay(tmp_path):
    tensors = {"audio.w": torch.ones(2), "image.w": torch.zeros(2)}
    save_file(tensors, tmp_path / "input_projectors.safetensors")
    package_input_projector(tmp_path, "audio", tmp_path / "overlay")
    (packed,) = load_file(tmp_path / "overlay" / "input_projectors.safetensors").items()
    assert packed[0] == "audio.w"
    assert packed[1].dtype == torch.float16


def test_recipes_run_in_order_and_stop_where_one_is_stopped(tmp_path, monkeypatch, capsys):
    ran: list[str] = []

    def stopped(out: Path) -> None:
        raise KeyboardInterrupt

    for name in RECIPES:
        monkeypatch.setitem(RECIPES, name, lambda out, name=name: ran.append(name))
    run_recipes("all", tmp_path)
    assert ran == list(RECIPES)
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()[::2]] == ran
    monkeypatch.setitem(RECIPES, "clip", stopped)
    ran.clear()
    with pytest.raises(KeyboardInterrupt):
        run_recipes("all", tmp_path)
    assert ran == ["autoencoder"]
