"""GPUs as they are given, and stages on them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from anygpt.config.schema import StagePlacement
from anygpt.errors import ConfigError, RequestError
from pipelines.planning.devices import CONTEXT_BYTES, parse_gpus, place_by_ray, place_in_one_process, placing_rule
from pipelines.planning.needs import Saving, StageNeed, Weights
from pipelines.planning.passes import PassBytes
from pipelines.planning.report import verdict

GIB = 2**30


def need(stage: str, size_gib: float, **placement: Any) -> StageNeed:
    size = int(size_gib * GIB)
    weights = Weights(parameters=size // 2, trained=0, placed=size, half=size, int8=size // 2, int4=size // 4)
    savings = (Saving(f"{stage}.smaller=true", GIB),)
    return StageNeed(stage, StagePlacement(**placement), weights, PassBytes(0), savings)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("24GiB", [24 * GIB]),
        ("24GiB,80GB", [24 * GIB, 80 * 10**9]),
        (" 1.5GiB , 512MiB", [3 * GIB // 2, GIB // 2]),
        ("900MB", [900 * 10**6]),
    ],
)
def test_gpus_are_read(text, sizes):
    assert parse_gpus(text) == sizes


@pytest.mark.parametrize(
    "text", ["", "24", "24Gi", "24GiB,", "x", "0GiB", "-1GiB", "24 gib", "1e3GiB", "nanGiB", "24GiB;8GiB"]
)
def test_gpus_that_are_none_are_refused(text):
    with pytest.raises(RequestError) as refused:
        parse_gpus(text)
    assert str(refused.value).startswith(f"--gpu: '{text}' given, expected the memory of every GPU in GiB, MiB, GB, MB")


def test_an_unknown_executor_is_refused():
    assert placing_rule("local") is place_in_one_process
    with pytest.raises(ConfigError, match="executor: 'slurm' given, expected one of local, ray"):
        placing_rule("slurm")


def test_devices_need_no_torch():
    code = "import sys, pipelines.planning.devices; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_process_puts_stages_where_they_name():
    needs = [need("a", 2, device="cuda:1"), need("b", 3, device="cuda"), need("c", 1), need("d", 1, device="cuda:1")]
    placed = place_in_one_process(needs, [4 * GIB, 4 * GIB])
    assert {load.device: [own.stage for own in load.needs] for load in placed.loads} == {
        "cuda:0": ["b"], "cuda:1": ["a", "d"], "cpu": ["c"],
    }  # fmt: skip
    assert [load.needed for load in placed.loads] == [3 * GIB + CONTEXT_BYTES, 3 * GIB + CONTEXT_BYTES, GIB]
    assert placed.fits
    assert verdict(placed).splitlines()[-1] == "fits"
    assert "cuda:0: 3.50 GiB needed of 4.00 GiB, 512 MiB left" in verdict(placed)
    assert "cpu: 1.00 GiB needed, not checked" in verdict(placed)


def test_too_little_memory_tells_what_would_help():
    needs = [need("a", 4, device="cuda:0"), need("b", 1, device="cuda:0"), need("c", 1, device="cuda:1")]
    placed = place_in_one_process(needs, [4 * GIB, 8 * GIB])
    assert not placed.fits
    lines = verdict(placed).splitlines()
    assert "cuda:0: 5.50 GiB needed of 4.00 GiB, 1.50 GiB too little" in lines
    assert lines[lines.index("does not fit") + 1 :] == [
        "  on cuda:0, placement.a.device=cuda:1 saves 4.00 GiB",
        "  on cuda:0, a.smaller=true saves 1.00 GiB",
        "  on cuda:0, b.smaller=true saves 1.00 GiB",
        "  on cuda:0, placement.b.device=cuda:1 saves 1.00 GiB",
    ]


def test_savings_that_do_not_suffice_are_said_not_to():
    placed = place_in_one_process([need("a", 40, device="cuda:0")], [4 * GIB])
    assert verdict(placed).endswith(
        "  on cuda:0, a.smaller=true saves 1.00 GiB\n"
        "  on cuda:0, that is not enough: take a larger GPU, or place stages on others"
    )


def test_a_byte_too_little_does_not_fit():
    needs, exact = [need("a", 1, device="cuda:0")], GIB + CONTEXT_BYTES
    assert place_in_one_process(needs, [exact]).fits
    assert not place_in_one_process(needs, [exact - 1]).fits


def test_a_gpu_that_was_not_given_does_not_fit():
    placed = place_in_one_process([need("a", 1, device="cuda:2")], [4 * GIB])
    assert not placed.fits
    assert verdict(placed).splitlines() == [
        "does not fit", "  placement.a.device: 'cuda:2' given, but --gpu tells of 1; name another",
    ]  # fmt: skip


def test_stages_on_the_cpu_alone_are_said_to_be():
    assert (
        verdict(place_in_one_process([need("a", 1)], [GIB])).splitlines()[-1].startswith("no stage is placed on a GPU")
    )


def test_ray_gives_shares():
    half = {"device": "cuda:0", "num_gpus": 0.5}
    needs = [need("a", 1, **half), need("b", 1, device="cuda", num_gpus=1), need("c", 1, **half), need("d", 1)]
    placed = place_by_ray(needs, [8 * GIB, 8 * GIB])
    assert {load.device: [own.stage for own in load.needs] for load in placed.loads} == {
        "cuda:0": ["a", "c"], "cuda:1": ["b"], "cpu": ["d"],
    }  # fmt: skip
    assert [load.context for load in placed.loads] == [2 * CONTEXT_BYTES, CONTEXT_BYTES, 0]
    assert placed.fits


def test_ray_counts_every_replica():
    stage = need("a", 1, device="cuda:0", num_gpus=0.4, replicas=3)
    placed = place_by_ray([stage], [8 * GIB, 8 * GIB])
    assert [len(load.needs) for load in placed.loads] == [2, 1]
    assert placed.fits
    one = place_by_ray([stage], [8 * GIB])
    assert not one.fits
    assert one.problems == [
        "placement.a.num_gpus: 0.4 given, but no GPU has so large a share left; lower the shares, or give more GPUs"
    ]


def test_ray_puts_the_stages_of_a_process_together():
    shared = {"device": "cuda:0", "num_gpus": 0.3, "process": "generators"}
    needs = [need("a", 1, **shared), need("b", 2, **shared), need("c", 1, process="generators")]
    placed = place_by_ray([*needs, need("d", 1, device="cuda:0", num_gpus=0.4)], [8 * GIB])
    (gpu, machine) = placed.loads
    assert [own.stage for own in gpu.needs] == ["a", "b", "d"]
    assert gpu.needed == 4 * GIB + 2 * CONTEXT_BYTES
    assert [own.stage for own in machine.needs] == ["c"]
    crowded = place_by_ray([*needs, need("d", 1, device="cuda:0", num_gpus=0.5)], [8 * GIB])
    assert crowded.problems == [
        "placement.d.num_gpus: 0.5 given, but no GPU has so large a share left; lower the shares, or give more GPUs"
    ]
    assert (
        place_by_ray([need("d", 1, device="cuda:0", num_gpus=0.5), *needs], [8 * GIB])
        .problems[0]
        .startswith("placement.a.num_gpus, placement.b.num_gpus, placement.c.num_gpus: 0.6 given together, but no GPU")
    )


def test_ray_adds_up_shares_without_rounding_errors():
    needs = [need(str(index), 0.1, device="cuda:0", num_gpus=0.1) for index in range(10)]
    assert place_by_ray(needs, [8 * GIB]).fits


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        ({"device": "cuda:0"}, "placement.a.num_gpus: 0 given, and Ray shows the stage no GPU then; set a share"),
        (
            {"device": "cuda:1", "num_gpus": 0.5},
            "placement.a.device: 'cuda:1' given, but Ray shows the stage its own; set cuda:0",
        ),
    ],
)
def test_ray_hides_what_a_stage_does_not_reserve(placement, message):
    stage = need("a", 1, **placement)
    assert place_by_ray([stage], [8 * GIB, 8 * GIB]).problems == [message]
    assert place_by_ray([replace(stage, placement=StagePlacement())], [8 * GIB]).fits
