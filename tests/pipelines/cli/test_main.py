"""The command line: what it prints, what it writes, and that everything wrong is one line and the right exit code."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.assistant import AnyGPT
from pipelines.cli import loading, terminal
from pipelines.cli import main as cli
from pipelines.cli.terminal import COMMANDS as CHAT_COMMANDS
from pipelines.tiny.world.images import render_image
from pipelines.tiny.world.scenes import Scene

COMMANDS = [
    [], ["generate"], ["chat"], ["train"], ["pretrain"], ["eval"], ["eval", "matrix"], ["plan"],
    ["world"], ["world", "draw"], ["world", "read"],
]  # fmt: skip


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with good, broken and hostile files."""
    monkeypatch.chdir(tmp_path)
    render_image(Scene("star", "red")).save("star.png")
    star = Path("star.png").read_bytes()
    Path("empty.png").write_bytes(b"")
    Path("cut.png").write_bytes(star[:70])
    Path("text.png").write_text("no picture", encoding="utf-8")
    Path("bomb.png").write_bytes(huge_png())
    Path("folder.png").mkdir()
    Path("file").write_text("x", encoding="utf-8")
    Path("list.yaml").write_text("[1, 2]", encoding="utf-8")
    Path("scalar.yaml").write_text("just words", encoding="utf-8")
    Path("empty.yaml").write_text("", encoding="utf-8")
    Path("broken.yaml").write_text("name: [unclosed\nmore: }", encoding="utf-8")
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    Path("deep.yaml").write_text("[" * 5000, encoding="utf-8")
    Path("unknown.yaml").write_text("name: x\nencodres: {}\n", encoding="utf-8")
    Path("wrong.yaml").write_text("name: x\nlimits: {max_media: many}\n", encoding="utf-8")
    Path("bare.yaml").write_text("name: bare", encoding="utf-8")
    Path("bundle").mkdir()
    return tmp_path


def huge_png() -> bytes:
    """A picture of 60,000 x 60,000 pixels in a hundred bytes, so it says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process."""

    def run(*arguments: Any, stdin: str = "") -> Ended:
        monkeypatch.setattr(sys, "argv", ["anygpt", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Ended(ended.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def loaded(model: AnyGPT, monkeypatch: pytest.MonkeyPatch) -> AnyGPT:
    """The command line finds this stack whatever config it is told."""
    monkeypatch.setattr(loading, "load_model", lambda config, overrides, *placing, **trust: nullcontext(model))
    return model


def check_refused(ended: Ended, message: str, folder: Path, before: set[Path]) -> None:
    lines = ended.err.splitlines()
    assert (ended.code, ended.out, len(lines)) == (2, "", 1), ended
    assert lines[0].startswith("anygpt: error: ")
    assert message in lines[0]
    assert len(lines[0]) < 1200
    assert set(folder.rglob("*")) == before, "something was written"


# What is refused

GENERATE = [
    ([], "nothing was asked: give a prompt or a medium"),
    ([""], "nothing was asked"),
    (["Draw", "it"], "argument: 'it' given after the prompt, expected key.path=value; quote the prompt"),
    (["x", "--nonsense"], "No such option"),
    (["x", "--seed"], "--seed"),
    (["x", "--seed", "-1"], "--seed"),
    (["x", "--seed", str(2**63)], "--seed"),
    (["x", "--seed", "9" * 5000], "--seed"),
    (["x", "--seed", "1.5"], "--seed"),
    (["x", "--seed", "abc"], "--seed"),
    (["x", "--temperature", "nan"], "temperature: nan given, expected 0 to 10"),
    (["x", "--temperature", "inf"], "temperature: inf given"),
    (["x", "--temperature", "-1"], "temperature: -1.0 given"),
    (["x", "--temperature", "hot"], "--temperature"),
    (["x", "--guidance", "nan"], "guidance: nan given, expected 0 to 100"),
    (["x", "--guidance", "-0.5"], "guidance: -0.5 given"),
    (["x", "--steps", "0"], "steps: 0 given, expected at least 1"),
    (["x", "--steps", "-5"], "steps: -5 given"),
    (["x", "--frames", "0"], "frames: 0 given, expected at least 1"),
    (["x", "--frames", "1.5"], "--frames"),
    (["x", "--duration", "0"], "duration_s: 0.0 given, expected a number above 0"),
    (["x", "--duration", "nan"], "duration_s: nan given"),
    (["x", "--duration", "long"], "--duration"),
    (["x", "--max-tokens", "0"], "max_tokens: 0 given, expected at least 1"),
    (["x", "--max-tokens", "1e9"], "--max-tokens"),
    (["x", "--modalities", ""], "modalities: '' given, expected some of text, image, audio, video"),
    (["x", "--modalities", "smell"], "modalities: 'smell' given"),
    (["x", "--modalities", "text,,image"], "modalities: 'text', '', 'image' given"),
    (["x", "--modalities", "points"], "modalities: 'points' given"),
    (["x", "--image", "missing.png"], "image 'missing.png': no such file"),
    (["x", "--image", "folder.png"], "image 'folder.png': a folder given"),
    (["x", "--image", "empty.png"], "image 'empty.png': empty, 0 bytes given"),
    (["x", "--image", "cut.png"], "image 'cut.png': damaged, cut off"),
    (["x", "--image", "text.png"], "image 'text.png': not an image that can be decoded"),
    (["x", "--image", "bomb.png"], "image 'bomb.png': too large"),
    (["x", "--image", "/dev/zero"], "a pipe, socket or device given"),
    (["x", "--image", "y" * 5000], "file name too long"),
    (["x", "--image", "star.png", "--image", "cut.png"], "image 'cut.png'"),
    (["x", "--image", "a\nb\x1b[2J.png"], "no such file"),
    (["x", "--image", "star.png", "limits.image.max_side_px=63"], "64 x 64 pixels given, expected sides of at most 63"),
    (
        ["x", "--image", "star.png", "--config", "bare.yaml"],
        "--image: 'star.png' given, but this stack only takes in: text",
    ),
    (["x", "--out", "file"], "--out: 'file' given, but 'file' is a file; give a folder"),
    (["x", "--out", "file/below"], "but"),
    (["x", "--out", "z" * 300], "which is no path"),
    (["x", "--out", "/proc/replies"], "but '/proc' cannot be written"),
    (["x", "--config", "nonsense"], "config: no config is called 'nonsense'; there are: "),
    (["x", "--config", "missing.yaml"], "config: no file 'missing.yaml'; give a YAML file or one of: "),
    (["x", "--config", "c" * 5000], "config: no config is called"),
    (["x", "--config", "bundle"], "config: no config.yaml in folder 'bundle', so it is no adapter bundle"),
    (["x", "--config", "broken.yaml"], "broken.yaml is not readable YAML"),
    (["x", "--config", "binary.yaml"], "binary.yaml is not readable YAML"),
    (["x", "--config", "scalar.yaml"], "scalar.yaml holds no keys, expected a mapping"),
    (["x", "--config", "deep.yaml"], "deep.yaml is not readable YAML"),
    (["x", "--config", "list.yaml"], "list.yaml holds no keys, expected a mapping"),
    (["x", "--config", "empty.yaml"], "empty.yaml holds no keys, expected a mapping"),
    (["x", "--config", "unknown.yaml"], "encodres: no such key; expected one of name, encoders, projectors"),
    (["x", "--config", "wrong.yaml"], "limits.max_media: Value 'many' of type 'str' could not be converted to Integer"),
    (["x", "nope.key=1"], "nope: no such key; expected one of name, encoders"),
    (["x", "limits.max_media=many"], "limits.max_media: Value 'many'"),
    (["x", "limits.timeout_s=nan"], "limits.timeout_s: nan given, expected a finite number of more than 0"),
    (["x", "limits.timeout_s=inf"], "limits.timeout_s: inf given"),
    (["x", "limits.image.max_bytes=-1"], "limits.image.max_bytes: -1 given, expected a whole number of at least 1"),
    (["x", "placement.backbone.max_batch_size=0"], "placement.backbone.max_batch_size: 0 given, expected at least 1"),
    (
        ["x", "placement.encoders.image.dtype=int3"],
        "placement.encoders.image.dtype: 'int3' given, expected one of float64",
    ),
    (["x", "placement.encoders.smell.device=cpu"], "placement: no stage 'encoders.smell' in this stack; there are: "),
    (["x", "limits.max_media=${oc.env:HOME}"], "limits.max_media: Value '${oc.env:HOME}' of type 'str' could not be"),
    (
        ["x", "backbone.trust_remote_code=true"],
        "backbone.trust_remote_code: no config decides this; give --trust-remote-",
    ),
    (["x", "name={"], "override: 'name={' cannot be applied"),
    (["x", "backbone.signal_tokens=5"], "backbone.signal_tokens: 5 given, expected modality: number of tokens"),
    (["x", "backbone.signal_tokens.points=4"], "backbone.signal_tokens.points is given without generators.points"),
    (["x", "encoders.depth.name=clip"], "encoders.depth is given without projectors.input.depth"),
]


@pytest.mark.parametrize(("arguments", "message"), GENERATE, ids=lambda value: str(value)[:50])
def test_generate_refuses_in_one_line_before_anything_is_loaded(run, folder, monkeypatch, arguments, message):
    monkeypatch.setattr("pipelines.assistant.start_executor", lambda *_: pytest.fail("the stack is loaded already"))
    before = set(folder.rglob("*"))
    check_refused(run("generate", *arguments), message, folder, before)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["encoders.image.name=nope"], "no encoder is called 'nope'; there are: beats, clap, clip"),
        (["encoders.image.pretrained=/no/such"], "/no/such"),
        (["encoders.image.hidden_layer=99"], "hidden_layer=99"),
        (["encoders.image.colour=blue"], "encoders.image.colour: no such key; expected one of pretrained, name"),
        (["encoders.image=5"], "encoders.image: no name given; set encoders.image.name to one of beats, clap, clip"),
        (["generators.image.guidance=nan"], "generators.image.guidance: nan given, expected 0 to 100"),
        (["backbone.pretrained=/no/such"], "backbone.pretrained: '/no/such' cannot be loaded"),
        (["backbone.lora.rank=0"], "backbone.lora.rank: 0 given, expected 1 to 65536"),
        (["backbone.lora.dropout=nan"], "backbone.lora.dropout: nan given, expected at least 0 and less than 1"),
        (["backbone.max_tokens=-1"], "backbone.max_tokens: -1 given, expected at least 1"),
        (["backbone.media_wrap=picture"], "backbone.media_wrap: 'picture' given, expected a text with {media} in it"),
        (["backbone.media_wrap='{media}{media}'"], "expected a text with {media} in it, once"),
        (["placement.backbone.device=meta"], "'meta' given, which cannot be used: it holds no weights"),
        (["placement.backbone.device=warp"], "placement.backbone.device: 'warp' given, which cannot be used"),
        (["adapters=/no/such"], "adapter bundle '/no/such': no such folder"),
        (["adapters=bundle"], "config.yaml is missing, so this is no bundle or its saving was interrupted"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_generate_refuses_stacks_that_cannot_be_built(run, folder, stack_file, overrides, message):
    before = set(folder.rglob("*"))
    check_refused(run("generate", "x", "--config", stack_file, *overrides), message, folder, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["   "], "the last message is empty, expected text or a medium"),
        (["\n\t"], "the last message is empty"),
        (["x" * 200_000], "200000 characters given, expected at most 100000"),
        (["word " * 5000], "tokens given, the context holds 1024; shorten it"),
        (["\udcff\udcfe"], "text with half a character"),
        (["x", "--modalities", "audio"], "audio given, but this stack only produces: text, image"),
        (["x", "--modalities", "text,video"], "video given, but this stack only produces: text, image"),
        (["x", *["--image", "star.png"] * 33], "33 media given, expected at most 32"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_generate_refuses_requests_that_the_stack_cannot_answer(run, folder, loaded, arguments, message):
    before = set(folder.rglob("*"))
    check_refused(run("generate", *arguments), message, folder, before)


def test_generate_takes_larger_files_where_the_config_allows_them(run, folder, stack_file):
    Image.new("RGB", (20_000, 1)).save("long.png")
    before = set(folder.rglob("*"))
    arguments = ["generate", "x", "--image", "long.png", "--config", stack_file]
    check_refused(run(*arguments), "20,000 x 1 pixels given, expected sides of at most 16,384", folder, before)
    allowed = run(*arguments, "limits.image.max_side_px=20000", "encoders.image.name=nope")
    check_refused(allowed, "no encoder is called 'nope'", folder, before)  # which is found out afterwards


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["eval"], "Missing command"),
        (["world"], "Missing command"),
        (["eval", "nonsense"], "No such command"),
        (["chat", "Hello"], "override: 'Hello' given, expected key.path=value"),
        (["chat", "--seed", "-1"], "--seed"),
        (["chat", "--frames", "0"], "frames: 0 given"),
        (["chat", "--duration", "-1"], "duration_s: -1.0 given"),
        (["chat", "--temperature", "nan"], "temperature: nan given"),
        (["chat", "--modalities", "smell"], "modalities: 'smell' given"),
        (["chat", "--out", "file"], "--out: 'file' given, but 'file' is a file"),
        (["chat", "--config", "nonsense"], "config: no config is called 'nonsense'"),
        (["train"], "Missing argument"),
        (["train", "nonsense"], "stage: 'nonsense' given, expected align-input, align-output, instruct or a YAML file"),
        (["train", "missing.yaml"], "config: no file 'missing.yaml'"),
        (["train", "broken.yaml"], "broken.yaml is not readable YAML"),
        (["train", "unknown.yaml"], "no such key; expected one of objective, stack"),
        (["train", "instruct", "loop.learning_rate=nan"], "loop.learning_rate: nan given"),
        (["train", "instruct", "loop.seed=-1"], "loop.seed: -1 given, expected 0 to"),
        (["train", "instruct", "batch_size=0"], "batch_size: 0 given"),
        (["train", "instruct", "precision=int1"], "precision"),
        (["train", "instruct", "data=missing.jsonl"], "data: no file 'missing.jsonl'"),
        (["train", "instruct", "data=file"], "data: file, line 1: Expecting value"),
        (["train", "instruct", "stack=nonsense"], "config: no config is called 'nonsense'"),
        (["train", "instruct", "--out", "file"], "--out: 'file' given, but 'file' is a file"),
        (["eval", "matrix", "--trials", "0"], "--trials"),
        (["eval", "matrix", "--trials", "many"], "--trials"),
        (["eval", "matrix", "--phrasing", "odd"], "--phrasing"),
        (["eval", "matrix", "--out", "file"], "--out: 'file' given"),
        (["eval", "matrix", "--config", "nonsense"], "config: no config is called 'nonsense'"),
        (["pretrain", "nonsense"], "part: 'nonsense' given, expected all, autoencoder"),
        (["pretrain", "all", "--out", "file"], "--out: 'file' given"),
        (["world", "draw", "a red thing"], "scene: 'a red thing' given, expected one shape and one colour"),
        (["world", "draw", "a red star and a blue star"], "expected one shape and one colour"),
        (["world", "draw", "a red star", "--seed", "-1"], "--seed"),
        (["world", "draw", "a red star", "--out", "folder.png"], "a folder, pipe or device is there"),
        (["world", "draw", "a red star", "--out", "no/such/folder.png"], "no such file or directory"),
        (["world", "read", "missing.png"], "image 'missing.png': no such file"),
        (["world", "read", "cut.png"], "image 'cut.png': damaged"),
        (["world", "read"], "Missing argument"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_other_commands_refuse_in_one_line(run, folder, arguments, message):
    before = set(folder.rglob("*"))
    check_refused(run(*arguments), message, folder, before)


# What works


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_there_for_every_command(run, command):
    ended = run(*command, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert " ".join(ended.out.split()).startswith(" ".join(["Usage: anygpt", *command]))
    assert "--help" in ended.out


def test_no_arguments_show_the_help(run):
    assert run() == run("--help")


def test_generate_prints_the_text(run, folder, loaded):
    before = set(folder.rglob("*"))
    ended = run("generate", "Hello", "--modalities", "text")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == loaded.chat("Hello", modalities=["text"]).text + "\n"
    assert set(folder.rglob("*")) == before


def test_generate_saves_pictures_and_prints_where(run, folder, loaded):
    ended = run("generate", "Hello", "--modalities", "image", "--out", "new/folder", "--seed", "3", "--steps", "1")
    assert (ended.code, ended.err, ended.out) == (0, "", "new/folder/reply-1.png\n")
    with Image.open(folder / "new" / "folder" / "reply-1.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (64, 64))


def test_generate_without_a_seed_draws_one_and_shows_it(run, folder, loaded):
    words = ["generate", "Hello", "--modalities", "image", "--steps", "1", "--out"]
    first, second = run(*words, "a"), run(*words, "b")
    (drawn,) = re.fullmatch(r"seed (\d+)\n", first.err).groups()
    again = run(*words, "c", "--seed", drawn)
    pictures = [(folder / name / "reply-1.png").read_bytes() for name in "abc"]
    assert (second.code, again.err) == (0, "")
    assert pictures[0] == pictures[2]
    assert pictures[0] != pictures[1]


def test_generate_prints_text_and_pictures(run, loaded, first_word_is_a_picture):
    ended = run("generate", "Hello", "--image", "star.png")
    assert ended.code == 0
    text, path = ended.out.rstrip("\n").rsplit("\n", 1)
    assert text
    assert Path(path) == Path("replies/reply-1.png")
    assert Path(path).is_file()


def test_generate_keeps_earlier_replies(run, folder, loaded, monkeypatch):
    draw = ("generate", "Hello", "--modalities", "image", "--steps", "1")
    assert run(*draw).out == "replies/reply-1.png\n"
    before = (folder / "replies" / "reply-1.png").read_bytes()
    assert run(*draw, "--image", "replies/reply-1.png").out == "replies/reply-2.png\n"
    (folder / "replies" / "reply-9999999998.wav").touch()
    (folder / "replies" / "reply-99 (copy).png").touch()
    assert run(*draw, "--seed", "1").out == "replies/reply-9999999999.png\n"
    assert run(*draw, "--seed", "2").out == "replies/reply-10000000000.png\n"
    monkeypatch.setattr(terminal, "first_number", lambda folder: 1)  # as if others had written meanwhile
    assert run(*draw).out == "replies/reply-3.png\n"
    assert (folder / "replies" / "reply-1.png").read_bytes() == before


def test_generate_says_in_a_line_of_its_own_that_media_cannot_be_saved(
    run, loaded, first_word_is_a_picture, monkeypatch
):
    monkeypatch.setattr("pipelines.cli.generate.check_folder", lambda folder: None)  # the folder was lost meanwhile
    ended = run("generate", "Hello", "--steps", "1", "--out", "/proc/none")
    assert ended.code == 2
    assert ended.out.endswith("\n")
    assert (
        ended.err
        == "anygpt: error: --out: '/proc/none' cannot be written (No such file or directory); give another folder\n"
    )


def test_generate_json_is_one_object(run, loaded, first_word_is_a_picture):
    ended = run("generate", "Hello", "--json")
    assert (ended.code, ended.err) == (0, "")
    reply = json.loads(ended.out)
    assert set(reply) == {"text", "media", "errors", "seed", "usage", "timings"}
    assert reply["text"]
    assert reply["media"] == [{"type": "image", "path": "replies/reply-1.png"}]
    assert reply["errors"] == []
    assert set(reply["usage"]) == {"prompt_tokens", "completion_tokens"}
    assert set(reply["timings"]) == {"backbone", "generators.image", "total"}


def test_generate_takes_a_bundle_folder_as_config(run, loaded, folder, monkeypatch):
    loaded.save_pretrained(folder / "trained")
    monkeypatch.undo()  # the real `load_model` again
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["anygpt"])
    with loading.load_model("trained", ["backbone.max_tokens=2"], allow_outside=True) as model:
        assert model.config.adapters == "trained"
        assert model.chat("Hello", modalities=["text"]).usage.completion_tokens == 2


def test_train_writes_a_bundle_and_prints_where(run, folder, stack_file):
    ended = run(
        "train", "align-input", f"stack={stack_file}", "batch_size=2", "loop.steps=1", "precision=fp32", "--out", "made"
    )
    assert (ended.code, ended.out) == (0, "made\n")
    assert "trainable" in ended.err
    assert ended.err.endswith("trained; try it with: anygpt chat --config made --allow-outside\n")
    assert (folder / "made" / "config.yaml").is_file()


def test_eval_matrix_prints_the_table_and_writes_the_report(run, folder, loaded):
    ended = run("eval", "matrix", "--trials", "1", "--out", "report", "--phrasing", "train")
    assert ended.code == 0
    assert "mean of the cells" in ended.out
    assert {path.name for path in (folder / "report").iterdir()} == {"matrix.json", "matrix.png"}


@pytest.mark.parametrize(
    ("name", "words", "attributes"),
    [
        ("shown.png", "a small cyan triangle at the bottom left", ("shape", "colour", "size", "position")),
        ("shown.wav", "a small cyan triangle moving down", ("shape", "colour", "size", "motion")),
        ("shown.mp4", "a small cyan triangle moving down", ("shape", "colour", "size", "motion")),
        ("shown.ply", "a cyan triangle", ("shape", "colour")),
    ],
)
def test_world_draws_what_it_reads_back(run, name, words, attributes):
    ended = run("world", "draw", words, "--out", name, "--seed", "5")
    assert (ended.code, ended.out) == (0, f"{name}\n")
    truth = {
        "shape": "triangle", "colour": "cyan", "size": "small", "position": "bottom left", "motion": "down",
    }  # fmt: skip
    assert json.loads(run("world", "read", name).out) == {attribute: truth[attribute] for attribute in attributes}


# What fails while running


@pytest.fixture
def broken_generator(loaded: AnyGPT, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("out of memory\nand a second line")

    monkeypatch.setattr(loaded.executor.stack.generators["image"], "generate", generate)


def test_generate_lost_medium_is_a_failure_after_the_text(run, folder, broken_generator, first_word_is_a_picture):
    ended = run("generate", "Hello")
    assert ended.code == 1
    assert ended.out.strip()
    assert (
        ended.err
        == "anygpt: error: stage 'generators.image': image 1 of the reply is lost: RuntimeError: out of memory\n"
    )
    assert not (folder / "replies").exists()


def test_generate_lost_medium_is_in_the_json(run, broken_generator):
    ended = run("generate", "Hello", "--modalities", "image", "--json")
    assert ended.code == 1
    reply = json.loads(ended.out)
    assert reply["media"] == []
    assert reply["errors"] == [{"type": "image", "stage": "generators.image", "message": "RuntimeError: out of memory"}]


@pytest.fixture
def broken_backbone(loaded: AnyGPT, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("backbone broke")

    monkeypatch.setattr(loaded.executor.stack.backbone.backbone, "step", step)


def test_generate_failing_stage_is_one_line_and_exit_code_1(run, broken_backbone):
    ended = run("generate", "Hello")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "anygpt: error: stage 'backbone': RuntimeError: backbone broke\n"


@pytest.mark.parametrize("arguments", [["--debug", "generate", "Hello"], ["generate", "Hello", "--debug"]])
def test_debug_shows_the_traceback(run, broken_backbone, arguments):
    ended = run(*arguments)
    assert ended.code == 1
    assert ended.err.startswith("Traceback (most recent call last)")
    assert "RuntimeError: backbone broke" in ended.err
    assert ended.err.splitlines()[-1].startswith("anygpt: error: stage 'backbone'")


def test_a_bug_is_one_line_and_exit_code_1(run, monkeypatch):
    def load_model(*given: Any, **trust: bool) -> Any:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(loading, "load_model", load_model)
    ended = run("generate", "Hello")
    assert ended.code == 1
    assert ended.err == "anygpt: error: ZeroDivisionError: division by zero (a bug; --debug shows where)\n"


def test_an_interrupt_is_one_line_and_exit_code_130(run, monkeypatch):
    def load_model(*given: Any, **trust: bool) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load_model", load_model)
    assert run("generate", "Hello") == Ended(130, "", "anygpt: error: interrupted\n")


def test_loading_shows_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(AnyGPT, "from_config", lambda config, **options: config.name)
    assert loading.load_model("tiny", []) == "tiny"
    assert capsys.readouterr().err == "\r\x1b[Kloading tiny\r\x1b[K"


def test_train_interrupted_says_how_to_go_on_with_exit_code_130(run, stack_file, monkeypatch):
    from pipelines.training import trainer

    monkeypatch.setattr(trainer, "train", lambda config, folder, **trust: None)  # what it returns after Ctrl-C
    ended = run("train", "align-input", f"stack={stack_file}", "--out", "made")
    assert ended.code == 130
    assert ended.err == "anygpt: error: interrupted; the state is in made, the same command goes on from there\n"


def test_train_refuses_another_runs_folder_with_exit_code_1(run, stack_file):
    arguments = ["train", "align-input", f"stack={stack_file}", "batch_size=2", "loop.steps=1", "--out", "made"]
    assert run(*arguments).code == 0
    ended = run(*arguments, "loop.seed=2")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert "made belongs to another run (loop.seed: 1 then, 2 now)" in ended.err


# Chat


def test_chat_answers_line_by_line_and_a_bad_line_costs_only_itself(run, loaded):
    script = [
        "Hello",
        "/image cut.png",
        "/nonsense",
        "",
        "/image star.png",
        "What is this?",
        "/new",
        "Hello",
        "/quit",
        "x",
    ]
    ended = run("chat", "--modalities", "text", stdin="\n".join(script))
    assert ended.code == 0
    hello = loaded.chat("Hello", modalities=["text"])
    seen = loaded.chat([Image.open("star.png"), "What is this?"], history=hello.conversation, modalities=["text"])
    assert ended.out == f"{hello.text}\n{seen.text}\n{hello.text}\n"
    errors = ended.err.splitlines()
    assert len(errors) == 2
    assert errors[0].startswith("anygpt: error: image 'cut.png': damaged")
    assert errors[1] == f"anygpt: error: '/nonsense' is no command; there are: {CHAT_COMMANDS}"


def test_chat_takes_words_after_a_file_and_names_with_spaces(run, loaded, folder):
    (folder / "my star.png").write_bytes((folder / "star.png").read_bytes())
    for line in (
        "/image star.png What is this?",
        "/image 'my star.png' What is this?",
        "/image my star.png What is this?",
        "/image my\\ star.png What is this?",
        "/image my star.png\nWhat is this?",
    ):
        ended = run("chat", "--modalities", "text", stdin=line)
        seen = loaded.chat([Image.open("star.png"), "What is this?"], modalities=["text"])
        assert (ended.out, ended.err) == (f"{seen.text}\n", "")


def test_chat_lists_its_commands_and_wants_a_file(run, loaded):
    ended = run("chat", stdin="/help\n/image\n/image  ")
    assert ended.out == f"{CHAT_COMMANDS}\n"
    assert CHAT_COMMANDS.startswith("/image FILE [PROMPT], /audio FILE [PROMPT]")
    assert ended.err.splitlines() == ["anygpt: error: /image: no file given, expected one, as in: /image FILE"] * 2


@pytest.mark.parametrize("command", ["generate", "chat"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--frames", "33"],
            "frames: 33 given, expected at most max_frames=32; ask for less, or raise generators.video.",
        ),
        (["--duration", "60.5"], "duration_s: 60.5 given, expected at most max_duration_s=4; "),
    ],
)
def test_limits_are_refused_before_anything_is_loaded(run, folder, monkeypatch, command, options, message):
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: pytest.fail("loaded"))
    before = set(folder.rglob("*"))
    check_refused(run(command, *(["x"] if command == "generate" else []), *options), message, folder, before)


@pytest.mark.parametrize(
    ("modalities", "most"), [("image", "max_steps=200"), ("audio", "max_steps=400"), ("text", "max_steps=400")]
)
def test_most_generous_limit_of_what_may_be_made_counts(run, folder, monkeypatch, modalities, most):
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: pytest.fail("loaded"))
    ended = run("generate", "x", "--steps", "401", "--modalities", modalities)
    check_refused(ended, f"steps: 401 given, expected at most {most}", folder, set(folder.rglob("*")))


def test_chat_numbers_media_over_all_turns(run, folder, loaded):
    ended = run("chat", "--modalities", "image", "--out", "made", stdin="Hello\nAgain\n")
    assert ended.out == "made/reply-1.png\nmade/reply-2.png\n"
    assert {path.name for path in (folder / "made").iterdir()} == {"reply-1.png", "reply-2.png"}


def test_chat_goes_on_after_a_lost_medium_and_a_failed_reply(run, loaded, broken_generator, monkeypatch):
    backbone = loaded.executor.stack.backbone.backbone
    step, calls = backbone.step, []

    def broken_once(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("backbone broke")
        return step(*arguments, **options)

    monkeypatch.setattr(backbone, "step", broken_once)
    ended = run("chat", "--modalities", "image", stdin="One\nTwo\n")
    assert ended.code == 0
    assert ended.err.splitlines() == [
        "anygpt: error: stage 'backbone': RuntimeError: backbone broke",
        "anygpt: error: image 1 is lost: RuntimeError: out of memory",
    ]


# In a process of its own


def spawned(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-m", "anygpt", *map(str, arguments)]
    return subprocess.run(command, cwd=root, capture_output=True, check=False, timeout=600, **options)


def test_process_answers_with_nothing_on_stderr(stack_file, tmp_path):
    ended = spawned(
        "generate", "Hello", "--config", stack_file, "--modalities", "image", "--out", tmp_path / "out", "--json"
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert Path(json.loads(ended.stdout)["media"][0]["path"]).is_file()


def test_process_errors_are_one_line_whatever_the_bytes(tmp_path):
    ended = spawned("world", "read", b"\xff\xfe\n\x1b[31m.png".decode("utf-8", "surrogateescape"))
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert ended.stderr.count(b"\n") == 1
    assert b"\x1b" not in ended.stderr


def test_process_output_fits_a_terminal_without_unicode(tmp_path):
    out = tmp_path / "★.png"
    ended = spawned("world", "draw", "a red star", "--out", out, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.endswith(b"\\u2605.png\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["What is it?", "star.png"],
            "argument: 'star.png' is a file; give --image, --audio, --video or --points before",
        ),
        (["star.png"], "argument: 'star.png' is a file; give --image"),
        (
            ["--image", "https://a.org/star.png"],
            "--image: 'https://a.org/star.png' given, an address; download the file",
        ),
    ],
)
def test_generate_says_how_files_are_attached(run, folder, words, message):
    ended = run("generate", *words)
    assert ended.code == 2
    assert ended.err.startswith(f"anygpt: error: {message}")


def test_generate_takes_a_prompt_with_an_equals_sign_and_files_as_addresses(run, loaded, folder):
    said = loaded.chat("color=red star, draw it", modalities=["text"])
    assert run("generate", "color=red star, draw it", "--modalities", "text").out == f"{said.text}\n"
    seen = loaded.chat([Image.open("star.png"), "What is this?"], modalities=["text"])
    ended = run("generate", "What is this?", "--image", (folder / "star.png").as_uri(), "--modalities", "text")
    assert ended.out == f"{seen.text}\n"


def test_a_limit_is_named_as_the_config_has_it(run, folder):
    ended = run("generate", "Hello", "--image", "star.png", "limits.image.max_pixels=10")
    assert "shrink it or raise limits.image.max_pixels" in ended.err
