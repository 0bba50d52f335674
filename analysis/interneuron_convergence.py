"""Figure: how fast the rules with interneurons come to their fixed point, and how near to it they stay.

Usage: python -m analysis.interneuron_convergence DIR [--seeds 5]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

import neuro_decorr as nd
from neuro_decorr.report import save_figure, save_table
from neuro_decorr.rules import suite

BATCH, NEAR = 26, 0.05
RATES = (0.1, 0.03)
INTERNEURONS = (8, 16)
SHOWN = (500, 1_000)
"""Updates in the panels of either row; the table takes the floor from longer runs."""
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "interneuron": ("interneuron", {}),
    "interneuron_local": ("interneuron_local", {}),
    "interneuron_local, fixed signs": ("interneuron_local", {"signs": "fixed"}),
}
COLOURS = dict(zip(VARIANTS, ("#D55E00", "#882255", "#56B4E9"), strict=True))
SPECTRA = ("condition 1e4, 20 units", "condition 1e4, 64 units", "power law -1.5, 64 units")
CAPTION = (
    "Distance of the outputs' covariance from the damped fixed point, relative (Frobenius); a move of the synapses at "
    "every update. Top: exact statistics, rate 0.1; the dotted line is at 5 %. Bottom: batches of 26 Gaussian samples. "
    "Lines: geometric mean over seeds, which set the basis, the start and the samples."
)


def covariance(spectrum: str, seed: int = 0) -> Tensor:
    """One of the `SPECTRA`, of unit mean power, in a random basis."""
    units = int(spectrum.split()[-2])
    if spectrum.startswith("condition"):
        return suite.covariance(1e4, units, seed)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(units, units, generator=generator, dtype=torch.float64)).Q
    values = torch.arange(1, units + 1, dtype=torch.float64) ** -1.5
    made: Tensor = (basis * (values * units / values.sum())) @ basis.T
    return made


def course(
    variant: str, spectrum: str, interneurons: int, rate: float, updates: int, seed: int, batch: int | None = None
) -> np.ndarray:
    """Distance from the fixed point after 0, 1, ..., `updates` updates.

    Args:
        variant: One of the `VARIANTS`.
        spectrum: One of the `SPECTRA`.
        interneurons: k.
        rate: The rule's rate.
        updates: How many.
        seed: Of basis, initial synapses and samples.
        batch: Gaussian samples an update; None for the exact covariance at every update.
    """
    name, options = VARIANTS[variant]
    # The start must not share its random numbers with the basis.
    rule = nd.rules.get(name, interneurons=interneurons, rate=rate, every=1, seed=1_000 + seed, **options)
    moment = covariance(spectrum, seed)
    exact, fixed, root = suite.rows_with(moment), rule.fixed_point(moment), torch.linalg.cholesky(moment)
    generator = torch.Generator().manual_seed(2_000 + seed)
    state = rule.initial_state(len(moment), dtype=torch.float64)
    distances = []
    for update in range(updates + 1):
        distances.append(float((suite.second_moment(state, exact) - fixed).norm() / fixed.norm()))
        if update < updates:
            seen = exact
            if batch is not None:
                seen = torch.randn(batch, len(moment), generator=generator, dtype=torch.float64) @ root.T
            suite.run(rule, seen, 1, state)
    return np.array(distances)


def updates_until_near(distances: np.ndarray) -> float:
    """The first update from which on the distance stays below 5 %; not a number where it ends above."""
    above = np.flatnonzero(distances >= NEAR)
    first = int(above[-1]) + 1 if len(above) else 0
    return float(first) if first < len(distances) else math.nan


def floor(distances: np.ndarray) -> float:
    """Mean distance over the last half of the updates."""
    return float(distances[len(distances) // 2 :].mean())


Courses = Mapping[tuple[str, str, int, float], np.ndarray]
"""By spectrum, variant, interneurons and rate: shape (seeds, updates + 1)."""


def courses(seeds: int, updates: Mapping[float, int], batch: int | None = None) -> Courses:
    """All of them, with as many updates as are given for every rate."""
    return {
        (spectrum, variant, count, rate): np.array(
            [course(variant, spectrum, count, rate, updates[rate], seed, batch) for seed in range(seeds)]
        )
        for spectrum in SPECTRA
        for variant in VARIANTS
        for count in INTERNEURONS
        for rate in updates
    }


def summary(exact: Courses, online: Courses) -> pd.DataFrame:
    """Updates until near (median, least and most of the seeds) and the noise floor (mean), by condition."""
    rows = []
    for key, runs in exact.items():
        counts = [updates_until_near(run) for run in runs]
        row = dict(zip(("spectrum", "rule", "interneurons", "rate"), key, strict=True))
        # One seed that did not come near makes the median that of none: it is not left out.
        row |= {"updates": np.median(counts), "least": np.min(counts), "most": np.max(counts)}
        rows.append(row | {"floor": np.mean([floor(run) for run in online[key]]), "seeds": len(runs)})
    return pd.DataFrame(rows)


def draw(exact: Courses, online: Courses, directory: Path) -> None:
    """Courses with exact statistics above, with batches below; a column for every spectrum."""
    figure, axes = plt.subplots(2, len(SPECTRA), figsize=(12, 7), sharey="row", layout="constrained")
    for column, spectrum in enumerate(SPECTRA):
        for variant in VARIANTS:
            for count, style in zip(INTERNEURONS, ("--", "-"), strict=True):
                words = f"{variant}, k = {count}"
                _line(axes[0][column], exact[spectrum, variant, count, RATES[0]], variant, style, words)
            for rate, style in zip(RATES, ("-", "--"), strict=True):
                words = f"{variant}, rate {rate:g}"
                _line(axes[1][column], online[spectrum, variant, INTERNEURONS[0], rate], variant, style, words)
        axes[0][column].axhline(NEAR, color="#999999", linestyle=":")
        axes[0][column].set_title(spectrum, fontsize=11)
        for row in range(2):
            axes[row][column].set(yscale="log", xlabel="updates", xlim=(0, SHOWN[row]))
            axes[row][column].spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("distance, exact statistics")
    axes[1][0].set_ylabel(f"distance, batches of {BATCH}, k = {INTERNEURONS[0]}")
    axes[0][0].set_ylim(1e-4, 3)
    axes[1][0].set_ylim(0.02, 6)
    axes[1][0].set_yticks((0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5), ("0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5"))
    axes[1][0].minorticks_off()
    axes[0][-1].legend(frameon=False, fontsize=8)
    axes[1][-1].legend(frameon=False, fontsize=8)
    save_figure(figure, directory, "interneuron_convergence", CAPTION)
    plt.close(figure)


def _line(axis: Axes, runs: np.ndarray, variant: str, style: str, words: str) -> None:
    mean = np.exp(np.log(runs).mean(axis=0))
    axis.plot(mean, style, color=COLOURS[variant], linewidth=1.3, label=words)


def main() -> None:
    """Run, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("directory", type=Path, help="the figure and the table are written below it")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of every condition (default: %(default)s)")
    arguments = parser.parse_args()
    exact = courses(arguments.seeds, {rate: math.ceil(60 / rate) for rate in RATES})
    online = courses(arguments.seeds, {rate: math.ceil(100 / rate) for rate in RATES}, BATCH)
    draw(exact, online, arguments.directory)
    table = summary(exact, online)
    save_table(table, arguments.directory, "interneuron_convergence", CAPTION, digits=3)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
