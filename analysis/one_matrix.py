"""One matrix, many names: remaining gradient in every direction, and distances between the methods."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from analysis import style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table, table_text

MARKERS = {
    "decorrelated inputs": ("o", "#D55E00"), "FOOF": ("s", "#009E73"), "orthogonal projection": ("^", "#0072B2"),
    "semi-implicit": ("v", "#56B4E9"), "implicit descent": ("D", "#CC79A7"),
    "recursive least squares": ("P", "#E69F00"), "dual of ridge": ("X", "#882255"),
}  # fmt: skip
ROUNDING = 1e-9
"""Distance below which two updates are the same up to rounding."""
LEARNT = {"whitening": "#56B4E9", "interneuron": "#D55E00", "norm_preserving": "#0072B2"}
CAPTION = (
    "What is left of the gradient in every principal direction of the inputs of one layer, against the power s there. "
    "A: seven methods, each by its own algorithm, of one seed: the directions show them in turn, since their marks "
    "would lie on each other. Black line: l / (s + l). B: D learnt by local rules from batches, {seeds} seeds."
)
TABLE = (
    "Relative distance of the best multiple of the update from G (S + l I)^-1, and, on exactly whitened inputs, from "
    "the gradient: the largest over seeds. Rules that learn D are given the inputs as they are only."
)


def table(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per method.

    Args:
        tables: Tables of the study.
    """
    rows = tables["distances"]
    made = rows.groupby("method", sort=False)[["distance", "whitened"]].max().reset_index()
    order = ["gradient", *MARKERS, *LEARNT]
    return made.sort_values("method", key=lambda names: names.map(order.index), ignore_index=True)


def draw(tables: study.Tables, directory: Path) -> str:
    """Draw the figure, write the table, return the finding in words with the table.

    Args:
        tables: Tables of the study.
        directory: Directory of the study.
    """
    made, rows = table(tables), tables["directions"]
    save_table(made, directory, "one_matrix", TABLE, digits=2)
    figure, axes = style.panels(1, 2, 3.2, sharex=True, sharey=True)
    power = np.logspace(np.log10(rows["power"].min()), np.log10(rows["power"].max()), 200)
    first = rows[rows["seed"] == rows["seed"].min()]
    for place, (name, (marker, colour)) in enumerate(MARKERS.items()):
        own = first[first["method"] == name].sort_values("power").iloc[place :: len(MARKERS)]
        axes[0][0].plot(own["power"], own["gain"], marker, color=colour, markersize=5, label=name)
    for name, colour in LEARNT.items():
        own = rows[rows["method"] == name]
        axes[0][1].plot(own["power"], own["gain"], ".", color=colour, markersize=4, label=f"rule {name}")
    for axis, title in zip(axes[0], ("each by its own algorithm", "learnt by local rules"), strict=True):
        axis.plot(power, 1 / (1 + power), color="black", linewidth=0.9, zorder=0)
        axis.axhline(1, color="#999999", linewidth=1.2, linestyle="--", label="gradient", zorder=0)
        axis.set(xscale="log", yscale="log", xlabel="power of the direction, s / l")
        axis.set_title(title)
    axes[0][0].set_ylabel("left of the gradient")
    style.legend(figure, *axes[0], columns=4)
    save_figure(figure, directory, "one_matrix", CAPTION.format(seeds=rows["seed"].nunique()))
    return f"{finding(made)}\n\n{table_text(made)}"


def finding(made: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    distance = made.set_index("method")["distance"]
    exact, learnt = distance[list(MARKERS)], distance[list(LEARNT)]
    among = f"; the largest distance among them is {exact[exact < ROUNDING].max():.2g}" * bool((exact < ROUNDING).any())
    nearest = ", ".join(f"{name} {value:.2g}" for name, value in learnt.items())
    return (
        f"{(exact < ROUNDING).sum()} of {len(exact)} methods take the update G (S + l I)^-1 up to rounding{among}. "
        f"The distance of the gradient is {distance['gradient']:.2g}.\n"
        f"Distances of rules that learn D from batches: {nearest}.\n"
        f"On inputs that are whitened exactly, every update is within {made['whitened'].max():.2g} of the gradient."
    )
