"""Relation of accuracy to alignment, conditioning and norms over the arms, and a verdict on every prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from neuro_decorr import study
from neuro_decorr.errors import require
from neuro_decorr.report import save_figure, save_table

RUN = ["images", "credit", "arm", "seed"]
REFERENCE = "center"
MARGIN = 0.02
"""Largest difference of accuracies that counts as none."""
COLOURS = {
    "center": "#000000",
    "scalar_gain": "#999999",
    "diagonal": "#E69F00",
    "foof": "#009E73",
    "frozen_zca": "#56B4E9",
    "rotated_zca": "#CC79A7",
    "zca": "#0072B2",
}
CAPTION = (
    "Mean over paired seeds. `accuracy`: test accuracy after the last epoch, with the difference to `center` and its "
    "95 % interval (Student). Of the updates as steps of the plain network, means over the epochs measured after the "
    "first update: `cosine` to the natural gradient and `decrease`, what the best step along the update achieves of "
    "the natural gradient's, by its damping; `step`: learning rate times length. `first decrease`: before the first "
    "update, at the same weights in all arms; D of adaptive arms is the identity there. `rank` and `condition`: "
    "effective rank and condition number (median over seeds) of what the layers receive, geometric means over the "
    "layers. `feedback angle`: degrees, mean over the layers, after the last epoch. `edge`: the chosen learning rate "
    "is an end of its grid."
)

Expected: TypeAlias = Literal["greater", "equal", "not_greater"]
"""Expected difference: `greater` than zero, `equal` to zero within the margin, or `not_greater` than zero."""
Verdict: TypeAlias = Literal["confirmed", "refuted", "undecided"]


@final
@dataclass(frozen=True)
class Prediction:
    """Prediction of the protocol about the paired difference of two arms in a quantity.

    Attributes:
        number: Number in the protocol's docstring.
        text: The prediction in words.
        arm: First arm of the difference.
        other: Arm that is subtracted.
        expected: Expected difference.
        credits: Credits that it concerns. Empty: all; beginning with "not": all except those.
    """

    number: int
    text: str
    arm: str
    other: str
    expected: Expected
    credits: tuple[str, ...] = ()

    def concerns(self, credit: str) -> bool:
        """Return True if the prediction concerns a credit."""
        if self.credits[:1] == ("not",):
            return credit not in self.credits
        return not self.credits or credit in self.credits


PREDICTIONS = (
    Prediction(1, "decorrelation helps", "zca", REFERENCE, "greater"),
    Prediction(2, "norms alone do not", "scalar_gain", REFERENCE, "equal"),
    Prediction(3, "it is more than variances", "zca", "diagonal", "greater"),
    Prediction(4, "axes do not matter", "rotated_zca", "zca", "equal"),
    Prediction(5, "conditioning without adaptation helps", "frozen_zca", REFERENCE, "greater"),
    Prediction(6, "direction alone helps", "foof", REFERENCE, "greater"),
    Prediction(7, "direction does all of it", "foof", "zca", "equal", ("backprop",)),
    Prediction(8, "it is more than direction", "zca", "foof", "greater", ("not", "backprop")),
)
"""Predictions about accuracy; 9 is about alignment, 10 and 11 are about rank correlations over the arms."""


def verdict(low: float, high: float, expected: Expected, margin: float = MARGIN) -> Verdict:
    """Judge an expectation by an interval.

    Args:
        low: Lower end of the interval.
        high: Upper end.
        expected: The expectation.
        margin: Largest difference that counts as none.
    """
    if expected == "equal":
        if -margin < low and high < margin:
            return "confirmed"
        return "refuted" if low > margin or high < -margin else "undecided"
    above, below = low > 0, high <= 0
    if expected == "not_greater":
        above, below = below, above
    return "confirmed" if above else "refuted" if below else "undecided"


def runs(measured: study.Tables) -> pd.DataFrame:
    """Make a table with one row per run: accuracy (chance where it diverged), and means over its updates and layers."""
    tests = measured["tests"]
    chance = style.chance(tests)
    made = tests.set_index(RUN)[["learning_rate", "diverged"]].copy()
    made["accuracy"] = tests["test_accuracy"].where(~tests["diverged"].astype(bool), chance).to_numpy()
    learnt = {kind: measured[kind][measured[kind]["epoch"] > 0] for kind in ("geometry", "natural")}
    whole = learnt["natural"][learnt["natural"]["layer"] == "all"]
    for damping, rows in whole.groupby("natural_damping"):
        for quantity in ("cosine", "relative_decrease"):
            made[f"{quantity.removeprefix('relative_')} {damping:g}"] = rows.groupby(RUN)[quantity].mean()
    before = measured["natural"][(measured["natural"]["layer"] == "all") & (measured["natural"]["epoch"] == 0)]
    for damping, rows in before.groupby("natural_damping"):
        made[f"first decrease {damping:g}"] = rows.groupby(RUN)["relative_decrease"].mean()
    everything = learnt["geometry"]["layer"] == "all"
    steps, layers = learnt["geometry"][everything], learnt["geometry"][~everything]
    made["step"] = made["learning_rate"] * _geometric_mean(steps, "update_norm")
    made["rank"] = _geometric_mean(layers, "effective_rank")
    made["condition"] = _geometric_mean(layers, "condition_number")
    last = layers[layers["epoch"] == layers["epoch"].max()]
    made["feedback angle"] = last["feedback_angle"].astype(float).groupby([last[k] for k in RUN]).mean()
    return made.reset_index()


def dampings(found: pd.DataFrame) -> list[float]:
    """Return the dampings of the natural gradient, in ascending order."""
    return sorted(float(name.removeprefix("cosine ")) for name in map(str, found) if name.startswith("cosine "))


def middle(found: pd.DataFrame) -> str:
    """Return the column of the relative decrease at the middle damping."""
    swept = dampings(found)
    return f"decrease {swept[len(swept) // 2]:g}"


def table(found: pd.DataFrame, tried: pd.DataFrame) -> pd.DataFrame:
    """Make a table with one row per data set, credit and arm.

    Args:
        found: Result of `runs`.
        tried: Selection runs.
    """
    rows = []
    for (images, credit), own in found.groupby(["images", "credit"], sort=False):
        rates = tried.loc[(tried["images"] == images) & (tried["credit"] == credit), "learning_rate"]
        for arm in style.ordered(own["arm"], list(COLOURS)):
            mean = own[own["arm"] == arm].mean(numeric_only=True)
            row: dict[str, object] = {"images": images, "credit": credit, "arm": arm, "accuracy": mean["accuracy"]}
            for name, value in zip(("minus center", "low", "high"), _difference(own, arm, REFERENCE), strict=True):
                row[name] = value if arm != REFERENCE else math.nan
            for name in mean.index.difference(["seed", "accuracy", "diverged"], sort=False):
                row[str(name)] = mean[name]
            row["condition"] = own.loc[own["arm"] == arm, "condition"].median()
            diverged = int(own.loc[own["arm"] == arm, "diverged"].sum())
            seeds = int((own["arm"] == arm).sum())
            rate = mean["learning_rate"]
            edge = "lowest" if rate <= rates.min() else "highest" if rate >= rates.max() else ""
            rows.append({**row, "edge": edge, "seeds": seeds, "diverged": diverged})
    return pd.DataFrame(rows)


def verdicts(found: pd.DataFrame) -> pd.DataFrame:
    """Make a table with one row per prediction, data set, credit and quantity, with the interval that decides."""
    rows: list[dict[str, object]] = []
    aligned = [name for name in map(str, found) if name.startswith(("cosine ", "decrease "))]
    for (images, credit), own in found.groupby(["images", "credit"], sort=False):

        def judge(
            number: int, text: str, quantity: str, interval: tuple[float, float, float], expected: Expected | None
        ) -> None:
            mean, low, high = interval
            said = verdict(low, high, expected) if expected else "measured"
            names = ("prediction", "text", "images", "credit", "quantity", "mean", "low", "high", "verdict")
            values = (number, text, images, credit, quantity, mean, low, high, said)  # noqa: B023  # called at once
            rows.append(dict(zip(names, values, strict=True)))

        present = set(own["arm"])
        for p in PREDICTIONS:
            if p.concerns(str(credit)) and {p.arm, p.other} <= present:
                interval = _difference(own, p.arm, p.other)
                judge(p.number, p.text, f"accuracy, {p.arm} - {p.other}", interval, p.expected)
        for quantity in aligned:
            interval = _difference(own, "zca", REFERENCE, quantity)
            judge(9, "updates turn to the natural gradient", f"{quantity}, zca - center", interval, "greater")
        for number, quantity, text, expected in (
            (10, middle(found), "accuracy goes with alignment", "greater"),
            (10, "rank", "accuracy goes with conditioning", "greater"),
            (11, "step", "accuracy does not go with norms", "not_greater"),
        ):
            if len(present) > 2:
                judge(number, text, f"rank correlation with {quantity}", _correlation(own, quantity), expected)  # type: ignore[arg-type]
        for quantity in (name for name in map(str, found) if name.startswith("first ")):
            if "foof" in present:
                interval = _difference(own, "foof", REFERENCE, quantity)
                judge(12, "not predicted: direction at equal weights", f"{quantity}, foof - center", interval, None)
    return pd.DataFrame(rows)


def _geometric_mean(rows: pd.DataFrame, quantity: str) -> pd.Series:
    """Compute the geometric mean of a quantity in every run; zero where one of the values is zero."""
    with np.errstate(divide="ignore"):
        logarithms = rows[quantity].astype(float).map(np.log)
    return logarithms.groupby([rows[name] for name in RUN]).mean().map(np.exp)


def _difference(own: pd.DataFrame, arm: str, other: str, quantity: str = "accuracy") -> tuple[float, float, float]:
    """Compute the mean paired difference over seeds with its interval; a diverged run has an alignment of zero."""
    a, b = (own[own["arm"] == name].sort_values("seed")[quantity].fillna(0).tolist() for name in (arm, other))
    found = study.paired_difference(a, b)
    return found.mean, found.low, found.high


def _correlation(own: pd.DataFrame, quantity: str) -> tuple[float, float, float]:
    """Compute Spearman's rank correlation of accuracy with a quantity over the arms: mean over seeds, and interval."""
    spearman = require("scipy.stats", "study").spearmanr
    each = [float(spearman(arms["accuracy"], arms[quantity]).statistic) for _, arms in own.groupby("seed")]
    known = [value for value in each if math.isfinite(value)]
    if not known:
        return math.nan, -math.inf, math.inf
    found = study.paired_difference(known, [0.0] * len(known))
    return found.mean, found.low, found.high


def finding(judged: pd.DataFrame) -> str:
    """Write every prediction with its verdict and the interval that decides, whatever the result."""
    counts = judged.loc[judged["verdict"] != "measured", "verdict"].value_counts()
    told = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("confirmed", "refuted", "undecided"))
    lines = [f"{counts.sum()} predictions (by credit and quantity): {told}"]
    for (images, number, text), rows in judged.groupby(["images", "prediction", "text"], sort=True):
        lines.append(f"  {images}, {number}. {text}")
        for row in rows.to_dict("records"):
            credit = style.CREDITS.get(row["credit"], row["credit"])
            interval = f"{row['mean']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
            lines.append(f"    {row['verdict']:9s} {credit:20s} {row['quantity']}: {interval}")
    return "\n".join(lines)


def draw(tables: study.Tables, directory: Path) -> None:
    """Save the table, the verdicts and a figure for every data set, and print the verdicts."""
    found = runs(tables.of("measure"))
    save_table(table(found, tables.of("select")["runs"]), directory, "gradient_geometry", CAPTION, digits=3)
    judged = verdicts(found)
    save_table(judged, directory, "verdicts", "Verdicts on the protocol's predictions.", digits=3)
    for images, own in found.groupby("images", sort=False):
        save_figure(
            _figure(own),
            directory,
            f"gradient_geometry_{images}",
            "Top row: test accuracy after the last epoch, mean (large) and every paired seed (small); dotted: "
            "centring. Middle row: relative decrease, what the best step along the update achieves of the natural "
            "gradient's, by the damping of the natural gradient. Bottom row: accuracy and the effective rank of the "
            "layers' inputs; means over seeds.",
        )
    print(finding(judged))


def _figure(found: pd.DataFrame) -> Figure:
    credits, arms = style.credits(found), style.ordered(found["arm"], list(COLOURS))
    figure, axes = style.panels(3, len(credits), 6.8)
    swept = dampings(found)
    for column, credit in enumerate(credits):
        own = found[found["credit"] == credit]
        top, aligned, ranked = (axes[row][column] for row in range(3))
        for place, arm in zip(range(len(arms) - 1, -1, -1), arms, strict=True):
            rows, colour = own[own["arm"] == arm], COLOURS[arm]
            label = arm.replace("_", " ")
            top.plot(rows["accuracy"], [place] * len(rows), ".", color=colour, markersize=4, alpha=0.6)
            top.plot(rows["accuracy"].mean(), place, "o", color=colour, markersize=5)
            aligned.plot(swept, [rows[f"decrease {d:g}"].mean() for d in swept], "o-", color=colour, label=label)
            ranked.plot(rows["rank"].mean(), rows["accuracy"].mean(), "o", color=colour, markersize=5)
        top.axvline(own.loc[own["arm"] == REFERENCE, "accuracy"].mean(), color="#bbbbbb", linestyle=":", zorder=0)
        names = [arm.replace("_", " ") for arm in reversed(arms)]
        top.set_yticks(range(len(arms)), names if column == 0 else [""] * len(arms))
        top.set(title=style.CREDITS[credit], xlabel="test accuracy")
        aligned.set(xscale="log", xlabel="damping of the natural gradient", ylim=(0, None))
        ranked.set(xlabel="effective rank of the layers' inputs")
    axes[1][0].set_ylabel("relative decrease")
    axes[2][0].set_ylabel("test accuracy")
    style.legend(figure, axes[1][0], columns=min(len(arms), 4))
    return figure
