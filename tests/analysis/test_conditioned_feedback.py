"""The table of the protocol on conditioned feedback: paired differences to tuned nDFA, diverged runs at chance."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis import conditioned_feedback
from neuro_decorr import study

ACCURACIES = {
    "ndfa": (0.80, 0.82, 0.85),
    "center": (0.79, 0.80, 0.81),
    "none": (0.70, None, 0.72),
    "published_dfa": (0.60, 0.61, 0.59),
}
SECONDS = {"ndfa": 20.0, "center": 9.0, "none": 8.0, "published_dfa": 8.0}


def tables() -> study.Tables:
    """Four arms, three paired seeds; DFA diverged once; nDFA was chosen at the highest rate of its grid."""
    keys = {"credit": "direct_feedback_alignment", "damping": 0.0}
    measured = pd.DataFrame(
        {
            **keys, "stage": "measure", "seed": seed, "arm": arm, "learning_rate": 0.2, "diverged": accuracy is None,
            "test_accuracy": accuracy, "chance": 0.1,
        }
        for arm, accuracies in ACCURACIES.items()
        for seed, accuracy in enumerate(accuracies)
    )  # fmt: skip
    tried = pd.DataFrame(
        {**keys, "stage": "select", "seed": 1000, "arm": arm, "learning_rate": rate, "diverged": False}
        for arm in ACCURACIES
        for rate in ((0.05, 0.2) if arm == "ndfa" else (0.05, 0.2, 0.8))
    )
    courses = [
        measured.assign(epoch=float(part), updates=part, validation_accuracy=measured["test_accuracy"])
        for part in (0, 1)
    ]
    times = [
        measured.assign(epoch=float(part), updates=part, processor_seconds=part * measured["arm"].map(SECONDS))
        for part in (0, 1)
    ]
    return study.Tables(
        runs=pd.concat([tried, measured]), tests=measured, curves=pd.concat(courses), timings=pd.concat(times)
    )


def test_differences_to_tuned_ndfa_are_paired_and_diverged_runs_count_at_chance() -> None:
    made = conditioned_feedback.table(tables())
    assert list(made["arm"]) == ["published_dfa", "none", "center", "ndfa"]
    rows = made.set_index("arm")
    for arm, accuracies in ACCURACIES.items():
        pairs = zip(accuracies, ACCURACIES["ndfa"], strict=True)
        differences = pd.Series([(0.1 if a is None else a) - b for a, b in pairs if b is not None])
        half = 4.302652729911275 * differences.std() / 3**0.5  # Student's t of two degrees of freedom, 97.5 %
        row = rows.loc[arm]
        assert row["minus ndfa"] == pytest.approx(differences.mean())
        assert (row["from"], row["to"]) == (
            pytest.approx(differences.mean() - half),
            pytest.approx(differences.mean() + half),
        )
        assert row["seconds"] == SECONDS[arm]
    assert rows["diverged"].to_dict() == {"published_dfa": 0, "none": 1, "center": 0, "ndfa": 0}
    assert rows.loc["ndfa", "edge"] == "highest learning rate"


def test_the_figure_and_the_finding_name_every_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conditioned_feedback.draw(tables(), tmp_path)
    told = capsys.readouterr().out
    for arm in ACCURACIES:
        assert f"  {conditioned_feedback.LABELS[arm]} " in told
    assert "1 diverged" in told
    assert (tmp_path / "figures" / "conditioned_feedback.png").stat().st_size > 10_000
