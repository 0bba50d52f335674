"""Verdicts on predictions, from numbers whose intervals are known."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis import gradient_geometry as analysis

T = 4.302652729911275
"""Student's t of two degrees of freedom, 97.5 %."""


@pytest.mark.parametrize(
    ("low", "high", "expected", "verdict"),
    [
        (0.01, 0.05, "greater", "confirmed"),
        (-0.01, 0.05, "greater", "undecided"),
        (-0.05, -0.01, "greater", "refuted"),
        (-0.01, 0.015, "equal", "confirmed"),
        (0.01, 0.03, "equal", "undecided"),
        (0.03, 0.04, "equal", "refuted"),
        (-0.4, -0.03, "equal", "refuted"),
        (-0.4, -0.1, "not_greater", "confirmed"),
        (0.1, 0.4, "not_greater", "refuted"),
        (-0.1, 0.4, "not_greater", "undecided"),
    ],
)
def test_verdicts(low: float, high: float, expected: analysis.Expected, verdict: str) -> None:
    assert analysis.verdict(low, high, expected) == verdict


def found() -> pd.DataFrame:
    """Three arms, three seeds: accuracy rises with rank and falls with the step."""
    rows = []
    for arm, accuracies, rank, step in (
        ("center", (0.5, 0.6, 0.7), 2.0, 3.0),
        ("scalar_gain", (0.501, 0.601, 0.701), 2.5, 2.0),
        ("zca", (0.7, 0.7, 0.8), 9.0, 1.0),
    ):
        for seed, accuracy in enumerate(accuracies):
            same = {"images": "digits", "credit": "backprop", "arm": arm, "seed": seed, "accuracy": accuracy}
            rows.append(same | {"cosine 1": rank / 10, "decrease 1": rank / 10, "rank": rank, "step": step})
    return pd.DataFrame(rows).assign(diverged=False, learning_rate=0.1)


def test_differences_are_paired_and_judged() -> None:
    judged = analysis.verdicts(found()).set_index(["prediction", "quantity"])
    row = judged.loc[(1, "accuracy, zca - center")]
    differences = pd.Series([0.2, 0.1, 0.1])
    half = T * differences.std() / 3**0.5
    assert (row["mean"], row["low"], row["high"]) == pytest.approx(
        (differences.mean(), differences.mean() - half, differences.mean() + half)
    )
    assert row["verdict"] == "undecided", "a half-width of 0.143 about 0.133"
    assert judged.loc[(2, "accuracy, scalar_gain - center"), "verdict"] == "confirmed"
    assert judged.loc[(9, "cosine 1, zca - center"), "verdict"] == "confirmed"
    assert judged.loc[(10, "rank correlation with rank"), "mean"] == pytest.approx(1)
    assert judged.loc[(11, "rank correlation with step"), "verdict"] == "confirmed"
    assert 7 not in judged.index.get_level_values(0), "no foof here"


def test_predictions_are_of_their_credits() -> None:
    concerned = {p.number: (p.concerns("backprop"), p.concerns("node_perturbation")) for p in analysis.PREDICTIONS}
    assert concerned[1] == (True, True)
    assert concerned[7] == (True, False)
    assert concerned[8] == (False, True)
