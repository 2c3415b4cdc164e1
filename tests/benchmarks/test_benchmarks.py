"""Every figure can be measured; how fast anything is, is not tested here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from anygpt.config.loading import save_config
from anygpt.config.schema import StackConfig
from benchmarks.__main__ import GROUPS, as_text, main
from benchmarks.figure import Figure
from benchmarks.overhead import covered_seconds
from benchmarks.setup import Setup

ON_RAY = ("serving", "recovery")  # these start Ray: by hand


@pytest.fixture(scope="module")
def setup(random_config: StackConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    file = tmp_path_factory.mktemp("benchmarks") / "config.yaml"
    save_config(random_config, file)
    measured = Setup(str(file), repeats=1, new_tokens=3)
    yield measured
    measured.close()


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in ON_RAY])
def test_group_measures_finite_positive_figures(setup, group):
    figures = GROUPS[group](setup)
    assert figures
    for figure in figures:
        assert math.isfinite(figure.value), figure
        assert figure.value > 0, figure
        assert "\n" not in figure.definition


def test_main_prints_a_table_and_writes_json(setup, tmp_path, capsys):
    file = tmp_path / "figures.json"
    main(["--only", "signal_block", "--config", str(setup.config), "--repeats", "1", "--json", str(file)])
    written = json.loads(file.read_text(encoding="utf-8"))
    assert [figure["name"] for figure in written["figures"]] == ["single-token step", "signal block"]
    printed = capsys.readouterr().out
    for text in ("processor: ", "versions: anygpt ", "single-token step", "<= 1.5", "measured in turns"):
        assert text in printed
    assert Path(written["config"]) == Path(setup.config)


def test_figure_knows_its_goal():
    assert Figure("a", 1.0, "s", "x").is_met is None
    assert Figure("a", 1.0, "s", "x", at_most=1.0).is_met is True
    assert Figure("a", 1.0, "s", "x", at_least=1.1).is_met is False
    assert "1.5 s  >= 2 MISSED" in as_text({}, [Figure("a", 1.5, "s", "x", at_least=2.0)])


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [([], 0.0), ([(0, 1), (2, 4)], 3.0), ([(0, 3), (1, 2)], 3.0), ([(2, 4), (0, 3)], 4.0)],
)
def test_covered_seconds_counts_what_runs_side_by_side_once(intervals, expected):
    assert covered_seconds(intervals) == expected
