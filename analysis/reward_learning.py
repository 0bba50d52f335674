"""Learning from reward with and without lateral inhibition of the inputs: curves, learning rates, tables, finding."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

FIXED = "no learning"
CREDITS = {
    "node_perturbation": "node perturbation",
    "broadcast_feedback": "broadcast feedback",
    "hidden_fixed": "hidden layer fixed",
}
COLOURS = {
    "none": "#000000",
    "homeostasis": "#56B4E9",
    "lateral": "#D55E00",
    "shuffled": "#009E73",
    "uniform": "#CC79A7",
}
CAPTION = (
    "Test accuracy at the end, without noise and learning: mean and standard deviation over paired seeds; difference "
    "to inputs `none` with the same credit, centred eligibility and the same seeds, and its 95 % interval (Student). "
    "The learning rate of each row was chosen on another seed by validation images, from the same rates for every row. "
    "`decoder`: linear discriminant of the same input counts."
)
CONTRASTS = (
    "Paired differences of test accuracy with 95 % intervals (Student), centred eligibility: learnt lateral inhibition "
    "against each control, and broadcast feedback against the same network whose hidden layer stays as drawn."
)
INPUTS = (
    "Spike counts of the input neurons over the trials of learning, mean over seeds: mean absolute correlation between "
    "neurons, that of independent neurons (floor), participation ratio, rate, neurons that never spike, mean "
    "inhibitory weight, and the test accuracy of a linear discriminant."
)


KEYS = ["credit", "eligibility", "arm"]


def chosen(tables: study.Tables) -> pd.DataFrame:
    """Choose the learning rate of each condition by the mean of the last two validations on the selection seeds."""
    rows = tables.of("select")["validations"]
    last = sorted(rows["learnt"].unique())[-2:]
    return study.best(rows[rows["learnt"].isin(last)], KEYS, ["learning_rate"], "accuracy")


def outcomes(tables: study.Tables) -> dict[tuple[str, str, str], list[float]]:
    """Return test accuracies by credit, eligibility and arm, at the chosen learning rate, in the order of the seeds."""
    tests = tables["tests"].merge(chosen(tables))
    groups = tests.sort_values("seed").groupby(KEYS)
    return {(str(one), str(two), str(three)): list(rows["accuracy"]) for (one, two, three), rows in groups}


def table(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per credit, eligibility and arm, at the chosen learning rate."""
    counted = tables["inputs"]
    decoders = counted.groupby("arm")["decoder"].mean()
    runs, rates = outcomes(tables), chosen(tables).set_index(KEYS)["learning_rate"]
    rows = []
    for credit, eligibility in itertools.product(CREDITS, ("centred", "uncentred", FIXED)):
        for arm in style.ordered(counted["arm"], list(COLOURS)):
            if (credit, eligibility, arm) not in runs:
                continue
            values = study.describe(runs[credit, eligibility, arm])
            difference = study.paired_difference(runs[credit, eligibility, arm], runs[credit, "centred", "none"])
            rows.append(
                {
                    "credit": credit,
                    "eligibility": eligibility,
                    "inputs": arm,
                    "accuracy": values.mean,
                    "deviation": values.standard_deviation,
                    "minus reference": difference.mean,
                    "low": difference.low,
                    "high": difference.high,
                    "seeds": values.n,
                    "learning rate": float(rates[credit, eligibility, arm]),
                    "decoder": float(decoders[arm]),
                }
            )
    return pd.DataFrame(rows)


def inputs(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per arm, about its input population."""
    columns = ["correlation", "floor", "dimensions", "rate", "silent", "inhibition", "decoder"]
    rows = tables["inputs"]
    means = rows.groupby("arm")[columns].mean()
    order = style.ordered(rows["arm"], list(COLOURS))
    return means.loc[order].reset_index().rename(columns={"arm": "inputs", "rate": "rate (Hz)"})


def contrasts(tables: study.Tables) -> pd.DataFrame:
    """Compare lateral inhibition with each control, and a learning hidden layer with a fixed one; paired, centred."""
    runs = outcomes(tables)
    pairs = [
        (f"{credit}: lateral - {control}", (credit, "centred", "lateral"), (credit, "centred", control))
        for credit in CREDITS
        for control in ("none", "homeostasis", "shuffled", "uniform")
    ] + [
        (
            f"{arm}: hidden layer learns - fixed",
            ("broadcast_feedback", "centred", arm),
            ("hidden_fixed", "centred", arm),
        )
        for arm in COLOURS
    ]
    rows = []
    for name, one, other in pairs:
        if one in runs and other in runs:
            gap = study.paired_difference(runs[one], runs[other])
            verdict = "better" if gap.low > 0 else "worse" if gap.high < 0 else "no difference shown"
            rows.append(
                {"comparison": name, "difference": gap.mean, "low": gap.low, "high": gap.high, "verdict": verdict}
            )
    return pd.DataFrame(rows)


def finding(tables: study.Tables, chance: float) -> str:
    """Write the finding in words, whatever the result."""
    made, counted = table(tables), inputs(tables).set_index("inputs")
    still = made[made["eligibility"] == FIXED]["accuracy"].mean()
    low, high = counted["decoder"].min(), counted["decoder"].max()
    lines = [
        f"Test accuracy after learning, {int(made['seeds'].iloc[0])} paired seeds (chance {chance:.2f}, without "
        f"learning {still:.2f}; linear decoder of the inputs {low:.2f} to {high:.2f}); in brackets minus inputs 'none':"
    ]
    correlations = counted["correlation"].to_dict()
    for credit, rows in made[made["eligibility"] == "centred"].groupby("credit", sort=False):
        lines.append(f"{CREDITS[str(credit)]}, centred eligibility")
        for row in rows.to_dict("records"):
            interval = f"{row['minus reference']:+.3f}, {row['low']:+.3f} to {row['high']:+.3f}"
            correlated = correlations[row["inputs"]]
            lines.append(f"  {row['inputs']!s:12s} |r| {correlated:.2f}  {row['accuracy']:.3f} ({interval})")
    lines.append("Differences with 95 % intervals")
    for row in contrasts(tables).to_dict("records"):
        interval = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        lines.append(f"  {row['comparison']:48s} {interval}  {row['verdict']}")
    return "\n".join(lines)


def draw(tables: study.Tables, directory: Path, classes: int) -> str:
    """Write the tables and the figure of a study.

    Args:
        tables: Tables of all runs, of selection and measurement.
        directory: Directory of the study.
        classes: Number of classes, for the chance level.

    Returns:
        The finding in words.
    """
    save_table(table(tables), directory, "reward_learning", CAPTION, digits=3)
    save_table(contrasts(tables), directory, "reward_learning_contrasts", CONTRASTS, digits=3)
    save_table(inputs(tables), directory, "reward_learning_inputs", INPUTS, digits=3)
    measured, chance = tables.of("measure"), 1 / classes
    best = measured["validations"].merge(chosen(tables))
    figure, axes = style.panels(2, 4, 4.6, width_ratios=(1.3, 1.3, 1.3, 1))
    for row, credit in zip(axes, ("node_perturbation", "broadcast_feedback"), strict=True):
        for axis, eligibility in zip(row, ("centred", "uncentred"), strict=False):
            curves = best[best["credit"] == credit]
            _lines(axis, curves[curves["eligibility"] == eligibility], "learnt", chance)
            axis.set(title=f"{eligibility} eligibility", xlabel="trials of learning")
        row[0].set_ylabel(f"{CREDITS[credit]}\nvalidation accuracy")
        tests = measured["tests"][measured["tests"]["credit"] == credit]
        _lines(row[2], tests[tests["eligibility"] == "centred"], "learning_rate", chance)
        row[2].set(title="centred, all rates", xlabel="learning rate", xscale="log", ylabel="test accuracy")
    counted = measured["inputs"]
    _dots(axes[0][3], {str(arm): list(rows["correlation"]) for arm, rows in counted.groupby("arm")})
    axes[0][3].set(title="inputs", ylabel="mean |r| of counts", ylim=(0, None))
    axes[0][3].axhline(counted["floor"].mean(), color="#888888", linewidth=0.8, linestyle=":")
    runs, arms = outcomes(tables), list(counted["arm"].unique())
    gain = {
        arm: list(np.subtract(runs["broadcast_feedback", "centred", arm], runs["hidden_fixed", "centred", arm]))
        for arm in arms
    }
    _dots(axes[1][3], gain)
    axes[1][3].set(title="hidden layer", ylabel="test accuracy, learns - fixed")
    axes[1][3].axhline(0, color="#888888", linewidth=0.8, linestyle=":")
    style.legend(figure, axes[0][0], columns=6, title="inputs")
    save_figure(
        figure,
        directory,
        "reward_learning",
        "A, B, E, F: accuracy on validation images (no noise, nothing learns) by trials of learning, at the "
        "learning rate that was chosen for each line on another seed. C, G: test accuracy at the end by learning "
        "rate. Mean over paired seeds, shaded its 95 % interval (Student), dotted chance. D, a dot a seed: mean "
        "absolute correlation of the input counts (dotted: that of independent neurons). H: the gain of learning in "
        "the hidden layer over learning above it only.",
    )
    return finding(tables, chance)


def _lines(axis: Axes, rows: pd.DataFrame, where: str, chance: float) -> None:
    for arm in style.ordered(rows["arm"], list(COLOURS)):
        course = rows[rows["arm"] == arm].pivot_table(index=where, columns="seed", values="accuracy")
        style.band(axis, course, colour=COLOURS[arm], marker="o", markersize=3, label=arm)
    axis.axhline(chance, color="#888888", linewidth=0.8, linestyle=":")
    axis.set_ylim(0.2, 1)


def _dots(axis: Axes, values: dict[str, list[float]]) -> None:
    arms = [arm for arm in COLOURS if arm in values]
    for place, arm in enumerate(arms):
        axis.plot(np.full(len(values[arm]), place), values[arm], "o", markersize=4, alpha=0.6, color=COLOURS[arm])
    axis.set_xlim(-0.5, len(arms) - 0.5)
    axis.set_xticks(range(len(arms)), arms, rotation=35, ha="right")
