"""Bounds of the marginal likelihood, and choices by it: slack by arm, evidence against accuracy, chosen settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import intervals, style
from neuro_decorr import study
from neuro_decorr.errors import require
from neuro_decorr.report import save_figure, save_table, table_text

SETTING = ["arm", "damping", "delta"]
BOUNDS = ["batches of 5", "batches of 10", "batches of 25", "batches of 50", "outputs", "tensors", "diagonal"]
CRITERIA = ["exact", "batches of 10", "diagonal", "validation"]
FEW = 3
"""Settings without a rank correlation: too few."""
DAMPED = {"damped": ("#56B4E9", "whitening, less power")}
CAPTION = (
    "A: slack of the bounds of the log determinant, by arm, at one damping and prior precision delta: geometric mean "
    "over seeds. B: log marginal likelihood an image and validation accuracy, one point a setting and seed; shapes: "
    "delta. C: log marginal likelihood, exact (lines) and with the diagonal of the Gauss-Newton matrix (dotted), by "
    "delta: mean over seeds. D: test accuracy of the setting that each criterion chooses, one point a seed, and means."
)
SLACK = (
    "Upper bounds of the log determinant, of networks trained with the same delta and with a smaller one: their slack, "
    "the mean over seeds and its 95 % interval (Student); `of center`: ratio of the slack to that of centring, "
    "geometric mean over paired seeds, `from` and `to` its interval; effective dimension, by the bound and exactly."
)
CHOICE = (
    "The setting (damping or centring, delta) with the largest log marginal likelihood of the training set, exact or "
    "bounded, or with the best validation accuracy, chosen seed by seed: its test accuracy, mean and 95 % interval "
    "(Student), and its paired difference to the choice by validation. `rank correlation`: Spearman's, of the "
    "criterion with validation accuracy over the settings of a seed, mean and interval over seeds."
)


def slacks(measured: study.Tables, damping: float, delta: float, trained: float) -> pd.DataFrame:
    """Make a table with one row per arm and bound.

    Args:
        measured: Tables of the runs.
        damping: Damping of the arms that have one.
        delta: Prior precision.
        trained: Prior precision during training.
    """
    rows = measured["bounds"]
    rows = rows[
        (rows["delta"] == delta)
        & (rows["trained"] == trained)
        & (rows["damping"].isna() | (rows["damping"] == damping))
    ].sort_values("seed")
    by = dict(list(rows.groupby(["arm", "bound"])))
    made = []
    for arm in style.ordered(rows["arm"], [*style.COLOURS, "damped"]):
        exact = by[arm, "exact"]["effective_dimension"].mean()
        for bound in style.ordered(rows[rows["bound"] != "exact"]["bound"], BOUNDS):
            own, control = by[arm, bound], by["center", bound]
            row = {"trained": trained, "arm": arm, "bound": bound, **intervals.of_mean(own["slack"], "slack")}
            if arm != "center":
                ratio = intervals.of_ratio(own["slack"], control["slack"], "of center")
                row |= {"of center": ratio["of center"], "from": ratio["low"], "to": ratio["high"]}
            made.append({**row, "dimension by it": own["effective_dimension"].mean(), "dimension": exact})
    return pd.DataFrame(made)


def settings(measured: study.Tables) -> pd.DataFrame:
    """Make a table with one row per setting and seed: every criterion, and accuracies.

    Centring counts as infinite damping.
    """
    bounds, ends = (table[table["delta"] == table["trained"]] for table in (measured["bounds"], measured["ends"]))
    rows = ends[ends["arm"].isin(["center", "whitening"])].copy()
    bounds = bounds.assign(damping=bounds["damping"].fillna(np.inf))
    criteria = bounds.pivot_table(index=[*SETTING, "seed"], columns="bound", values="log_evidence")
    rows["damping"] = rows["damping"].fillna(np.inf)
    rows["validation"] = rows["validation_accuracy"]
    return rows.merge(criteria.reset_index(), on=[*SETTING, "seed"]).sort_values(["seed", *SETTING])


def chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """Make a table with one row per seed and criterion: its choice, and its rank correlation with validation accuracy.

    Args:
        rows: Result of `settings`.
    """
    spearman = require("scipy.stats", "study").spearmanr
    made = []
    for seed, own in rows.groupby("seed"):
        for criterion in CRITERIA:
            best = own.iloc[int(own[criterion].argmax())]
            row = {"seed": seed, "criterion": criterion, "damping": best["damping"], "delta": best["delta"]}
            row["test"] = best["test_accuracy"]
            if criterion != "validation" and len(own) > FEW:
                row["correlation"] = float(spearman(own[criterion], own["validation"]).statistic)
            made.append(row)
    return pd.DataFrame(made)


def choice(found: pd.DataFrame) -> pd.DataFrame:
    """Make a table with one row per criterion.

    Args:
        found: Result of `chosen`.
    """
    by = dict(list(found.sort_values("seed").groupby("criterion")))
    made = []
    for criterion in CRITERIA:
        own = by[criterion]
        row = {"criterion": criterion, **intervals.of_mean(own["test"], "test accuracy")}
        if criterion != "validation":
            change = study.paired_difference(list(own["test"]), list(by["validation"]["test"]))
            row |= {"minus validation": change.mean, "from": change.low, "to": change.high}
            if "correlation" in own:
                ranks = intervals.of_mean(own["correlation"], "rank correlation")
                row |= {"rank correlation": ranks["rank correlation"], "least": ranks["low"], "most": ranks["high"]}
        settings = own[["damping", "delta"]].value_counts()
        often, times = settings.index[0], int(settings.iloc[0])
        made.append({**row, "most often": f"damping {often[0]:g}, delta {often[1]:g} ({times} of {len(own)})"})
    return pd.DataFrame(made)


def pools(rows: pd.DataFrame, damping: float) -> pd.DataFrame:
    """Tabulate choices from all settings, and from those that differ in delta only, with centring or with one damping.

    Args:
        rows: Result of `settings`.
        damping: The damping.
    """
    own = {"damping and delta": rows} | {
        f"delta, {words}": rows[rows["damping"] == value]
        for words, value in (("center", np.inf), (f"damping {damping:g}", damping))
    }
    parts = [choice(chosen(pool)).assign(chosen=words) for words, pool in own.items() if len(pool)]
    made = pd.concat(parts, ignore_index=True)
    return made[["chosen", *(name for name in made if name != "chosen")]]


def draw(tables: study.Tables, directory: Path, damping: float, delta: float, trained: float) -> str:
    """Draw the figure, write the tables, return the finding in words with the tables.

    Args:
        tables: Tables of the study.
        directory: Directory of the study.
        damping: Damping of the compared arms.
        delta: Prior precision of the compared arms.
        trained: Prior precision during the training of the networks that are measured afterwards.
    """
    slack, rows = slacks(tables, damping, delta, delta), settings(tables)
    found = chosen(rows)
    figure, axes = style.panels(2, 2, 5.4)
    _bounds(axes[0][0], slack)
    _beside(axes[0][1], rows)
    _by_delta(axes[1][0], rows)
    _choices(axes[1][1], found)
    save_figure(figure, directory, "evidence", CAPTION)
    made = pools(rows, damping)
    slack = pd.concat([slack, slacks(tables, damping, delta, trained)])
    save_table(slack, directory, "evidence_bounds", SLACK, digits=3)
    save_table(made, directory, "evidence_choice", CHOICE, digits=3)
    return f"{finding(slack, made)}\n\n{table_text(slack)}\n\n{table_text(made)}"


def finding(slack: pd.DataFrame, made: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    lines = []
    for _, own in slack.groupby(["trained", "arm"], sort=False):
        best = own.iloc[int(np.nanargmin(own["slack"]))]
        arm = str(best["arm"])
        words = DAMPED[arm][1] if arm in DAMPED else style.label(arm)
        lines.append(
            f"{words}, trained with delta {best['trained']:g}: the tightest bound of the log determinant is that by "
            f"{best['bound']}, with a slack of {intervals.told(best, 'slack')}."
        )
    for _, row in made[made["chosen"] == made["chosen"].iloc[0]].iterrows():
        words, change = "validation accuracy", ""
        if row["criterion"] != "validation":
            words = f"the evidence ({row['criterion']})"
            difference = f"{row['minus validation']:+.3f} [{row['from']:+.3f}, {row['to']:+.3f}]"
            change = f", {difference} against the choice by validation"
        accuracy = intervals.told(row, "test accuracy", ".3f")
        lines.append(f"Test accuracy of the setting that {words} chooses: {accuracy}{change}.")
    return "\n".join(lines)


def _bounds(axis: Axes, slack: pd.DataFrame) -> None:
    for arm in dict.fromkeys(slack["arm"]):
        own = slack[slack["arm"] == arm]
        colour, words = DAMPED.get(arm, (style.colour(arm), style.label(arm)))
        line = "--" if arm == "damped" else "-"
        axis.plot(own["bound"], own["slack"], line, marker="o", markersize=4, color=colour, label=words)
    axis.set(yscale="log", ylabel="slack of the log determinant", ylim=(slack["slack"].min() / 6, None))
    axis.tick_params(axis="x", labelrotation=30)
    axis.legend(frameon=False, loc="lower center", ncols=2)
    axis.set_title("bounds")


def _colours(rows: pd.DataFrame) -> dict[float, tuple[str, str]]:
    shades = ("#08306B", "#2171B5", "#6BAED6", "#9ECAE1", "#C6DBEF")
    dampings = sorted(rows["damping"].unique())
    return {
        value: ("#000000", "center") if np.isinf(value) else (shades[place % 5], f"damping {value:g}")
        for place, value in enumerate(dampings)
    }


def _beside(axis: Axes, rows: pd.DataFrame) -> None:
    for delta, marker in zip(sorted(rows["delta"].unique()), ["v", "o", "s", "^", "D"], strict=False):
        axis.plot([], [], marker, color="#999999", markersize=4, label=f"delta {delta:g}")
        for damping, (colour, words) in _colours(rows).items():
            own = rows[(rows["delta"] == delta) & (rows["damping"] == damping)]
            label = words if marker == "o" else None
            axis.plot(own["exact"], own["validation"], marker, color=colour, markersize=4, label=label)
    axis.set(xlabel="log marginal likelihood an image", ylabel="validation accuracy")
    axis.legend(frameon=False, ncols=2)
    axis.set_title("training set alone beside validation")


def _by_delta(axis: Axes, rows: pd.DataFrame) -> None:
    for damping, (colour, words) in _colours(rows).items():
        own = rows[rows["damping"] == damping].groupby("delta")[["exact", "diagonal"]].mean()
        axis.plot(own.index, own["exact"], color=colour, marker="o", markersize=4, label=words)
        axis.plot(own.index, own["diagonal"], ":", color=colour)
    axis.set(xscale="log", xlabel="delta", ylabel="log marginal likelihood an image")
    axis.set_title("exact, and by the diagonal (dotted)")


def _choices(axis: Axes, found: pd.DataFrame) -> None:
    for place, criterion in enumerate(CRITERIA):
        own = found[found["criterion"] == criterion]["test"]
        axis.plot([place] * len(own), own, "o", color="#999999", markersize=4)
        axis.plot([place - 0.2, place + 0.2], [own.mean()] * 2, color="#000000")
    axis.set_xticks(range(len(CRITERIA)), CRITERIA)
    axis.set_ylabel("test accuracy")
    axis.set_title("of the chosen setting")
