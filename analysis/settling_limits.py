"""Limits of settling: hold times, learning from activity that has not settled, and late inhibition."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table, table_text

COLOURS = ("#56B4E9", "#0072B2", "#000000", "#D55E00", "#009E73")
RULES = {
    "anti_hebbian": ("#E69F00", "activity × activity (anti_hebbian)"),
    "lateral": ("#0072B2", "drive × activity (lateral)"),
}
CAPTION = (
    "A: distance from the fixed point at the end of a stimulus, relative to the activity, in a circuit that whitens "
    "its drive; stimuli follow each other. B: mean absolute correlation of held-out activity after plasticity that "
    "only saw what the circuit had reached (20 Gaussian units, condition 10), bars: 95 % interval over seeds "
    "(Student). C: the longest delay at which a mode of the lateral weights settles; simulations 5 % below and above "
    "it. D: distance from the fixed point after 20 time constants against the delay, in circuits that whiten one "
    "strong common mode."
)


def draw(measured: study.Tables, directory: Path) -> str:
    """Draw the figure, write the table, return the finding in words with the table.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
    """
    figure, axes = style.panels(2, 2, 5.4)
    _settling(axes[0][0], measured["settling"])
    _learning(axes[0][1], measured["learning"])
    _delays(axes[1][0], measured["delays"])
    _late(axes[1][1], measured["late"])
    save_figure(figure, directory, "settling_limits", CAPTION)
    runs = measured["runs"]
    correlations = runs[runs["part"] == "learning"].merge(measured["learning"], how="left")
    made = correlations.groupby(["rule", "level"])["correlation"].agg(["mean", "std", "count"]).reset_index()
    made = made.rename(columns={"level": "hold"})
    save_table(made, directory, "settling_limits", CAPTION, digits=3)
    return f"{finding(made, measured['learning'])}\n\n{table_text(made)}"


def finding(made: pd.DataFrame, learning: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    before, floor = learning.groupby("seed")["before"].first().mean(), learning["floor"].iloc[0]
    lines = [f"Mean absolute correlation before learning: {before:.3g}; sampling floor: {floor:.3g}."]
    for rule, own in made.sort_values("hold").groupby("rule", sort=False):
        short, long = own.iloc[0], own.iloc[-1]
        lines.append(
            f"After learning by {rule}: {short['mean']:.3g} with stimuli of {short['hold']:g} time constants, "
            f"{long['mean']:.3g} with stimuli of {long['hold']:g}."
        )
    return "\n".join(lines)


def _settling(axis: Axes, rows: pd.DataFrame) -> None:
    for (condition, course), colour in zip(rows.groupby("level"), itertools.cycle(COLOURS), strict=False):
        axis.plot(course["hold"], course["distance"], color=colour, label=f"condition {condition:g}")
    axis.set(xscale="log", yscale="log", ylim=(1e-4, 3), xlabel="hold time / τ", ylabel="distance from fixed point")
    axis.legend(frameon=False)


def _learning(axis: Axes, rows: pd.DataFrame) -> None:
    for rule, (colour, words) in RULES.items():
        ends = rows[rows["rule"] == rule].groupby("level")["correlation"].agg(["mean", "std", "count"])
        half = intervals.half(ends["std"], ends["count"])
        axis.errorbar(ends.index, ends["mean"], half, color=colour, marker="o", capsize=2, label=words)
    axis.axhline(
        rows.groupby("seed")["before"].first().mean(), color="#999999", linestyle="--", label="before learning"
    )
    axis.axhline(rows["floor"].iloc[0], color="#999999", linestyle=":", label="sampling floor")
    axis.set(xscale="log", yscale="log", xlabel="hold time / τ", ylabel="mean |correlation|")
    holds = sorted(set(rows["level"]))
    axis.set_xticks(holds, [f"{hold:g}" for hold in holds])
    axis.set_yticks((0.01, 0.02, 0.05, 0.1, 0.2), ("0.01", "0.02", "0.05", "0.1", "0.2"))
    axis.minorticks_off()
    axis.set_ylim(None, 0.6)  # room for the legend
    axis.legend(frameon=False)


def _delays(axis: Axes, rows: pd.DataFrame) -> None:
    # A mode m settles with delays below arccos(-1 / m) / sqrt(m^2 - 1); the runs recorded this exact limit too.
    modes = np.geomspace(1.02, 60, 200)
    axis.plot(modes, np.arccos(-1 / modes) / np.sqrt(modes**2 - 1), color="black", label="exact limit")
    axis.plot(modes, math.pi / 2 / modes, color="#999999", linestyle="--", label="π / (2 m)")
    for grows, marker, colour, words in ((False, "o", "#009E73", "settles"), (True, "x", "#D55E00", "grows")):
        found = rows[rows["grows"] == grows]
        axis.plot(found["level"], found["delay"], marker=marker, linestyle="", color=colour, label=words)
    axis.set(xscale="log", yscale="log", xlabel="eigenvalue m of M", ylabel="delay / τ")
    axis.legend(frameon=False)


def _late(axis: Axes, rows: pd.DataFrame) -> None:
    for (power, course), colour in zip(rows.groupby("level"), itertools.cycle(COLOURS), strict=False):
        axis.plot(course["delay"], course["distance"], color=colour, label=f"{power:g} times the rest")
        axis.axvline(course["limit"].iloc[0], color=colour, linestyle=":")
    axis.set(xscale="log", yscale="log", ylim=(1e-9, 1e4), ylabel="distance from fixed point")
    axis.set_xlabel("delay / τ (dotted: the limit)")
    axis.legend(frameon=False, loc="center left", title="common mode")
