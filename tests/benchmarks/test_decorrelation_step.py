"""The benchmarks run, compare equal work, and measure memory that is really there. No time is asserted."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import neuro_decorr as nd
from benchmarks import decorrelation_step, training_step
from benchmarks._measure import Allocations, options
from models.dense import dense

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "settings", "rows"),
    [
        ("decorrelation_step.py", ["--sizes", "8", "12"], 20),
        ("training_step.py", ["--sizes", "12", "8", "3"], 15),
        ("convolution_step.py", ["--batch", "2"], 6),
        ("feedback_credits.py", ["--sizes", "12", "8", "3", "--image", "3", "8", "8", "--batches", "4", "2"], 12),
    ],
)
def test_scripts_run(script: str, settings: list[str], rows: int, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    command = [sys.executable, str(BENCHMARKS / script), *settings, "--rounds", "1", "--threads", "1"]
    result = subprocess.run([*command, "--out", str(out)], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with out.open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == rows
    assert all(row["ms"] in result.stdout and float(row["ms"]) > 0 for row in table)


@pytest.mark.parametrize("features", [5, 64, 100])
@pytest.mark.parametrize("center", [False, True])
def test_ours_and_the_published_formulation_do_equal_work(features: int, center: bool) -> None:
    assert decorrelation_step.check_equal(features, center) < 1e-10


@pytest.mark.parametrize("center", [False, True])
def test_unequal_work_is_refused(center: bool) -> None:
    with pytest.raises(AssertionError, match="differ by"):
        decorrelation_step.check_equal(16, center, faster=0.5)


def test_allocations_see_what_lives_at_once() -> None:
    given = torch.zeros(10, 10)
    with Allocations(given) as seen:
        given.add_(1)
        given.view(-1)[3:].mul_(2)
        torch.mm(given, torch.ones(10, 10), out=given.T.clone())  # two of the size at once
        for _ in range(5):
            given.clone()  # each gone before the next
    assert (seen.largest, seen.peak) == (400, 800)


@pytest.mark.parametrize("rule", ["norm_preserving", "interneuron"])
@pytest.mark.parametrize("center", [False, True])
def test_a_step_makes_no_matrix_of_features_times_features(rule: str, center: bool) -> None:
    features = 600
    layer, step = decorrelation_step.ours(features, rule, center)
    held = sum(buffer.numel() for buffer in layer.buffers())
    assert held < features**2 + 2 * features if rule == "norm_preserving" else held < 0.5 * features**2
    for _ in range(2 * decorrelation_step.EVERY):
        with Allocations(*layer.buffers()) as seen:
            step()
        assert 0 < seen.largest < 0.5 * 4 * features**2  # the batch itself is 0.43 of it


@pytest.mark.parametrize("compensate", [False, True])
@pytest.mark.parametrize("rule", [nd.rules.get("norm_preserving", rate=1e-6), nd.rules.get("interneuron")])
def test_nor_does_the_plasticity_of_a_network(rule: nd.rules.Rule, compensate: bool) -> None:
    data = training_step.batches((training_step.BATCH, 600), 10)
    training = training_step.Training(dense([600, 120, 10], seed=0), data, "backprop", rule, compensate)
    assert training.plasticity is not None
    for _ in range(2 * training_step.EVERY):
        training.learn()
        with Allocations() as seen:
            training.plasticity.step()
        # Compensation adds at most 2^17 numbers at a time: 0.36.
        assert 0 < seen.largest < (0.45 if compensate else 0.25) * 4 * 600**2


@pytest.mark.parametrize("option", ["--rounds", "--threads"])
@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_counts_below_one_are_one_clear_line(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("", rounds=1).parse_args([f"{option}={value}"])
    assert f"argument {option}: must be a whole number >= 1, got '{value}'" in capsys.readouterr().err
