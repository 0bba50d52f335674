"""Panels of correlations against distance, rate, width of the bins and population activity; and of single pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from neuro_decorr import metrics
from neuro_decorr.report.panels import DATA, NULL, SECOND, Array, dots, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def profile(axes: Axes, found: metrics.PairProfile) -> None:
    """Draw the mean correlation of pairs with similar values of a property, over the single pairs.

    Args:
        axes: Axes to draw on.
        found: The profile.
    """
    dots(axes, found.x, found.r, DATA)
    kept = np.isfinite(found.mean)
    points, null = (found.mean, found.low, found.high), (found.null_low, found.null_high)
    _beside_null(axes, found.centre[kept], [each[kept] for each in points], [each[kept] for each in null],
                 ("exchanged between units", "mean of pairs"), fmt="o-", color=SECOND)  # fmt: skip
    axes.set(xlabel=found.axis, ylabel="correlation")
    # The means set the scale: single pairs beyond five times their range are cut off.
    shown = np.concatenate([each[kept] for each in (*points[1:], *null)])
    reach = 5 * max(float(np.abs(shown[np.isfinite(shown)]).max(initial=0.0)), 1e-3)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, -reach), min(top, reach))
    legend(axes, room=0.35)


def widths(axes: Axes, found: metrics.BinProfile) -> None:
    """Draw the mean correlation against the width of the bins.

    Args:
        axes: Axes to draw on.
        found: The profile.
    """
    _beside_null(axes, 1e3 * found.bins, (found.mean, found.low, found.high), (found.null_low, found.null_high),
                 ("units that share nothing", "mean of all pairs"), fmt="o-")  # fmt: skip
    axes.set(xscale="log", xlabel="width of the bins (ms)", ylabel="mean correlation")
    axes.xaxis.set_major_formatter("{x:g}")
    legend(axes, room=0.35)


def coupling(axes: Axes, found: metrics.PopulationCoupling) -> None:
    """Draw the coupling of every unit to the sum of the others, in order.

    Args:
        axes: Axes to draw on.
        found: The couplings.
    """
    order = np.argsort(found.correlation)
    order = order[np.isfinite(found.correlation[order])]
    ranks = np.arange(1, len(order) + 1, dtype=np.float64)
    points, null = (found.correlation, found.low, found.high), (found.null_low, found.null_high)
    _beside_null(axes, ranks, [each[order] for each in points], [each[order] for each in null],
                 ("others shifted", "a unit"), step="mid", fmt="o")  # fmt: skip
    axes.set(xlabel="unit, ordered by coupling", ylabel="r with the sum of the others")
    axes.locator_params(axis="x", integer=True)
    legend(axes, room=0.35)


def pair(axes: Axes, found: metrics.PairCorrelogram) -> None:
    """Draw the correlogram of two units with the bands of jittered spikes.

    Args:
        axes: Axes to draw on.
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


def _beside_null(
    axes: Axes, x: Array, points: Sequence[Array], null: Sequence[Array], names: tuple[str, str], *,
    step: Literal["mid"] | None = None, fmt: str, color: str = DATA,
) -> None:  # fmt: skip
    """Draw points with their intervals (value, low, high) over the band of chance (low, high), and zero."""
    axes.fill_between(x, null[0], null[1], color=NULL, alpha=0.5, linewidth=0, step=step, label=names[0])
    value, low, high = points
    errors = np.array([value - low, high - value]).clip(min=0)
    axes.errorbar(x, value, yerr=errors, fmt=fmt, markersize=4, linewidth=1, color=color, label=names[1])
    axes.axhline(0, color="black", linewidth=0.5)
