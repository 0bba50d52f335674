"""Population before and after learning: the same seconds of spikes, correlation matrices, learnt weights and inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from analysis import spiking_style, style
from neuro_decorr import study
from neuro_decorr.report import save_figure

LIMIT = 0.5
"""Correlation at the ends of the colour scale."""


def draw(measured: study.Tables, directory: Path) -> None:
    """Draw the figure for the first seed of the condition with controls.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
    """
    first = spiking_style.controlled(measured)["rates"].sort_values("seed").iloc[0]
    condition = study.Condition("measure", int(first["seed"]), {name: first[name] for name in ("mixing", "sign")})
    kept = {name: value.numpy() for name, value in study.load_weights(directory, condition).items()}
    figure, axes = style.panels(2, 3, 4.4, width_ratios=[1.5, 1, 1])
    order = np.argsort(kept["overlap"][0])  # neurons with similar inputs beside each other
    place = np.argsort(order)
    for row, (name, title) in enumerate({"before": "before", "after": "after, weights and bias held"}.items()):
        raster, matrix = axes[row][0], axes[row][1]
        raster.plot(kept[f"times_{name}"], place[kept[f"neurons_{name}"]], "|", color="black", markersize=2.5)
        raster.set(title=title, ylabel="neuron", xlabel="time (s), the same shared input", ylim=(-1, len(order)))
        correlation = kept[f"correlation_{name}"][np.ix_(order, order)].copy()
        np.fill_diagonal(correlation, np.nan)
        image = matrix.imshow(correlation, vmin=-LIMIT, vmax=LIMIT, cmap="RdBu_r", interpolation="nearest")
        matrix.set(title="correlation (50 ms)", xlabel="neuron")
        matrix.spines[:].set_visible(True)
    figure.colorbar(image, ax=[axes[0][1], axes[1][1]], shrink=0.6)
    _distribution(axes[0][2], kept)
    _weights(axes[1][2], kept)
    save_figure(
        figure,
        directory,
        "spiking_population",
        f"Inputs {first['mixing']}, weights {first['sign']}, seed {condition.seed}. A, D: spikes during two seconds of "
        "the test input, which is the same before and after and was never learnt from. B, E: correlations of all "
        "pairs, neurons ordered by the likeness of their inputs to those of one. C: their distribution, with that "
        "of independent neurons. F: the learnt weight of each pair against the correlation of its inputs.",
    )


def _distribution(axis: Any, kept: dict[str, np.ndarray]) -> None:
    upper = np.triu_indices(len(kept["weights"]), 1)
    pairs = np.concatenate([kept[f"correlation_{name}"][upper] for name in ("before", "after")])
    edges = np.arange(pairs.min() - 0.01, pairs.max() + 0.01, 0.01)
    for name, arm in (("before", "before"), ("after", "learnt")):
        colour, words = spiking_style.ARMS[arm]
        axis.hist(kept[f"correlation_{name}"][upper], edges, color=colour, alpha=0.7, label=words, density=True)
    values, width = np.linspace(edges[0], edges[-1], 400), kept["floor"].item() * np.sqrt(np.pi / 2)
    axis.plot(values, norm.pdf(values, scale=width), ":", color="black", label="independent")
    axis.set(xlabel="correlation of a pair (50 ms)", ylabel="density")
    axis.legend(frameon=False)


def _weights(axis: Any, kept: dict[str, np.ndarray]) -> None:
    off = ~np.eye(len(kept["weights"]), dtype=bool)
    axis.plot(kept["overlap"][off], kept["weights"][off], ".", color="#D55E00", markersize=1.5, alpha=0.4)
    axis.set(xlabel="correlation of the inputs", ylabel="learnt weight")
