"""The table of the protocol on real images: paired differences, and choices at an end of their grid."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis import natural_images
from neuro_decorr import study

CENTER = {0: 0.50, 1: 0.60, 2: 0.70}
RULE = {0: 0.55, 1: 0.68, 2: 0.71}


def tables() -> study.Tables:
    """Two arms, three paired seeds; the rule was chosen at the highest rate of its grid, inside its dampings."""
    grid = {
        "center": [(rate, 0.0) for rate in (0.1, 0.2, 0.4)],
        "interneuron": [(r, d) for r in (0.1, 0.3) for d in (1, 3, 9)],
    }
    chosen = {"center": (0.2, 0.0), "interneuron": (0.3, 3.0)}
    runs = [
        {"stage": "select", "seed": 1000, "arm": arm, "learning_rate": rate, "damping": float(damping)}
        for arm, settings in grid.items()
        for rate, damping in settings
    ]
    rows = []
    for arm, accuracies in (("center", CENTER), ("interneuron", RULE)):
        rate, damping = chosen[arm]
        for seed, accuracy in accuracies.items():
            rows.append(
                {
                    "stage": "measure",
                    "seed": seed,
                    "arm": arm,
                    "learning_rate": rate,
                    "damping": damping,
                    "test_accuracy": accuracy,
                }
            )
    measured = pd.DataFrame(rows).assign(credit="backprop", diverged=False)
    every = pd.concat(
        [pd.DataFrame(runs).assign(credit="backprop", diverged=False), measured.drop(columns="test_accuracy")]
    )
    courses = [
        measured.assign(epoch=e, updates=e, validation_accuracy=measured["test_accuracy"] - 0.1 + 0.1 * e)
        for e in (0, 1)
    ]
    times = [measured.drop(columns="test_accuracy").assign(epoch=e, processor_seconds=2.0 * e) for e in (0, 1)]
    return study.Tables(
        runs=every, tests=measured.assign(chance=0.1), curves=pd.concat(courses), timings=pd.concat(times)
    )


def test_differences_are_paired_and_the_ends_of_grids_are_named() -> None:
    made = natural_images.table(tables()).set_index("arm")
    differences = pd.Series([RULE[seed] - CENTER[seed] for seed in range(3)])
    half = 4.302652729911275 * differences.std() / 3**0.5  # Student's t of two degrees of freedom, 97.5 %
    row = made.loc["interneuron"]
    assert row["minus center"] == pytest.approx(differences.mean())
    assert (row["low"], row["high"]) == (
        pytest.approx(differences.mean() - half),
        pytest.approx(differences.mean() + half),
    )
    assert row["edge"] == "highest learning rate"
    assert made.loc["center", "edge"] == ""
    assert row["seconds"] == 2.0
    assert "highest learning rate of its grid" in natural_images.finding(natural_images.table(tables()))


def test_the_difference_to_the_gradient_side_is_paired() -> None:
    given = tables()
    renamed = {
        kind: given[kind].replace({"arm": {"center": "foof"}}) for kind in ("runs", "tests", "curves", "timings")
    }
    both = {kind: pd.concat([given[kind], rows[rows["arm"] == "foof"]]) for kind, rows in renamed.items()}
    made = natural_images.table(study.Tables(**both))
    row = made.set_index("arm").loc["interneuron"]  # `foof` has the accuracies of `center` here
    for to_foof, to_center in (("minus foof", "minus center"), ("foof low", "low"), ("foof high", "high")):
        assert row[to_foof] == pytest.approx(row[to_center])
    assert made.set_index("arm")["minus foof"].isna()["foof"]
    assert f"minus foof {row['minus center']:+.3f}" in natural_images.finding(made)
