"""How far whitening without tuning comes: units x batch size x condition x scale of the inputs, one default for all.

    python -m analysis.whitening_map --out DIR [--features 16 64] [--batch 1 16 256] [--condition ...] [--scale ...]

Every cell runs `whitening` with damping 0 at its default rate: constant for long enough to forget where it started,
then annealed as 1 / t. Cells are stored as they finish, cheapest first; the same command goes on where it was, and the
figure shows what is there. All of 16 to 256 units take about half an hour of one core, each cell of 1024 some minutes.
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

import neuro_decorr as nd
from neuro_decorr.data import covariance_with_condition, stream
from neuro_decorr.report import save_figure

FEATURES, BATCHES = (16, 64, 256, 1024), (1, 16, 256)
CONDITIONS, SCALES = (1.0, 1e2, 1e4, 1e6), (1e-3, 1.0, 1e3)
GOAL = 1e-3
MARGIN = 2.0
"""Samples of the annealed part, in multiples of those that the bound of any estimate asks for."""
FORGOTTEN = 30.0
"""Time constants before annealing: a start of 1e13 times the power of the weakest direction is gone."""
KEYS = ["features", "batch", "condition", "scale"]


def mean_squared_correlation(covariance: torch.Tensor) -> float:
    """Of two different units, shape (features, features)."""
    scale = covariance.diagonal().rsqrt()
    correlation = covariance * scale.unsqueeze(1) * scale
    features = len(covariance)
    return max(0.0, float(correlation.square().sum() - features)) / (features * (features - 1))


def schedule(features: int, batch: int, condition: float, start: float) -> tuple[int, int]:
    """Updates at the constant rate, and updates altogether: the same recipe for every cell."""
    hold = math.ceil(FORGOTTEN * (1 / nd.rules.get("whitening").rate + features / batch))
    if condition == 1:  # nothing to remove: as long as for a condition of 100
        start = mean_squared_correlation(covariance_with_condition(features, 1e2, seed=0))
    return hold, hold + math.ceil(MARGIN / (GOAL * start * batch))


def cell(features: int, batch: int, condition: float, scale: float) -> dict[str, float]:
    """Run one cell.

    Returns:
        The mean squared correlation at the start and at the end, of the exact covariance D S D^T; updates and samples.
    """
    covariance = scale**2 * covariance_with_condition(features, condition, seed=0)
    start = mean_squared_correlation(covariance)
    hold, updates = schedule(features, batch, condition, start)
    values, vectors = torch.linalg.eigh(covariance)
    root = ((vectors * values.clamp_min(0).sqrt()) @ vectors.T).float()
    samples = stream(0, "samples")

    rule = nd.rules.get("whitening", damping=0.0)
    model = nn.Sequential(nd.Decorrelation(features, center=False))
    plasticity = nd.Plasticity(model, rule, sample=1.0)
    anneal = torch.optim.lr_scheduler.LambdaLR(plasticity, lambda t: 1 / (1 + rule.rate * max(0, t - hold)))
    with torch.no_grad():
        for _ in range(updates):
            model(torch.randn(batch, features, generator=samples) @ root)
            plasticity.step()
            anneal.step()
    matrix = model[0].matrix.double()
    end = mean_squared_correlation(matrix @ covariance @ matrix.T)
    return {"start": start, "end": end, "updates": updates, "samples": updates * batch}


def draw(cells: pd.DataFrame, directory: Path) -> None:
    """A panel for every number of units and batch size, in it scale against condition."""
    columns, rows = sorted(set(cells["features"])), sorted(set(cells["batch"]))
    size = (3.2 * len(columns) + 1, 2.6 * len(rows) + 0.6)
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, squeeze=False, layout="constrained")
    for (r, batch), (c, features) in itertools.product(enumerate(rows), enumerate(columns)):
        axis, here = axes[r][c], cells[(cells["batch"] == batch) & (cells["features"] == features)]
        grid = np.full((len(SCALES), len(CONDITIONS)), np.nan)
        for row in here.itertuples():
            at = SCALES.index(row.scale), CONDITIONS.index(row.condition)
            ratio = row.end / row.start if row.condition > 1 else math.nan
            grid[at] = math.log10(ratio) if row.condition > 1 else math.nan
            text = f"{ratio:.1e}" if row.condition > 1 else f"floor\n{row.end:.0e}"
            axis.text(at[1], at[0], text.replace("e-0", "e-"), ha="center", va="center", fontsize=7.5)
        image = axis.imshow(grid, vmin=-4, vmax=-2, cmap="RdYlBu_r", origin="lower", aspect="auto")
        if here.empty:
            axis.text(1.5, 1, "not run", ha="center", va="center", fontsize=9, color="grey")
        axis.set_xticks(range(len(CONDITIONS)), [f"{value:.0e}".replace("e+0", "e") for value in CONDITIONS])
        axis.set_yticks(range(len(SCALES)), [f"{value:g}" for value in SCALES])
        axis.set_title(f"{features} units, batches of {batch}", fontsize=9)
        if r == len(rows) - 1:
            axis.set_xlabel("condition")
        if c == 0:
            axis.set_ylabel("scale")
    figure.colorbar(image, ax=axes, label="log10 of (end / start), goal -3", shrink=0.6)
    save_figure(
        figure,
        directory,
        "whitening_map",
        "Mean squared correlation of the outputs after annealing, divided by that of the inputs; at condition 1 there "
        "is nothing to remove and the value itself is shown. Blank cells were not run.",
    )
    plt.close(figure)


def main() -> None:
    """Run the cells that are missing, cheapest first; draw all that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--features", type=int, nargs="*", default=list(FEATURES))
    parser.add_argument("--batch", type=int, nargs="*", choices=BATCHES, default=list(BATCHES))
    parser.add_argument("--condition", type=float, nargs="*", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--scale", type=float, nargs="*", choices=SCALES, default=list(SCALES))
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    file = chosen.out / "whitening_map.csv"
    cells = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=KEYS)
    known = set(cells[KEYS].itertuples(index=False, name=None))
    todo = itertools.product(chosen.features, chosen.batch, chosen.condition, chosen.scale)
    for keys in sorted(set(todo) - known, key=lambda keys: (keys[0] ** 2 / keys[1], -keys[2])):
        torch.manual_seed(0)
        found = dict(zip(KEYS, keys, strict=True)) | cell(*keys)
        print("  ".join(f"{name} {value:g}" for name, value in found.items()), flush=True)
        cells = pd.concat([cells, pd.DataFrame([found])], ignore_index=True) if len(cells) else pd.DataFrame([found])
        cells.to_csv(file, index=False)
    draw(cells, chosen.out)


if __name__ == "__main__":
    main()
