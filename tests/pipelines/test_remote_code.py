"""A checkpoint's own Python code never runs unasked, nor does anything else than its weights: for every part."""

from __future__ import annotations

import ast
import io
import json
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ClapAudioConfig, ClapAudioModel, ClapFeatureExtractor, HubertConfig, Wav2Vec2FeatureExtractor

from anygpt.checkpoints.locate import WEIGHTS_DIR
from anygpt.checkpoints.trust import remote_code, remote_code_allowed
from anygpt.config.loading import load_stack_config, save_config
from anygpt.config.resolve import resolve
from anygpt.config.schema import StackConfig
from anygpt.errors import CheckpointError, ConfigError, RequestError
from anygpt.messages import Message
from pipelines.cli import main as cli
from pipelines.planning.plan import make_plan
from pipelines.stack.build import build_backbone, build_encoder, build_generator
from tests.encoders.test_clap import AUDIO

ROOT = Path(__file__).parent.parent.parent
CODE = """
from pathlib import Path
Path({mark!r}).write_text("ran")
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers import CLIPImageProcessor, ClapFeatureExtractor

class Config(LlamaConfig):
    model_type = "stranger"

class Model(LlamaForCausalLM):
    config_class = Config

class Tokenizer(PreTrainedTokenizerFast): pass
class Processor(CLIPImageProcessor): pass
class Extractor(ClapFeatureExtractor): pass
"""
CLASSES = {
    "AutoConfig": "stranger.Config",
    "AutoModel": "stranger.Model",
    "AutoModelForCausalLM": "stranger.Model",
    "AutoTokenizer": [None, "stranger.Tokenizer"],
    "AutoImageProcessor": "stranger.Processor",
    "AutoFeatureExtractor": "stranger.Extractor",
    "AutoProcessor": "stranger.Processor",
}
# What makes a file's class one that the libraries do not have.
UNKNOWN = {
    "config.json": {"model_type": "stranger"},
    "preprocessor_config.json": {"image_processor_type": "Stranger", "feature_extractor_type": "Stranger"},
    "tokenizer_config.json": {"tokenizer_class": "Stranger"},
}


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once a stranger's code has run; "y" waits on standard input."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    return tmp_path / "ran"


def copied(part: str, to: Path) -> Path:
    return Path(shutil.copytree(WEIGHTS_DIR / "tiny" / part, to / part))


def bring_code(folder: Path, mark: Path, *names: str) -> None:
    """Put code beside every JSON file (of those names), which names classes in it."""
    for file in sorted(folder.rglob("*.json")):
        if file.name in (names or UNKNOWN):
            edit(file, auto_map=CLASSES, **(UNKNOWN[file.name] if names else {}))
            (file.parent / "stranger.py").write_text(CODE.format(mark=str(mark)), "utf-8")


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), "utf-8")


def stack(part: str, section: dict[str, Any], **options: Any) -> StackConfig:
    """A stack in which only one part matters: "encoders.audio", "backbone" or "generators.image"."""
    kind, _, modality = part.partition(".")
    values: dict[str, Any] = {"name": "x", "backbone": {"name": "causal_lm", "pretrained": "x"}}
    if kind == "backbone":
        values["backbone"] = {"name": "causal_lm", **section}
    else:
        direction = {"encoders": "input", "generators": "output"}[kind]
        values |= {kind: {modality: section}, "projectors": {direction: {modality: {"name": "mlp"}}}}
        if kind == "generators":
            values["backbone"]["signal_tokens"] = {modality: 4}
    return replace(resolve(StackConfig, values), **options)


def build(part: str, section: dict[str, Any], **options: Any) -> Any:
    kind, _, modality = part.partition(".")
    config = stack(part, section, **options)
    if kind == "backbone":
        return build_backbone(config)
    return (build_encoder if kind == "encoders" else build_generator)(config, modality)


def tiny_hubert(folder: Path) -> Path:
    HubertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def tiny_clap(folder: Path) -> Path:
    ClapAudioModel(ClapAudioConfig(**AUDIO)).save_pretrained(folder)
    ClapFeatureExtractor().save_pretrained(folder)
    return folder


Make = Callable[[Path], tuple[Path, dict[str, Any]]]


def plain(part: str, name: str, **options: Any) -> Make:
    def make(to: Path) -> tuple[Path, dict[str, Any]]:
        folder = copied(part, to)
        return folder, {"name": name, "pretrained": str(folder), **options}

    return make


def frames(to: Path) -> tuple[Path, dict[str, Any]]:
    folder, section = plain("clip", "clip")(to)
    return folder, {"name": "sampled_frames", "frame_encoder": section}


def hubert(to: Path) -> tuple[Path, dict[str, Any]]:
    folder = tiny_hubert(to / "hubert")
    return folder, {"name": "hubert", "pretrained": str(folder)}


def clap(to: Path) -> tuple[Path, dict[str, Any]]:
    folder = tiny_clap(to / "clap")
    return folder, {"name": "clap", "pretrained": str(folder)}


def inner(make: Make) -> Make:
    """The second part of a `concat`."""

    def made(to: Path) -> tuple[Path, dict[str, Any]]:
        folder, section = make(to)
        first = {"name": "whisper", "pretrained": "embedded:tiny/whisper", "max_duration_s": 2.0}
        return folder, {"name": "concat", "parts": [first, {**section, "max_duration_s": 2.0}]}

    return made


WITH_AUTO_CLASSES = [
    ("encoders.image", plain("clip", "clip"), "config.json"),
    ("encoders.image", plain("clip", "clip"), "preprocessor_config.json"),
    ("encoders.audio", plain("whisper", "whisper"), "config.json"),
    ("encoders.audio", hubert, "config.json"),
    ("encoders.audio", clap, "config.json"),
    ("encoders.audio", clap, "preprocessor_config.json"),
    ("encoders.audio", inner(hubert), "config.json"),
    ("encoders.audio", inner(clap), "config.json"),
    ("encoders.audio", inner(plain("whisper", "whisper")), "config.json"),
    ("encoders.video", frames, "config.json"),
    ("encoders.video", frames, "preprocessor_config.json"),
    ("backbone", plain("language_model", "causal_lm"), "config.json"),
    ("backbone", plain("language_model", "causal_lm"), "tokenizer_config.json"),
]


@pytest.mark.parametrize(("part", "make", "file"), WITH_AUTO_CLASSES)
def test_code_of_every_part_is_refused_in_one_line_that_names_it(tmp_path, mark, part, make, file):
    folder, section = make(tmp_path)
    bring_code(folder, mark, file)
    with pytest.raises(CheckpointError) as refused:
        build(part, section)
    message = str(refused.value)
    assert f"'{folder}' wants to run its own Python code (" in message
    assert f"(stranger.Config in {file}, stranger.Model in {file}, stranger.Tokenizer in {file}, …)" in message
    assert message.endswith("give --trust-remote-code on the command line, or trust_remote_code=True in Python")
    assert len(message.splitlines()) == 1
    assert not mark.exists()
    assert sys.stdin.readline() == "y\n"


LOADABLE = [
    ("encoders.image", plain("clip", "clip")),
    ("encoders.audio", plain("whisper", "whisper", max_duration_s=2.0)),
    ("encoders.audio", plain("beats", "beats")),
    ("encoders.points", plain("ulip2", "ulip2", num_points=1024)),
    ("encoders.video", frames),
    ("backbone", plain("language_model", "causal_lm")),
    ("generators.image", plain("stable_diffusion", "stable_diffusion")),
    ("generators.video", plain("zeroscope", "zeroscope", frames=8, max_pixels=16384)),
    (
        "generators.audio",
        plain("audioldm2", "audioldm2", generated_tokens=4, prompt_tokens=16, duration_s=1.0, vocoder="griffin_lim",
              mels={"bands": 80, "hop_size": 256}),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("part", "make"), LOADABLE)
def test_code_that_is_not_needed_does_not_run_and_the_libraries_classes_load(tmp_path, mark, part, make):
    folder, section = make(tmp_path)
    bring_code(folder, mark)
    assert build(part, section) is not None
    assert not mark.exists()


GENERATORS = [(part, make) for part, make in LOADABLE if part.startswith("generators")]


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(("part", "make"), GENERATORS)
def test_no_generator_runs_a_pipeline_or_module_of_a_checkpoints_own(tmp_path, mark, part, make, trusted):
    folder, section = make(tmp_path)
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    for name in ("_class_name", "unet", "vae", "scheduler", "tokenizer"):
        own = index[name][-1] if isinstance(index[name], list) else index[name]
        edit(folder / "model_index.json", **{**index, name: ["stranger", own]})
        for place in (folder, folder / name):
            if place.is_dir():
                (place / "stranger.py").write_text(CODE.format(mark=str(mark)), "utf-8")
        with pytest.raises(CheckpointError) as refused:
            build(part, section, trust_remote_code=trusted)
        assert str(refused.value) == (
            f"{folder}: wants to run its own Python code ('{name}' by stranger.py in its model_index.json), which no "
            "generator runs; give a checkpoint whose parts are of diffusers' and transformers' classes"
        )
    assert not mark.exists()


def test_code_runs_for_those_who_ask_for_it(tmp_path, mark):
    folder, section = plain("language_model", "causal_lm")(tmp_path)
    bring_code(folder, mark, "config.json", "tokenizer_config.json")
    backbone = build("backbone", section, trust_remote_code=True)
    assert type(backbone._base).__name__ == "Model"
    assert mark.read_text("utf-8") == "ran"
    assert not remote_code_allowed()


def test_a_language_model_that_leads_to_another_one_is_refused(tmp_path, mark):
    folder, section = plain("language_model", "causal_lm")(tmp_path)
    adapter = {
        "base_model_name_or_path": "/etc/other",
        "peft_type": "LORA",
        "auto_mapping": {"parent_library": "stranger"},
    }
    (folder / "adapter_config.json").write_text(json.dumps(adapter), "utf-8")
    for with_config in (True, False):
        if not with_config:
            (folder / "config.json").unlink()
        with pytest.raises(
            CheckpointError, match=r"holds an adapter \(adapter_config\.json\) for '/etc/other', expected"
        ):
            build("backbone", section)


@pytest.mark.parametrize(
    ("part", "make", "config"),
    [
        ("encoders.image", plain("clip", "clip"), "config.json"),
        ("backbone", plain("language_model", "causal_lm"), "config.json"),
        ("generators.image", plain("stable_diffusion", "stable_diffusion"), "text_encoder/config.json"),
    ],
)
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_kernels_from_the_hub_are_refused(tmp_path, mark, part, make, config, key):
    folder, section = make(tmp_path)
    edit(folder / config, **{key: "some-org/kernel"})
    with pytest.raises(
        CheckpointError, match=r"wants to run kernels from the hub \(some-org/kernel\), which are not run"
    ):
        build(part, section)


def test_trust_goes_with_the_config_and_into_no_file(tmp_path):
    config = load_stack_config("tiny", trust_remote_code=True)
    assert pickle.loads(pickle.dumps(replace(config, adapters=None))).trust_remote_code  # to Ray's processes
    save_config(config, tmp_path / "config.yaml")
    assert "trust" not in (tmp_path / "config.yaml").read_text("utf-8")
    assert not load_stack_config(tmp_path / "config.yaml").trust_remote_code
    (tmp_path / "config.yaml").write_text("extends: tiny\ntrust_remote_code: true\n", "utf-8")
    with pytest.raises(ConfigError, match="trust_remote_code: no config decides this; give --trust-remote-code"):
        load_stack_config(tmp_path / "config.yaml")


def test_trust_ends_with_its_block():
    with remote_code(allowed=True):
        with remote_code(allowed=False):
            assert not remote_code_allowed()
        assert remote_code_allowed()
    assert not remote_code_allowed()


def test_a_plan_runs_no_code(tmp_path, mark):
    folder, section = plain("language_model", "causal_lm")(tmp_path)
    bring_code(folder, mark, "config.json")
    with pytest.raises(CheckpointError, match="wants to run its own Python code"):
        make_plan(stack("backbone", section))
    assert not mark.exists()


@pytest.mark.parametrize("command", [["chat"], ["generate", "Hello"], ["serve", "--port", "23871"], ["plan"]])
def test_the_command_line_asks_nothing_and_reads_nothing(tmp_path, mark, monkeypatch, capsys, command):
    folder, _ = plain("language_model", "causal_lm")(tmp_path)
    bring_code(folder, mark, "config.json", "tokenizer_config.json")
    file = tmp_path / "text.yaml"
    file.write_text(f"name: text\nbackbone: {{name: causal_lm, pretrained: {folder}}}\n", "utf-8")
    monkeypatch.setattr(sys, "argv", ["anygpt", *command, "-c", str(file)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert (
        "wants to run its own Python code (stranger.Config in config.json, stranger.Model in config.json, "
        in captured.err.splitlines()[-1]
    )
    assert "y/N" not in captured.out + captured.err
    assert sys.stdin.readline() == "y\n"
    assert not mark.exists()


class Harmful:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.mark), "w")


@pytest.mark.parametrize(
    ("part", "name", "file"),
    [
        ("encoders.audio", "beats", "file.pt"),
        ("encoders.audio", "whisper", "file.pt"),
        ("encoders.points", "ulip2", "file.pt"),
        ("encoders.image", "clip", "clip/pytorch_model.bin"),
        ("backbone", "causal_lm", "language_model/pytorch_model.bin"),
    ],
)
def test_pickled_files_run_no_code(tmp_path, mark, part, name, file):
    path = tmp_path / file
    if path.parent != tmp_path:
        (copied(path.parent.name, tmp_path) / "model.safetensors").unlink()
    torch.save({"model": Harmful(mark), "state_dict": Harmful(mark)}, path)
    given = path if path.parent == tmp_path else path.parent
    with pytest.raises(CheckpointError) as refused:
        build(part, {"name": name, "pretrained": str(given)})
    assert "cannot be loaded: it is damaged or holds pickled objects besides tensors, which are not run" in str(
        refused.value
    )
    assert len(str(refused.value).splitlines()) == 1
    assert not mark.exists()


def test_a_chat_template_runs_in_a_sandbox(tmp_path):
    _, section = plain("language_model", "causal_lm")(tmp_path)
    escape = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    backbone = build("backbone", {**section, "chat_template": escape})
    with pytest.raises(RequestError, match="the model's chat template refuses it: access to attribute"):
        backbone.prompts.build([Message("user", "Hello")])


def test_every_call_that_could_run_code_says_whether_it_may():
    """`trust_remote_code` stands in every call of an Auto class and of diffusers' downloads."""
    silent = []
    for package in ("anygpt", "backbone", "encoders", "generators", "pipelines", "projectors"):
        for file in (ROOT / package).rglob("*.py"):
            for call in ast.walk(ast.parse(file.read_text("utf-8"))):
                if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                    continue
                owner = ast.unparse(call.func.value)
                could_run = owner.startswith("Auto") and owner != "AutoencoderKL" and call.func.attr.startswith("from_")
                says = "trust_remote_code" in [keyword.arg for keyword in call.keywords]
                if (could_run or call.func.attr == "download") and not says:
                    silent.append(f"{file.relative_to(ROOT)}:{call.lineno}")
    assert silent == []
