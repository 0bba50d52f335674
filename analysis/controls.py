"""Arms and their controls in several conditions: the table that protocols share, and accuracy along a factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from analysis import intervals, style
from neuro_decorr import study

REFERENCE, CONDITIONED = "center", "foof"
"""Reference arms of the differences: centring, and the same conditioning applied to the gradient."""
CAPTION = (
    "Test accuracy after the last epoch: mean and standard deviation over paired seeds, and differences to `center` "
    "and to `foof` in the same condition with their 95 % intervals (Student). A diverged run counts at chance. The "
    "learning rate was chosen on the validation split with a seed that is not measured and as many runs for every "
    "condition; `edge`: it is an end of its grid."
)


def table(tables: study.Tables, factors: Sequence[str]) -> pd.DataFrame:
    """Make a table with one row per condition and arm.

    Args:
        tables: Tables of the study, with `tests` of measured runs and the learning rates that were tried.
        factors: Factors that define a condition, besides the arm.
    """
    tests = tables.of("measure")["tests"].sort_values("seed")
    tried = tables.of("select")["runs"].groupby([*factors, "arm"])["learning_rate"].agg(["min", "max"])
    runs = dict(list(tests.groupby([*factors, "arm"])))
    made = []
    for condition in tests[list(factors)].drop_duplicates().itertuples(index=False):
        for arm in style.arms(tests):
            if (own := runs.get((*condition, arm))) is None:
                continue
            row = {**dict(zip(factors, condition, strict=True)), "arm": arm, **_accuracy(own)}
            if (reference := runs.get((*condition, REFERENCE))) is not None and arm != REFERENCE:
                change = difference(own, reference)
                row |= {"minus center": change.mean, "low": change.low, "high": change.high}
            if (other := runs.get((*condition, CONDITIONED))) is not None and arm != CONDITIONED:
                change = difference(own, other)
                row |= {"minus foof": change.mean, "foof low": change.low, "foof high": change.high}
            row["edge"] = edge(row["learning rate"], *tried.loc[(*condition, arm)])
            made.append(row)
    return pd.DataFrame(made)


def difference(one: pd.DataFrame, other: pd.DataFrame) -> study.PairedDifference:
    """Compute the paired difference of test accuracies; diverged runs count at chance."""
    one, other = one.sort_values("seed"), other.sort_values("seed")
    return study.paired_difference(
        list(one["test_accuracy"]), list(other["test_accuracy"]), diverged_a=list(one["diverged"]),
        diverged_b=list(other["diverged"]), policy="chance", chance=style.chance(one),
    )  # fmt: skip


def accuracies(runs: pd.DataFrame) -> list[float]:
    """Return the test accuracy of every run; diverged runs count at chance."""
    found = study.outcomes(list(runs["test_accuracy"]), list(runs["diverged"]), "chance", style.chance(runs))
    return list(map(float, found))


def edge(chosen: float, low: float, high: float) -> str:
    """Name the end of its grid that a chosen setting is; empty within the grid, and where only one was tried.

    Args:
        chosen: The setting.
        low: Lowest setting of the grid.
        high: Highest setting of the grid.
    """
    return "" if low == high else {low: "lowest", high: "highest"}.get(chosen, "")


def remarks(row: pd.Series) -> str:
    """Write how many runs diverged and which end of the grid was chosen, from a row of `table`; empty if neither."""
    diverged = f"; {row['diverged']} diverged" if row["diverged"] else ""
    return diverged + (f"; {row['edge']} learning rate of its grid" if row["edge"] else "")


def interval(row: pd.Series) -> str:
    """Write the difference to the reference and its interval, from a row of `table`; empty for the reference."""
    if pd.isna(row["low"]):
        return ""
    return f" ({row['minus center']:+.3f}, {row['low']:+.3f} to {row['high']:+.3f})"


def along(axis: Axes, made: pd.DataFrame, places: Mapping[int, str], factor: str, line: str = "-") -> None:
    """Draw the accuracy of every arm along a factor: mean over seeds, bars its 95 % interval (Student).

    Args:
        axis: Axes to draw on.
        made: Result of `table`.
        places: Levels of the factor in their order, with their labels.
        factor: The factor.
        line: Style of the line.
    """
    for shift, arm in enumerate(arms := style.arms(made)):
        own = made[made["arm"] == arm].set_index(factor).reindex(list(places))
        half = intervals.half(own["deviation"], own["seeds"])
        where = [place + 0.03 * (shift - len(arms) / 2) for place in range(len(places))]
        axis.errorbar(
            where, own["accuracy"], half, color=style.colour(arm), linestyle=line,
            label=style.label(arm) if line == "-" else None,
            marker="o", markersize=3.5, linewidth=1.8 if arm == REFERENCE else 1.1, elinewidth=0.8,
        )  # fmt: skip
    axis.set_xticks(range(len(places)), list(places.values()))
    axis.set_ylabel("test accuracy")


def _accuracy(runs: pd.DataFrame) -> dict[str, object]:
    described = study.describe(
        list(runs["test_accuracy"]), list(runs["diverged"]), policy="chance", chance=style.chance(runs)
    )
    return {
        "accuracy": described.mean,
        "deviation": described.standard_deviation,
        "learning rate": float(runs["learning_rate"].iloc[0]),
        "seeds": described.n,
        "diverged": described.diverged,
    }
