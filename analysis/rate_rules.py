"""Rate rules in Brian2 and in torch: correlations and weights by stimuli, with one column per rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis import style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

RULES = {"lateral": "lateral", "anti_hebbian": "anti-Hebbian", "interneuron_local": "interneurons"}
SIMULATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "torch": ("torch, settled", {"color": "#56B4E9", "linewidth": 5, "alpha": 0.7}),
    "brian2": ("Brian2, stimuli of {hold:g} tau", {"color": "#000000", "linewidth": 1.3}),
    "brian2_short": ("Brian2, stimuli of {hold:g} tau", {"color": "#D55E00", "linewidth": 1.3, "linestyle": "--"}),
}
ROWS = {
    "correlation": "root mean squared correlation",
    "weights_apart": "largest difference of a weight\nfrom its value in torch",
}
CAPTION = (
    "At the end, mean and deviation over paired seeds, stimuli held for so many time constants: root mean squared "
    "correlation between units, at the start, at the end and at the fixed point of the rule; relative distance of the "
    "outputs' covariance from that fixed point; largest difference of a weight from its value in torch; seconds of a "
    "run."
)


def draw(measured: study.Tables, holds: dict[str, float], directory: Path) -> str:
    """Draw the figure and write the table of a study.

    Args:
        measured: Tables of the measured runs.
        holds: Duration of a stimulus in each simulator, in time constants.
        directory: Directory of the study.

    Returns:
        The finding in words.
    """
    rows, runs = (table.assign(hold=table["simulator"].map(holds)) for table in (measured["courses"], measured["runs"]))
    rows = rows.assign(correlation=rows["mean_squared_correlation"] ** 0.5, at_rest=rows["at_rest"] ** 0.5)
    rules, simulators = style.ordered(rows["rule"], list(RULES)), style.ordered(rows["simulator"], list(SIMULATORS))
    figure, axes = style.panels(len(ROWS), len(rules), 4.2, sharex=True, sharey="row")
    for column, rule in enumerate(rules):
        of_rule = rows[rows["rule"] == rule]
        for row, quantity in enumerate(ROWS):
            axis = axes[row][column]
            for simulator in simulators:
                _line(axis, of_rule[of_rule["simulator"] == simulator], quantity, simulator)
            axis.set_yscale("log")
        axes[0][column].set_title(RULES.get(rule, rule))
        axes[-1][column].set_xlabel("stimuli")
    for row, words in enumerate(ROWS.values()):
        axes[row][0].set_ylabel(words)
    style.legend(figure, axes[0][0], columns=4)
    save_figure(
        figure,
        directory,
        "rate_rules",
        "The same rules on the same stimuli in torch and in Brian2. Top row: correlation between the units that the "
        "weights leave. Bottom row: largest difference of a weight between Brian2 and torch. Median, and the range of "
        "the paired seeds.",
    )
    table = _table(rows, runs, measured["timings"])
    save_table(table, directory, "rate_rules", CAPTION, digits=3)
    return _finding(table)


def _line(axis: Axes, rows: pd.DataFrame, quantity: str, simulator: str) -> None:
    """Draw the median over the seeds, and their range."""
    words, look = SIMULATORS[simulator]
    words = words.format(hold=rows["hold"].iloc[0]) if len(rows) else words
    seeds = rows[rows["updates"] > 0].dropna(subset=[quantity]).groupby("updates")[quantity]
    if quantity != "weights_apart":  # the difference is zero at the start
        seeds = rows.groupby("updates")[quantity]
    if seeds.ngroups:
        axis.plot(seeds.median(), label=words, **look)
        axis.fill_between(seeds.median().index, seeds.min(), seeds.max(), color=look["color"], alpha=0.2, linewidth=0)


def _table(rows: pd.DataFrame, runs: pd.DataFrame, timings: pd.DataFrame) -> pd.DataFrame:
    keys = ["rule", "simulator", "hold"]
    started = rows[rows["updates"] == 0].groupby(keys)["correlation"].mean()
    last = rows[rows["updates"] == rows["updates"].max()].groupby(keys)
    table = pd.DataFrame({"correlation at the start": started})
    for quantity in ("correlation", "distance", "weights_apart"):
        words = quantity.replace("_", " ")
        table[f"{words} mean"], table[f"{words} std"] = last[quantity].mean(), last[quantity].std()
    table["correlation at rest"] = last["at_rest"].mean()
    table["seconds"] = timings.groupby(keys[:2])["wall_seconds"].mean()
    table["seeds"], table["diverged"] = runs.groupby(keys).size(), runs.groupby(keys)["diverged"].sum()
    return table.reset_index()


def _finding(table: pd.DataFrame) -> str:
    lines = ["Root mean squared correlation at the end, and the largest difference of a weight from torch:"]
    for row in table.to_dict("records"):
        apart = "" if row["simulator"] == "torch" else f" ({row['weights apart mean']:.1e})"
        lost = f", {int(row['diverged'])} of {row['seeds']} diverged" if row["diverged"] else ""
        lines.append(
            f"  {RULES.get(row['rule'], row['rule'])}, {SIMULATORS[row['simulator']][0].format(hold=row['hold'])}: "
            f"{row['correlation at the start']:.3f} -> {row['correlation mean']:.3f}{apart}{lost}"
        )
    return "\n".join(lines)
