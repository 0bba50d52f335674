"""Deep spiking networks: accuracy by depth, and alignment of each layer's credit with the exact gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import comparison, controls, intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

KEYS = ["credit", "depth", "arm"]
OTHER = "batch_normalisation"
"""Second reference: the method that decorrelation is to replace."""
EXACT = "backprop"
"""Exact gradient; its cosine with itself is one."""
CAPTION = (
    "Test accuracy after the last epoch by number of spiking layers: mean and standard deviation over paired seeds; "
    "differences to `center` and to batch normalisation with the same seeds and their 95 % intervals (Student). A "
    "diverged run counts at chance level. `first cosine`: of the first layer's credit with the exact gradient, after "
    "training; `last rate`: spikes per neuron and step of the last spiking layer then. The learning rate of a "
    "credit and arm was chosen on the validation split at the middle depth, of as many for every arm, with a seed that "
    "is not measured; `edge` names those that are an end of their grid."
)


def table(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per credit, depth and arm."""
    measured = tables.of("measure")
    tests, aligned = measured["tests"].sort_values("seed"), measured["alignment"]
    made = comparison.table(measured, factor="depth", chosen=("learning_rate",))
    runs = dict(list(tests.groupby(KEYS)))
    after = aligned[aligned["when"] == "after"]
    firsts = after[after["layer"] == 1].groupby(KEYS)["cosine"].mean()
    lasts = after[after["layer"] == after["depth"]].groupby(KEYS)["rate"].mean()
    tried = tables.of("select")["runs"].groupby(["credit", "arm"])["learning_rate"]
    ends = {key: (rates.min(), rates.max()) for key, rates in tried}
    rows = []
    for _, row in made.iterrows():
        key = row["credit"], row["depth"], row["arm"]
        beside = runs.get((row["credit"], row["depth"], OTHER))
        found: dict[str, Any] = {
            "first cosine": firsts.get(key, float("nan")),
            "last rate": lasts.get(key, float("nan")),
            "edge": controls.edge(row["learning rate"], *ends[row["credit"], row["arm"]]),
        }
        if beside is not None:
            difference = controls.difference(runs[key], beside)
            found |= {"minus BN": difference.mean, "BN low": difference.low, "BN high": difference.high}
        rows.append(found)
    return pd.concat([made, pd.DataFrame(rows, index=made.index)], axis=1)


def finding(made: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result: one line per credit, depth and arm."""
    lines = ["Test accuracy by spiking layers; in brackets the paired differences and their 95 % intervals"]
    for credit, rows in made.groupby("credit", sort=False):
        lines.append(f"  {style.CREDITS.get(str(credit), str(credit))}")
        for _, row in rows.iterrows():
            told = f"    {row['depth']:2d} layers, {style.label(row['arm']):28s} {row['accuracy']:.3f}"
            if row["arm"] != comparison.REFERENCE:
                told += f"  (centring {row['minus center']:+.3f}, {row['low']:+.3f} to {row['high']:+.3f})"
            if row["arm"] != OTHER and "minus BN" in row:
                told += f"  (batch normalisation {row['minus BN']:+.3f}, {row['BN low']:+.3f} to {row['BN high']:+.3f})"
            if row["diverged"]:
                told += f", {row['diverged']} diverged"
            lines.append(told + (f"; {row['edge']} rate of its grid" if row["edge"] else ""))
    return "\n".join(lines)


def draw(tables: study.Tables, directory: Path) -> None:
    """Save the table and both figures, and print the finding."""
    measured = tables.of("measure")
    made = table(tables)
    save_table(made, directory, "deep_spiking", CAPTION, digits=3)
    seeds = int(made["seeds"].max())
    save_figure(
        _accuracies(measured["tests"]), directory, "deep_spiking",
        f"Test accuracy by number of spiking layers: mean over {seeds} paired seeds and its 95 % interval (Student). "
        "Learning rates chosen on the validation split at the middle depth with equal budgets; dotted: chance, at "
        "which a diverged run counts.",
    )  # fmt: skip
    save_figure(
        _cosines(measured["alignment"]), directory, "deep_spiking_alignment",
        "Cosine of the update of each layer's weights with the exact gradient of the same network after "
        f"training, by layer, in the deepest networks: mean over {seeds} paired seeds and its 95 % interval (Student); "
        "the last layer is the readout. One estimate on some training images; it includes the noise of credits that "
        "perturb.",
    )  # fmt: skip
    print(finding(made))


def _accuracies(tests: pd.DataFrame) -> Figure:
    credits, arms, chance = style.credits(tests), style.arms(tests), style.chance(tests)
    figure, axes = style.grid(("accuracy",), credits, 2.3, sharey=True)
    values = tests.assign(value=tests["test_accuracy"].where(~tests["diverged"].astype(bool), chance))
    depths = sorted(tests["depth"].unique())
    for (_, credit), axis in axes.items():
        for shift, arm in zip(_shifts(arms, 0.06), arms, strict=True):
            _line(axis, values[(values["credit"] == credit) & (values["arm"] == arm)], "depth", arm, np.exp(shift))
        axis.axhline(chance, color="#bbbbbb", linewidth=0.8, linestyle=":")
        axis.set(title=style.CREDITS.get(credit, credit), xlabel="spiking layers", xscale="log", ylim=(0, 1))
        axis.set_xticks(depths, [str(depth) for depth in depths])
        axis.minorticks_off()
    style.label_left(axes.values(), "test accuracy")
    style.legend(figure, *axes.values(), columns=6)
    return figure


def _cosines(aligned: pd.DataFrame) -> Figure:
    deepest = aligned[(aligned["depth"] == aligned["depth"].max()) & (aligned["when"] == "after")]
    shown = deepest[deepest["credit"] != EXACT] if (deepest["credit"] != EXACT).any() else deepest
    credits, arms = style.credits(shown), style.arms(shown)
    figure, axes = style.grid(("cosine",), credits, 2.3, sharey=True)
    for (_, credit), axis in axes.items():
        for arm in arms:
            rows = shown[(shown["credit"] == credit) & (shown["arm"] == arm)]
            _line(axis, rows.assign(value=rows["cosine"]), "layer", arm)
        axis.axhline(0, color="#bbbbbb", linewidth=0.8, linestyle=":")
        axis.set(title=style.CREDITS.get(credit, credit), xlabel="layer")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.label_left(axes.values(), "cosine with the exact gradient")
    style.legend(figure, *axes.values(), columns=6)
    return figure


def _line(axis: Axes, rows: pd.DataFrame, against: str, arm: str, factor: float = 1.0) -> None:
    """Draw the mean of `value` over seeds with its interval."""
    if rows.empty:
        return
    points = []
    for place, values in rows.groupby(against)["value"]:
        found = intervals.of_mean(values, "mean")
        points.append((place, found["mean"], found["low"], found["high"]))
    places, mean, low, high = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    emphasis = 2.0 if arm == comparison.REFERENCE else 1.3
    axis.plot(places * factor, mean, ".-", color=style.colour(arm), linewidth=emphasis, label=style.label(arm))
    if against == "depth":
        axis.vlines(places * factor, low, high, color=style.colour(arm), linewidth=1)
    else:
        axis.fill_between(places, low, high, color=style.colour(arm), alpha=0.12, linewidth=0)


def _shifts(arms: list[str], width: float) -> list[float]:
    """Return factors that place arms beside each other on a logarithmic axis, so that intervals do not overlap."""
    shifts: list[float] = np.linspace(-width, width, len(arms)).tolist()
    return shifts if len(arms) > 1 else [0.0]
