"""Course of every rule towards its fixed point: by updates and by wall clock, with one column per source."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd

from analysis import style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

KEYS = ["stage", "source", "rule", "rate", "seed", "updates"]
SOURCES = {"gaussian": "Gaussian", "patches": "patches of photographs", "drifting": "drifting Gaussian"}
OTHERS = ("#E69F00", "#8B4513", "#7F3C8D", "#C71585", "#2F4F4F", "#9ACD32")  # for rules without their own colour
CAPTION = (
    "At the end, mean and deviation over paired seeds: relative distance of the covariance of the outputs from "
    "the rule's own fixed point, and mean squared correlation of the outputs; microseconds of one update; the chosen "
    "plasticity rate."
)


def draw(measured: study.Tables, directory: Path) -> str:
    """Draw the figure and write the table of a study.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.

    Returns:
        The finding in words.
    """
    clock = measured["timings"][[*KEYS, "wall_seconds"]]
    rows = measured["courses"].merge(clock, on=KEYS, validate="one_to_one")
    sources = style.ordered(rows["source"], list(SOURCES))
    rules = sorted(set(rows["rule"]))
    colours = dict(zip([rule for rule in rules if rule not in style.COLOURS], itertools.cycle(OTHERS), strict=False))
    figure, axes = style.panels(3, len(sources), 6.4, sharey="row")
    for column, source in enumerate(sources):
        at = rows[rows["source"] == source]
        for rule in rules:
            course = at[at["rule"] == rule].groupby("updates").mean(numeric_only=True)
            drawn = {
                "color": style.COLOURS[rule] if rule in style.COLOURS else colours[rule],
                "linewidth": 1.5,
                "label": rule,
            }
            axes[0][column].plot(course.index, course["distance"], **drawn)
            axes[1][column].plot(course.index, course["mean_squared_correlation"], **drawn)
            axes[2][column].plot(1e3 * course["wall_seconds"], course["mean_squared_correlation"], **drawn)
        axes[0][column].set_title(SOURCES.get(source, source))
        axes[1][column].set_xlabel("updates")
        axes[2][column].set(xlabel="milliseconds", xscale="symlog")
    for row, words in enumerate(["distance from the fixed point", *["mean squared correlation"] * 2]):
        axes[row][0].set_ylabel(words)
    for axis in axes.flat:
        axis.set_yscale("log")
    style.legend(figure, axes[0][0], columns=4)
    save_figure(
        figure,
        directory,
        "whitening_course",
        "Top row: relative distance of the outputs' covariance from the rule's own closed-form fixed point. Middle and "
        "bottom row: mean squared correlation of the outputs, by updates and by wall clock. Mean over paired seeds, "
        "rates chosen for each rule and source.",
    )
    table = _table(rows, measured["runs"])
    save_table(table, directory, "whitening", CAPTION, digits=3)
    return _finding(table)


def _table(rows: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    last = rows[rows["updates"] == rows["updates"].max()]
    grouped = last.groupby(["source", "rule"])
    table = grouped[["distance", "mean_squared_correlation"]].agg(["mean", "std"])
    table.columns = [f"{quantity} {what}".replace("_", " ") for quantity, what in table.columns]
    table["microseconds"] = 1e6 * grouped["wall_seconds"].mean() / rows["updates"].max()
    table["rate"] = grouped["rate"].first()
    counted = runs.groupby(["source", "rule"])
    table["seeds"], table["diverged"] = counted.size(), counted["diverged"].sum()
    made: pd.DataFrame = table.reset_index()
    return made


def _finding(table: pd.DataFrame) -> str:
    lines = ["Mean squared correlation of the outputs at the end (microseconds per update), best first:"]
    for source, rows in table.sort_values("mean squared correlation mean").groupby("source", sort=False):
        ordered = zip(rows["rule"], rows["mean squared correlation mean"], rows["microseconds"], strict=True)
        named = [f"{rule} {value:.1e} ({microseconds:.0f})" for rule, value, microseconds in ordered]
        lines.append(f"  {SOURCES.get(str(source), source)}: {', '.join(named)}")
    return "\n".join(lines)
