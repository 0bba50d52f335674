"""The table and the choice, on results whose answers are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import comparison

ROOT = Path(__file__).parent.parent.parent


def runs(arm: str, accuracies: list[float | None]) -> list[dict[str, object]]:
    shared = {"stage": "measure", "credit": "backprop", "strength": 1.0, "arm": arm, "learning_rate": 0.1, "setting": 0}
    rows = []
    for seed, accuracy in enumerate(accuracies):
        run = {**shared, "seed": seed, "diverged": accuracy is None}
        rows.append({**run, "kind": "curve", "epoch": 0, "validation_accuracy": 0.1})
        rows.append({**run, "kind": "curve", "epoch": 1, "validation_accuracy": accuracy or 0.1})
        rows.append({**run, "kind": "test", "test_accuracy": accuracy, "chance": 0.1})
    return rows


def test_paired_difference_against_scipy() -> None:
    center, rule = [0.5, 0.6, 0.55, 0.7, 0.52], [0.7, 0.75, 0.8, 0.82, 0.66]
    made = comparison.table(pd.DataFrame(runs("center", center) + runs("whitening", rule))).set_index("arm")
    expected = stats.ttest_rel(rule, center).confidence_interval(0.95)
    row = made.loc["whitening"]
    assert row["minus center"] == pytest.approx(np.mean(rule) - np.mean(center))
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["deviation"] == pytest.approx(np.std(rule, ddof=1))
    assert made.loc["center", "minus center"] == 0


def test_a_diverged_run_counts_at_chance_and_is_counted() -> None:
    results = pd.DataFrame(runs("center", [0.5, 0.5]) + runs("whitening", [0.9, None]))
    row = comparison.table(results).set_index("arm").loc["whitening"]
    assert row["accuracy"] == pytest.approx((0.9 + 0.1) / 2)
    assert (row["seeds"], row["diverged"]) == (2, 1)


def trial(rate: float, setting: int, accuracy: float, diverged: bool = False, seed: int = 1000) -> dict[str, object]:
    return {
        "stage": "select", "kind": "curve", "arm": "a", "epoch": 3, "seed": seed, "learning_rate": rate,
        "setting": setting, "validation_accuracy": accuracy, "diverged": diverged,
    }  # fmt: skip


def test_selection() -> None:
    trials = [trial(0.1, 0, 0.6), trial(0.1, 1, 0.8), trial(1.0, 0, 0.95, diverged=True), trial(1.0, 1, 0.7)]
    assert comparison.selected(pd.DataFrame(trials), {"arm": "a"}) == {"learning_rate": 0.1, "setting": 1}
    ties = [trial(1.0, 0, 0.8), trial(0.1, 0, 0.8)]
    assert comparison.selected(pd.DataFrame(ties), {"arm": "a"})["learning_rate"] == 0.1
    averaged = [trial(0.1, 0, 0.9), trial(0.1, 0, 0.1, seed=1001), trial(1.0, 0, 0.6), trial(1.0, 0, 0.6, seed=1001)]
    assert comparison.selected(pd.DataFrame(averaged), {"arm": "a"})["learning_rate"] == 1.0


def test_finding_chooses_on_validation_and_prints_losses_too() -> None:
    results = pd.DataFrame(runs("center", [0.9, 0.9]) + runs("whitening", [0.5, 0.6]))
    text = comparison.finding(comparison.table(results))
    assert "whitening 0.55 (-0.35" in text


@pytest.mark.parametrize("script", ["comparison", "learning_curves", "achieved_decorrelation", "dose_response"])
def test_a_wrong_directory_is_one_line(script: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"analysis.{script}", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1 and "results.csv" in run.stderr
