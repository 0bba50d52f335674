"""The table, on results whose answers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import comparison
from neuro_decorr import study


def measured(**arms: list[float | None]) -> study.Tables:
    """By arm the test accuracies of its seeds, None where the run diverged."""
    curves, tests = [], []
    for arm, accuracies in arms.items():
        shared = {"credit": "backprop", "strength": 1.0, "arm": arm, "learning_rate": 0.1, "setting": 0}
        for seed, accuracy in enumerate(accuracies):
            run = {**shared, "seed": seed, "diverged": accuracy is None}
            curves += [
                {**run, "epoch": epoch, "validation_accuracy": (accuracy or 0.1) if epoch else 0.1} for epoch in (0, 1)
            ]
            tests.append({**run, "test_accuracy": accuracy, "chance": 0.1})
    return study.Tables(curves=pd.DataFrame(curves), tests=pd.DataFrame(tests))


def test_paired_difference_against_scipy() -> None:
    center, rule = [0.5, 0.6, 0.55, 0.7, 0.52], [0.7, 0.75, 0.8, 0.82, 0.66]
    made = comparison.table(measured(center=center, whitening=rule)).set_index("arm")
    expected = stats.ttest_rel(rule, center).confidence_interval(0.95)
    row = made.loc["whitening"]
    assert row["minus center"] == pytest.approx(np.mean(rule) - np.mean(center))
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["deviation"] == pytest.approx(np.std(rule, ddof=1))
    assert made.loc["center", "minus center"] == 0


def test_a_diverged_run_counts_at_chance_and_is_counted() -> None:
    row = comparison.table(measured(center=[0.5, 0.5], whitening=[0.9, None])).set_index("arm").loc["whitening"]
    assert row["accuracy"] == pytest.approx((0.9 + 0.1) / 2)
    assert (row["seeds"], row["diverged"]) == (2, 1)


def test_finding_chooses_on_validation_and_prints_losses_too() -> None:
    text = comparison.finding(comparison.table(measured(center=[0.9, 0.9], whitening=[0.5, 0.6])))
    assert "whitening 0.55 (-0.35" in text
