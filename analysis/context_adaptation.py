"""Adaptation to new contexts: error by updates since the context began, in early and late contexts, and its mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table, table_text

CIRCUITS = {
    "slow_synapses": ("#D55E00", "N gains, slow synapses"),
    "fixed_synapses": ("#0072B2", "N gains, fixed synapses"),
    "all_pairs": ("#56B4E9", "N (N + 1) / 2 gains, fixed synapses"),
    "synapses_alone": ("#009E73", "synapses alone (anti_hebbian)"),
    "known_synapses": ("#000000", "N gains, synapses V known"),
}
WORLDS = {"shared": "contexts share their axes", "own": "each context has axes of its own"}
NEAR = 0.5
"""Error below which a context counts as whitened again."""
CAPTION = (
    "Distance of the outputs' covariance from the identity, |C - I| / N^1/2. A, B: by updates since a new context "
    "began, where all contexts share their axes: median over the first 20 contexts, and over the last 20. C: mean over "
    "each context, in their order, running median of 11. D: as B, where each context has axes of its own. Lines: mean "
    "over seeds, bands: its 95 % interval (Student). Rates chosen on other seeds, from as many settings for each "
    "circuit."
)
TABLE = (
    "Mean error over the first and the last 20 contexts (mean and standard deviation over seeds); `updates`: those "
    "after which the median error of the last 20 contexts is below 0.5 (empty: it is not, within a context); `known`: "
    "difference of the error to the circuit that knows the axes, paired by seed, and its 95 % interval (Student)."
)


def draw(tables: study.Tables, directory: Path) -> str:
    """Draw the figure, write the table, return the finding in words with the table.

    Args:
        tables: Tables of the study.
        directory: Directory of the study.
    """
    measured = tables.of("measure")
    figure, axes = style.panels(2, 2, 5.2)
    courses = measured["courses"]
    panels = (("shared", "first"), ("shared", "last"), ("own", "last"))
    for axis, (world, when) in zip((axes[0][0], axes[0][1], axes[1][1]), panels, strict=True):
        rows = courses[(courses["world"] == world) & (courses["when"] == when)]
        _lines(axis, rows, "update", f"{when} contexts: {WORLDS[world]}")
        axis.set_xlabel("updates since the context began")
    contexts = measured["contexts"]
    _lines(axes[1][0], contexts[contexts["world"] == "shared"], "context", f"{WORLDS['shared']}", smooth=11)
    axes[1][0].set_xlabel("context")
    style.legend(figure, axes[0][0])
    save_figure(figure, directory, "context_adaptation", CAPTION)
    made = table(measured)
    save_table(made, directory, "context_adaptation", TABLE, digits=3)
    return f"{finding(made)}\n\n{table_text(made)}"


def finding(made: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    lines = []
    for world, own in made.groupby("contexts", sort=False):
        lines.append(f"Mean error over the first and the last 20 contexts, where {WORLDS[str(world)]}:")
        for _, row in own.iterrows():
            again = "not whitened again within a context"
            if not pd.isna(row["updates"]):
                again = f"whitened again after {row['updates']} updates"
            lines.append(f"- {CIRCUITS[row['circuit']][1]}: {row['first']:.3g}, {row['last']:.3g}; {again}.")
    return "\n".join(lines)


def table(measured: study.Tables) -> pd.DataFrame:
    """Make a table with one row per world and circuit.

    Args:
        measured: Tables of the measured runs.
    """
    ends, courses = measured["ends"].sort_values("seed"), measured["courses"]
    last = courses[courses["when"] == "last"].groupby(["world", "circuit", "update"])["error"].mean()
    rows = []
    for world, circuit in [(one, other) for one in WORLDS for other in CIRCUITS]:
        own = ends[(ends["world"] == world) & (ends["circuit"] == circuit)]
        if own.empty:
            continue
        best = ends[(ends["world"] == world) & (ends["circuit"] == "known_synapses")]
        below = np.flatnonzero(last[world, circuit].to_numpy() < NEAR)
        row = {
            "contexts": world, "circuit": circuit, "rate": own["rate"].iloc[0],
            "synapse_rate": own["synapse_rate"].iloc[0], "first": own["first"].mean(), "last": own["error"].mean(),
            "deviation": own["error"].std(), "updates": int(below[0]) if len(below) else None,
        }  # fmt: skip
        if circuit != "known_synapses" and len(best) == len(own) > 1:
            found = study.paired_difference(list(own["error"]), list(best["error"]))
            row |= {"known": found.mean, "low": found.low, "high": found.high}
        rows.append(row)
    return pd.DataFrame(rows).astype({"updates": "Int64"})


def _lines(axis: Axes, rows: pd.DataFrame, against: str, title: str, smooth: int = 1) -> None:
    for circuit, (colour, words) in CIRCUITS.items():
        own = rows[rows["circuit"] == circuit].pivot_table(index=against, columns="seed", values="error")
        if own.empty:
            continue
        own = own.rolling(smooth, center=True, min_periods=1).median()
        style.band(axis, own, colour=colour, label=words)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("")
    axis.set_ylabel("distance from white")
    axis.set_title(title)
