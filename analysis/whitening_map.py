"""Map of whitening without tuning: scale against condition number, with one panel per width and batch size."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np

from analysis import style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

KEYS = ["features", "batch", "condition", "scale"]
CAPTION = (
    "Mean squared correlation of the outputs after annealing, divided by that of the inputs; at condition 1 there "
    "is nothing to remove and the value itself is shown. Mean over seeds."
)


def draw(measured: study.Tables, directory: Path, goal: float = 1e-3) -> str:
    """Draw the figure and write the table.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
        goal: Largest part of the correlation of the inputs that the outputs may keep.

    Returns:
        The finding in words.
    """
    cells = measured["cells"].groupby(KEYS)[["start", "end", "updates", "samples"]].mean().reset_index()
    save_table(cells, directory, "whitening_map", CAPTION, digits=3)
    columns, rows, conditions, scales = (sorted(set(cells[key])) for key in KEYS)
    figure, axes = style.panels(len(rows), len(columns), 1.7 * len(rows) + 0.4)
    for (r, batch), (c, features) in itertools.product(enumerate(rows), enumerate(columns)):
        axis, here = axes[r][c], cells[(cells["batch"] == batch) & (cells["features"] == features)]
        grid = np.full((len(scales), len(conditions)), np.nan)
        for row in here.itertuples():
            at = scales.index(row.scale), conditions.index(row.condition)
            text = f"floor\n{row.end:.0e}"
            if row.condition > 1:
                grid[at] = math.log10(row.end / row.start)
                text = f"{row.end / row.start:.1e}"
            axis.text(at[1], at[0], text.replace("e-0", "e-"), ha="center", va="center")
        image = axis.imshow(grid, vmin=-4, vmax=-2, cmap="RdYlBu_r", origin="lower", aspect="auto")
        axis.set_xticks(range(len(conditions)), [f"{value:.0e}".replace("e+0", "e") for value in conditions])
        axis.set_yticks(range(len(scales)), [f"{value:g}" for value in scales])
        axis.set_title(f"{features} units, batches of {batch}")
        if r == len(rows) - 1:
            axis.set_xlabel("condition")
        if c == 0:
            axis.set_ylabel("scale")
    figure.colorbar(image, ax=axes, label=f"log10 of (end / start), goal {math.log10(goal):g}", shrink=0.6)
    save_figure(figure, directory, "whitening_map", CAPTION)
    removable = cells[cells["condition"] > 1]
    reached = int((removable["end"] < goal * removable["start"]).sum())
    worst = (removable["end"] / removable["start"]).max()
    return f"{reached} of {len(removable)} cells keep less than {goal:g} of the correlation, the worst {worst:.1e}."
