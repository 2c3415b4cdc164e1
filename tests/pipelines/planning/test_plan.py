"""Plans: what they count and print, what they read, and what they refuse."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from anygpt.config.loading import load_stack_config
from anygpt.config.resolve import resolve
from anygpt.config.schema import StackConfig
from anygpt.errors import CheckpointError, ConfigError
from backbone.cache import BLOCK
from encoders.beats.encoder import BeatsEncoder
from pipelines.cli import main as cli
from pipelines.planning import passes
from pipelines.planning.architectures import ARCHITECTURES_DIR, architecture
from pipelines.planning.devices import parse_gpus, place_by_ray, place_in_one_process
from pipelines.planning.meta_device import META
from pipelines.planning.needs import StageNeed, measure
from pipelines.planning.plan import Plan, make_plan
from pipelines.planning.weightless import build_without_weights, weightless

GIB = 2**30
HEADER = "stage device dtype parameters trained as placed fp16/bf16 int8 4-bit cache activations"
BEATS_FILE = Path(__file__).parents[2] / "fixtures" / "beats" / "checkpoint.pt"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: exit code, output, errors."""

    def run(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["anygpt", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


def by_stage(needs: list[StageNeed]) -> dict[str, StageNeed]:
    return {need.stage: need for need in needs}


def text_only(**backbone: Any) -> StackConfig:
    """A config of a language model alone."""
    values = {"name": "causal_lm", "pretrained": "Qwen/Qwen2.5-1.5B-Instruct", "max_context_tokens": 512, **backbone}
    return resolve(StackConfig, {"name": "text", "backbone": values})


def test_plan_prints_a_row_for_every_stage_and_their_sum(run):
    code, out, err = run("plan")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == HEADER
    stages = load_stack_config("tiny").stages
    rows = [line for line in lines[1:] if not line.startswith("-")]
    assert [row.split()[0] for row in rows] == [*stages, "total"]
    assert rows[0].split()[3:5] == ["695", "k"]  # 695,040 parameters
    assert "fit" not in out


def test_plan_says_whether_given_gpus_suffice(run):
    placed = [f"placement.{stage}.device=cuda:0" for stage in load_stack_config("tiny").stages]
    code, out, err = run("plan", "--gpu", "4GiB", *placed)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "fits"
    assert any(line.startswith("cuda:0: ") and " needed of 4.00 GiB, " in line for line in out.splitlines())
    code, out, err = run("plan", "--gpu", "600MiB", *placed)
    assert (code, err) == (0, "")
    assert "needed of 600 MiB, " in out
    advice = out.split("\ndoes not fit\n")[1].splitlines()
    assert any(line.startswith("  on cuda:0, placement.backbone.dtype=bfloat16 saves ") for line in advice)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--gpu", "24"],
            "--gpu: '24' given, expected the memory of every GPU in GiB, MiB, GB, MB, as in: 24GiB,24GiB",
        ),
        (["--gpu", ""], "--gpu: '' given"),
        (["--executor", "slurm"], "executor: 'slurm' given, expected one of local, ray"),
        (["--config", "nonsense"], "config: no config is called 'nonsense'"),
        (["backbone.lora.rank=0"], "backbone.lora.rank: 0 given"),
        (
            ["encoders.image.pretrained=nobody/nothing"],
            "encoders.image.pretrained: the architecture of 'nobody/nothing'",
        ),
        (["projectors.input.image.in_dim=7"], "input width 7, but the encoder gives 128"),
        (
            ["backbone.max_context_tokens=8"],
            "projectors.input.image: 8 prompt embeddings a medium, but the context holds 8",
        ),
        (["generators.image.width_px=60"], "width_px: 60 given"),
    ],
)
def test_plan_refuses_what_cannot_work_in_one_line(run, arguments, message):
    code, out, err = run("plan", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert message in err


def test_two_gpus_of_24_gib_hold_nextgpt_7b(real_needs):
    needs = real_needs["nextgpt-7b"]
    text = str(Plan(needs, place_in_one_process(needs, parse_gpus("24GiB,24GiB"))))
    assert text.splitlines()[-1] == "fits"
    assert [line.split(": ")[0] for line in text.splitlines() if " needed of " in line] == ["cuda:0", "cuda:1"]
    rows = {line.split()[0]: " ".join(line.split()) for line in text.split("\n\n")[0].splitlines()}
    assert rows["backbone"].startswith("backbone cuda:0 bfloat16 6.91 B 167.7 M (2.43%) 13.18 GiB")
    assert rows["generators.video"].startswith("generators.video cuda:1 float16 1.84 B - 3.42 GiB 3.42 GiB")
    assert rows["total"].startswith("total 12.51 B 167.7 M (1.34%)")  # NExT-GPT: 131-155 M of 12-13 B, about 1%
    small = place_in_one_process(needs, parse_gpus("16GiB,12GiB"))
    assert not small.fits
    assert "on cuda:0, placement.backbone.max_batch_size=2 saves " in str(Plan(needs, small))
    assert not place_in_one_process(needs, parse_gpus("24GiB")).fits


@pytest.mark.parametrize("place", [place_in_one_process, place_by_ray])
def test_one_gpu_of_24_gib_holds_small_gpu(real_needs, place):
    placed = place(real_needs["small-gpu"], [24 * GIB])
    assert placed.fits
    assert [load.device for load in placed.loads] == ["cuda:0"]
    assert len(placed.loads[0].needs) == 8
    assert not place(real_needs["small-gpu"], [12 * GIB]).fits


def test_formats_take_what_their_bits_say(real_needs):
    weights = by_stage(real_needs["nextgpt-7b"])["backbone"].weights
    assert weights.trained == pytest.approx(167.7e6, rel=1e-3)
    frozen, trained_bytes = weights.parameters - weights.trained, 4 * weights.trained  # trained ones are float32
    assert weights.half == weights.placed - rotary_bytes() == 2 * frozen + trained_bytes
    linear = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    rest = 2 * (frozen - linear) + trained_bytes
    rows = 32 * (4 * 4096 + 2 * 11008 + 4096)
    assert weights.int8 == linear + 4 * rows + rest
    assert weights.int4 == linear // 2 + 4 * linear // 64 + rest


def rotary_bytes() -> int:
    """Vicuna's rotary frequencies, its only buffers: two of 64 float32."""
    return 2 * 64 * 4


def test_the_cache_is_as_long_as_the_context(real_needs):
    passes_of = by_stage(real_needs["nextgpt-7b"])["backbone"].passes
    rows, layers, heads, width, keys_and_values, bfloat16 = 4, 32, 32, 128, 2, 2
    assert passes_of.cache == rows * (2048 + BLOCK) * layers * heads * width * keys_and_values * bfloat16


def test_larger_batches_and_media_take_more():
    config = load_stack_config("tiny")
    small = by_stage(make_plan(config).needs)
    larger = load_stack_config(
        "tiny",
        [
            "placement.encoders.image.max_batch_size=64",
            "generators.image.width_px=128",
            "generators.image.height_px=128",
        ],
    )
    large = by_stage(make_plan(larger).needs)
    for stage in ("encoders.image", "generators.image"):
        assert large[stage].passes.activations > 3 * small[stage].passes.activations
        assert large[stage].weights == small[stage].weights


def test_folded_lora_counts():
    folded, plain = (
        measure(config, build_without_weights(config))[0]
        for config in (text_only(lora={"fold": True}), text_only(lora={"fold": False}))
    )
    attention = 28 * (2 * 1536 * 1536 + 2 * 1536 * 256)
    assert folded.weights.placed - plain.weights.placed == 4 * attention  # float32 by default
    savings = {saving.override: saving.saved for saving in folded.savings}
    assert savings["backbone.lora.fold=false"] == 4 * attention
    assert "backbone.lora.fold=false" not in {saving.override for saving in plain.savings}
    assert folded.weights.half == plain.weights.half


def test_a_config_without_media_can_be_planned():
    (need,) = make_plan(text_only(lora=None)).needs
    assert (need.stage, need.weights.parameters, need.weights.trained) == ("backbone", 1_543_714_304, 0)


def test_an_official_file_that_is_there_tells_its_sizes():
    options = BeatsEncoder.Config(pretrained=str(BEATS_FILE))
    real = BeatsEncoder.from_config(options)
    assert architecture(str(BEATS_FILE), "encoders.audio.pretrained") == str(BEATS_FILE)
    with weightless():
        planned = BeatsEncoder.from_config(options, device=META, dtype=torch.bfloat16)
    assert planned.model.settings == real.model.settings
    assert {tensor.device.type for tensor in planned.parameters()} == {META}
    assert {name: tensor.shape for name, tensor in planned.state_dict().items()} == {
        name: tensor.shape for name, tensor in real.state_dict().items()
    }


@pytest.mark.parametrize(
    ("pretrained", "known"),
    [
        ("openai/clip-vit-large-patch14", "openai/clip-vit-large-patch14"),
        ("large-v3", "openai/whisper-large-v3"),
        ("anywhere/BEATs_iter3_plus_AS2M.pt", "BEATs_iter3_plus_AS2M.pt"),
    ],
)
def test_known_architectures_are_found_by_name(pretrained, known):
    assert architecture(pretrained, "x") == str(ARCHITECTURES_DIR / known)


@pytest.mark.parametrize("pretrained", ["nobody/nothing", "", "openai", "a/b/c", "no such/name", "large-v9"])
def test_unknown_architectures_are_refused(pretrained):
    with pytest.raises(CheckpointError, match=r"the architecture of '.*' is not known here: .* hf download"):
        architecture(pretrained, "encoders.image.pretrained")


def test_the_hubs_cache_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--tower"
    snapshot = repository / "snapshots" / ("a" * 40)
    shutil.copytree(ARCHITECTURES_DIR / "openai" / "clip-vit-large-patch14", snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    assert architecture("someone/tower", "x") == str(snapshot)
    assert architecture("someone/tower", "x", "main") == str(snapshot)
    with pytest.raises(CheckpointError, match="someone/tower"):
        architecture("someone/tower", "x", "other-branch")


def test_parts_that_do_not_fit_each_other_are_refused(tmp_path):
    folder = tmp_path / "sd"
    shutil.copytree(ARCHITECTURES_DIR / "stable-diffusion-v1-5" / "stable-diffusion-v1-5", folder)
    values = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps({**values, "cross_attention_dim": 1024}))
    config = load_stack_config("tiny", [f"generators.image.pretrained={folder}"])
    with pytest.raises(
        CheckpointError, match=r"unet.cross_attention_dim is 1024, expected text_encoder.hidden_size 768"
    ):
        make_plan(config)


def test_a_generator_without_a_known_pass_is_refused(monkeypatch):
    monkeypatch.delitem(passes._GENERATOR_PASSES, "stable_diffusion")
    with pytest.raises(ConfigError, match=r"generators.image.name: 'stable_diffusion' given, which cannot be planned"):
        make_plan(load_stack_config("tiny"))


def test_loading_works_again_afterwards():
    before = (vars(PreTrainedModel)["from_pretrained"], torch.load)
    with weightless():
        assert torch.load is not before[1]
    with pytest.raises(CheckpointError), weightless():
        BeatsEncoder.from_config(BeatsEncoder.Config(pretrained="nowhere"))
    assert (vars(PreTrainedModel)["from_pretrained"], torch.load) == before
