"""The analysis of compensation on made-up curves whose answers are known by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis import compensation
from neuro_decorr import study


def made_up() -> study.Tables:
    """Two seeds, two epochs; backprop's centred epochs take 2 s, feedback alignment's compensated ones 4 s."""
    rows, times = [], []
    runs = [
        ("backprop", "center", 0.0, False, 1e-3, 0.2, 2.0),
        ("backprop", "center", 0.0, False, 1e-2, 0.1, 2.0),
        ("feedback_alignment", "center", 0.0, False, 1e-3, 0.1, 2.0),
        ("feedback_alignment", "interneuron", 10.0, True, 1e-3, 0.3, 4.0),
        ("feedback_alignment", "interneuron", 30.0, True, 1e-3, 0.4, 4.0),
    ]
    for credit, arm, damping, compensated, rate, gain, cost in runs:
        for seed in (0, 1):
            key = {"credit": credit, "arm": arm, "damping": damping, "compensated": compensated}
            key |= {"learning_rate": rate, "seed": seed, "stage": "measure"}
            for epoch in range(3):
                right = 0.1 + gain * epoch
                row = {"epoch": epoch, "validation_accuracy": right, "test_accuracy": right - 0.01}
                rows.append({**key, **row, "diverged": False})
                # One run was disturbed: the median ignores it.
                slow = 100 if (rate, seed, epoch) == (1e-2, 1, 2) else 1
                times.append({**key, "epoch": epoch, "processor_seconds": slow * cost * epoch})
    return study.Tables(curves=pd.DataFrame(rows), timings=pd.DataFrame(times))


def test_equal_time_choice_and_finding(tmp_path: Path) -> None:
    words = compensation.draw(made_up(), tmp_path, target=0.45)
    made = pd.read_csv(tmp_path / "tables" / "compensation.csv").set_index(["credit", "arm"])
    # The limit is 4 s: two epochs of centred backprop, one of compensated feedback alignment.
    assert made.loc[("backprop", "center"), "learning_rate"] == 1e-3
    assert made.loc[("backprop", "center"), "test at limit"] == pytest.approx(0.49)
    best = made.loc[("feedback_alignment", "interneuron")]
    assert best["damping"] == 30 and best["test at limit"] == pytest.approx(0.49)
    assert best["minus center"] == pytest.approx(0.49 - 0.29)
    assert best["seconds to target"] == pytest.approx(4) and best["seconds an epoch"] == pytest.approx(4)
    assert "at 4 s" in words and (tmp_path / "figures" / "compensation.png").is_file()


def test_what_the_validation_split_chose_is_told_whatever_the_test_split_says(tmp_path: Path) -> None:
    tables = made_up()
    tables["curves"].loc[tables["curves"]["learning_rate"] == 1e-2, "test_accuracy"] = 0.9
    compensation.draw(tables, tmp_path)
    made = pd.read_csv(tmp_path / "tables" / "compensation.csv").set_index(["credit", "arm"])
    assert made.loc[("backprop", "center"), "learning_rate"] == 1e-3


def test_settings_without_every_seed_are_left_out_and_counted(tmp_path: Path) -> None:
    tables = made_up()
    curves = tables["curves"]
    tables["curves"] = curves[~((curves["damping"] == 30) & (curves["seed"] == 1))]
    words = compensation.draw(tables, tmp_path)
    assert "Left out, since some seeds are missing: 1 settings" in words
    made = pd.read_csv(tmp_path / "tables" / "compensation.csv").set_index(["credit", "arm"])
    assert made.loc[("feedback_alignment", "interneuron"), "damping"] == 10


def test_a_diverged_run_stays_at_chance() -> None:
    course = pd.DataFrame({"epoch": [0, 1], "seconds": [0.0, 2.0], "test_accuracy": [0.1, 0.5], "diverged": True})
    assert compensation.at(course, 2.0, "test_accuracy", 3) == 0.1
    assert compensation.at(course.assign(diverged=False), 1.0, "test_accuracy", 1) == pytest.approx(0.3)
