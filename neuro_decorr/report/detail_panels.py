"""Panels of what correlations go with: distance, rate, width of the bin, the population; and of single pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuro_decorr import metrics
from neuro_decorr.report.panels import DATA, NULL, SECOND, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DOTS = 3_000
"""Pairs that are drawn one by one; of more every so many-th."""


def profile(axes: Axes, found: metrics.PairProfile) -> None:
    """Mean correlation of pairs that are alike in something, over the single pairs.

    Args:
        axes: Where to.
        found: The profile.
    """
    every = max(1, -(-len(found.x) // _DOTS))
    axes.scatter(found.x[::every], found.r[::every], s=5, color=DATA, alpha=0.25, linewidths=0, rasterized=True)
    kept = np.isfinite(found.mean)
    centre, mean = found.centre[kept], found.mean[kept]
    axes.fill_between(centre, found.null_low[kept], found.null_high[kept], color=NULL, alpha=0.5, linewidth=0,
                      label="exchanged between units")  # fmt: skip
    errors = np.array([mean - found.low[kept], found.high[kept] - mean]).clip(min=0)
    axes.errorbar(centre, mean, yerr=errors, fmt="o-", markersize=4, linewidth=1, color=SECOND, label="mean of pairs")
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(xlabel=found.axis, ylabel="correlation")
    # The means are what is shown: single pairs beyond five times their reach are cut off.
    shown = np.concatenate([found.low[kept], found.high[kept], found.null_low[kept], found.null_high[kept], [0.0]])
    shown = shown[np.isfinite(shown)]
    reach = 5 * max(float(np.abs(shown).max(initial=0.0)), 1e-3)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, -reach), min(top, reach))
    legend(axes, room=0.35)


def widths(axes: Axes, found: metrics.BinProfile) -> None:
    """Mean correlation against the width of the bins.

    Args:
        axes: Where to.
        found: The profile.
    """
    milliseconds = 1e3 * found.bins
    axes.fill_between(milliseconds, found.null_low, found.null_high, color=NULL, alpha=0.5, linewidth=0,
                      label="units that share nothing")  # fmt: skip
    errors = np.array([found.mean - found.low, found.high - found.mean]).clip(min=0)
    axes.errorbar(milliseconds, found.mean, yerr=errors, fmt="o-", markersize=4, linewidth=1, color=DATA,
                  label="mean of all pairs")  # fmt: skip
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(xscale="log", xlabel="width of the bins (ms)", ylabel="mean correlation")
    axes.xaxis.set_major_formatter("{x:g}")
    legend(axes, room=0.35)


def coupling(axes: Axes, found: metrics.PopulationCoupling) -> None:
    """Coupling of every unit to the sum of the others, ordered.

    Args:
        axes: Where to.
        found: The couplings.
    """
    order = np.argsort(found.correlation)
    order = order[np.isfinite(found.correlation[order])]
    rank, value = np.arange(1, len(order) + 1), found.correlation[order]
    axes.fill_between(rank, found.null_low[order], found.null_high[order], color=NULL, alpha=0.5, linewidth=0,
                      step="mid", label="others shifted")  # fmt: skip
    errors = np.array([value - found.low[order], found.high[order] - value]).clip(min=0)
    axes.errorbar(rank, value, yerr=errors, fmt="o", markersize=3, linewidth=0.8, color=DATA, label="a unit")
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(xlabel="unit, ordered by coupling", ylabel="r with the sum of the others")
    axes.locator_params(axis="x", integer=True)
    legend(axes, room=0.35)


def pair(axes: Axes, found: metrics.PairCorrelogram) -> None:
    """Correlogram of two units with the bands of jittered spikes.

    Args:
        axes: Where to.
        found: The correlogram.
    """
    lags = 1e3 * found.lags
    axes.fill_between(lags, found.low, found.high, color=NULL, alpha=0.5, linewidth=0, step="mid", label="at one lag")
    axes.plot(lags, found.expected, color="black", linewidth=1, label="jittered, mean")
    axes.step(lags, found.counts, where="mid", linewidth=1.2, color=DATA, label="spikes")
    for number, bound in enumerate((found.simultaneous_low, found.simultaneous_high)):
        axes.plot(lags, bound, color=SECOND, linewidth=1, linestyle="--", label=None if number else "at all lags")
    axes.set(xlabel="lag (ms), second after first", ylabel="pairs of spikes", xlim=(lags[0], lags[-1]))
    legend(axes, room=0.35)
