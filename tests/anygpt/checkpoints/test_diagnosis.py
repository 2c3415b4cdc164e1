"""The usual mistakes with checkpoints, each told from what is there, with its fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import save_file

from anygpt.checkpoints.diagnosis import PIPELINE, TOKENIZERS, diagnose
from anygpt.checkpoints.files import weights_advice

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
FAILURE = OSError("a library's own words")


def write(folder: Path, **files: Any) -> Path:
    """Files by name ("__" stands for a dot, "___" for a slash): text, or JSON of anything else; weights of None."""
    for name, content in files.items():
        path = folder / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            save_file({"a": torch.zeros(2)}, path)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return folder


MODEL: dict[str, Any] = {"config__json": {"model_type": "llama"}, "model__safetensors": None}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "the folder is empty; copy or download the checkpoint again"),
        ({"models___config__json": {}}, "the folder has no config.json; its folder 'models' has one, give that"),
        (
            {"snapshots___abc___config__json": {}, "refs___main": "abc"},
            "this is the hub cache's own folder, give '{folder}/snapshots/abc' or the hub name",
        ),
        ({"model_index__json": {"_class_name": "XPipeline"}}, "this is a diffusers pipeline (XPipeline)"),
        ({"signal_tokens__safetensors": None}, "this is an adapter bundle, give it as adapters= or --config"),
        ({"adapter_config__json": {}}, "this is a LoRA alone; merge it with its base model, save the result"),
        ({"model__safetensors": None}, "it holds model.safetensors alone; copy the other files from where"),
        ({"model__gguf": "GGUF"}, "it holds model.gguf alone"),
        ({"README__md": "words"}, "the folder has no config.json; expected the folder of a whole checkpoint"),
        ({**MODEL, "model__safetensors": POINTER}, "model.safetensors is a Git LFS pointer, not the file itself; run"),
        ({"config__json": POINTER}, "config.json is a Git LFS pointer"),
        ({**MODEL, "config__json": {"hidden_size": 1}}, "its config.json names no model_type; get the file again"),
        ({**MODEL, "config__json": "{"}, "its config.json is damaged (Expecting property name"),
        ({**MODEL, "config__json": [1]}, "its config.json holds a list, expected a JSON object"),
        ({"config__json": {"model_type": "x"}}, "no weights; copy or download the checkpoint again"),
        ({"config__json": {"model_type": "x"}, "model__gguf": "GGUF"}, "only model.gguf, a GGUF file, which is not"),
        ({"config__json": {"model_type": "x"}, "tf_model__h5": "x"}, "only tf_model.h5; convert the checkpoint to"),
        (
            {"config__json": {"model_type": "x"}, "model__fp16__safetensors": None},
            "no plain weights, only model.fp16.safetensors; rename them without the variant",
        ),
        ({**MODEL, "model__safetensors": "damaged"}, "model.safetensors is cut off or damaged; copy or"),
        (
            {"config__json": {"model_type": "x"}, "model-00001-of-00002__safetensors": None,
             "model__safetensors__index__json": {"weight_map": {"b": "model-00002-of-00002.safetensors"}}},
            "model-00002-of-00002.safetensors is missing, which the index names",
        ),
        (MODEL, "the folder has no tokenizer.json; copy it from where the checkpoint is from"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_folders_of_models(tmp_path, files, told):
    (tmp_path / "x").mkdir()
    folder = write(tmp_path / "x", **files)
    message = diagnose(FAILURE, str(folder), needed=[TOKENIZERS])
    assert told.format(folder=folder) in message
    assert len(message.splitlines()) == 1


def test_a_whole_folder_tells_nothing(tmp_path):
    write(tmp_path, **MODEL, tokenizer__json={})
    assert diagnose(FAILURE, str(tmp_path), needed=[TOKENIZERS]) is None
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    assert diagnose(FAILURE, str(tmp_path)) is None


def test_folders_of_pipelines(tmp_path):
    pipeline = write(tmp_path / "all" / "pipeline", model_index__json={"_class_name": "X"}, unet___config__json={})
    assert diagnose(FAILURE, str(pipeline), wanted=PIPELINE) is None
    assert "no model_index.json; its folder 'pipeline' has one, give that" in diagnose(
        FAILURE, str(tmp_path / "all"), wanted=PIPELINE
    )
    assert f"this is a part of the pipeline '{pipeline}', give that" in diagnose(
        FAILURE, str(pipeline / "unet"), wanted=PIPELINE
    )
    model = write(tmp_path / "model", **MODEL)
    assert "no model_index.json; this is a single model of type 'llama'" in diagnose(
        FAILURE, str(model), wanted=PIPELINE
    )


@pytest.mark.parametrize(
    ("name", "wanted", "told"),
    [
        ("sd.safetensors", PIPELINE, "from_single_file(FILE).save_pretrained(FOLDER)"),
        ("sd.ckpt", PIPELINE, "sd.ckpt is a single file; make a folder of it once with diffusers'"),
        ("llama.gguf", "config.json", "llama.gguf is a GGUF file, which is not read"),
        ("lora.safetensors", "config.json", "lora.safetensors is a single file, expected a folder with config.json"),
    ],
)
def test_single_files(tmp_path, name, wanted, told):
    (tmp_path / name).write_text("x", "utf-8")
    assert told in diagnose(FAILURE, str(tmp_path / name), wanted=wanted)
    (tmp_path / wanted).write_text("{}", "utf-8")
    message = diagnose(FAILURE, str(tmp_path / name), wanted=wanted)
    assert message == f"a file was given; give its folder, '{tmp_path}'"


def raised(kind: type[Exception]) -> Exception:
    """As transformers wraps what the hub's client raises."""
    error = OSError("a library's own words")
    error.__cause__ = kind.__new__(kind)
    return error


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("/no/such/folder", FAILURE, "there is no such folder, and no hub name looks like that"),
        ("./mine", FAILURE, "there is no such folder"),
        ("a/b/c", FAILURE, "there is no such folder"),
        ("what is this?", FAILURE, "there is no such folder"),
        (" ", FAILURE, "no name given; give a folder or a hub name"),
        ("https://huggingface.co/openai/clip/tree/main", FAILURE, "give the hub name alone, openai/clip"),
        ("org/typo", raised(RepositoryNotFoundError), "no such model on the hub; correct the name, or log in if it is"),
        ("org/gated", raised(GatedRepoError), "accept its terms on the hub and log in with 'hf auth login'"),
        ("org/model", raised(LocalEntryNotFoundError), "not in the hub's cache, and the hub cannot be reached"),
    ],
)
def test_names(monkeypatch, name, error, told):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    assert told in diagnose(error, name)
    assert diagnose(FAILURE, "org/model") is None


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_name_that_must_not_be_fetched_is_told_by_the_variable(monkeypatch, variable):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv(variable, "1")
    assert diagnose(FAILURE, "org/typo") == (
        f"there is no such folder here, it is not in the hub's cache, and {variable}=1 keeps from fetching it; "
        "correct the name, or unset the variable"
    )


def test_variants_are_told_with_the_setting(tmp_path):
    write(tmp_path, diffusion_pytorch_model__fp16__safetensors=None)
    assert weights_advice(tmp_path, None, "generators.image") == (
        "no plain weights, only diffusion_pytorch_model.fp16.safetensors; set generators.image.variant=fp16"
    )
    assert weights_advice(tmp_path, "fp16", "generators.image") is None
    assert "set generators.image.variant=fp16" in weights_advice(tmp_path, "bf16", "generators.image")
