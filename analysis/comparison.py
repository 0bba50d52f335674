"""Table of the test accuracy of every arm, and of its paired difference to centring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis import controls, style
from neuro_decorr import study
from neuro_decorr.report import save_table

REFERENCE = "center"
CAPTION = (
    "Test accuracy after the last epoch: mean and standard deviation over paired seeds; difference to `center` with "
    "the same seeds and its 95 % interval (Student). A diverged run counts at chance level. `first epoch`: "
    "validation accuracy after one pass. Learning rate and setting of the rule were chosen on the validation split, "
    "with the same number of runs for every arm."
)


def table(
    measured: study.Tables, factor: str | None = "strength", chosen: Sequence[str] = ("learning_rate", "setting")
) -> pd.DataFrame:
    """Make a table with one row per credit, level of another factor, and arm.

    Args:
        measured: Tables of the measured runs.
        factor: The other factor, or None.
        chosen: Columns of the settings that the selection chose.
    """
    tests, curves = measured["tests"].sort_values("seed"), measured["curves"].sort_values("epoch")
    keys = ["credit", *([factor] if factor else []), "arm"]
    runs = dict(list(tests.groupby(keys)))
    course = dict(list(curves.groupby(keys)))
    rows = []
    for credit in style.credits(tests):
        for level in sorted(tests[factor].unique()) if factor else [None]:
            condition = (credit,) if factor is None else (credit, level)
            reference = runs[*condition, REFERENCE]
            for key in ((*condition, arm) for arm in style.arms(tests)):
                if key in runs:
                    row = dict(zip(keys, key, strict=True))
                    rows.append({**row, **_row(runs[key], reference, course[key], chosen)})
    return pd.DataFrame(rows)


def _row(runs: pd.DataFrame, reference: pd.DataFrame, course: pd.DataFrame, chosen: Sequence[str]) -> dict[str, object]:
    chance = style.chance(runs)
    described = study.describe(list(runs["test_accuracy"]), list(runs["diverged"]), "chance", chance)
    difference = controls.difference(runs, reference)
    ends = course.groupby("seed")["validation_accuracy"].last()
    # A run that diverged in its first epoch has only the accuracy before learning, which is chance.
    early = course[course["epoch"] <= 1].groupby("seed")["validation_accuracy"].last()
    return {
        "accuracy": described.mean,
        "deviation": described.standard_deviation,
        "minus center": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "seeds": described.n,
        "diverged": described.diverged,
        "first epoch": float(early.mean()),
        "validation": float(ends.mean()),
        **{name.replace("_", " "): runs[name].iloc[0] for name in chosen},
    }


def early_stopped(curves: pd.DataFrame, chance: float, seconds: float = math.inf) -> pd.DataFrame:
    """Select for every seed the epoch with the best validation accuracy (early stopping), the first of equals.

    Args:
        curves: Rows of a condition, one per seed and epoch; with `processor_seconds` where these are bounded.
        chance: Test accuracy of a run that diverged.
        seconds: Processor time before which the epoch has to end (s).

    Returns:
        One row per seed, in order. For a run that diverged before its first epoch everything except the test accuracy
        is NaN.
    """
    known = curves.dropna(subset=["validation_accuracy"])
    if math.isfinite(seconds):
        known = known[known["processor_seconds"] <= seconds]
    ordered = known.sort_values(["seed", "epoch"]).reset_index(drop=True)
    best = ordered.loc[ordered.groupby("seed")["validation_accuracy"].idxmax()].set_index("seed")
    diverged = curves.groupby("seed")["diverged"].any()
    best = best.reindex(diverged.index)
    best["test_accuracy"] = best["test_accuracy"].mask(diverged, chance)
    return best


def finding(table: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result: one line per credit and strength with all arms.

    It shows the rule with the best validation accuracy, so that the test split chooses nothing.
    """
    lines = []
    for strength in style.complete(table):
        lines.append(
            f"Common modes of strength {strength:g}: test accuracy; of the rules that of the best validation accuracy "
            "(difference to centring, 95 % interval)"
        )
        for credit, rows in table[table["strength"] == strength].groupby("credit", sort=False):
            arms = rows.set_index("arm")
            rules = arms.drop(index=["none", "center", "center_compensated", "batch_normalisation"], errors="ignore")
            if rules.empty:
                continue
            name = style.CREDITS.get(str(credit), str(credit))
            best = str(rules["validation"].idxmax())
            row = rules.loc[best]
            reached = arms["accuracy"].to_dict()
            controls = ", ".join(f"{arm} {reached[arm]:.2f}" for arm in ("none", "center") if arm in reached)
            lines.append(
                f"  {name:22s} {controls}, {style.label(best)} {row['accuracy']:.2f} "
                f"({row['minus center']:+.2f}, {row['low']:+.2f} to {row['high']:+.2f})"
            )
    return "\n".join(lines)


def draw(measured: study.Tables, directory: Path) -> None:
    """Save the table as CSV and Markdown, and print the finding."""
    made = table(measured)
    save_table(made, directory, "comparison", CAPTION, digits=3)
    print(finding(made))
