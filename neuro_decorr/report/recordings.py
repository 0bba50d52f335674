"""Figures of a recording, each from plain numbers that `neuro_decorr.metrics` gives: nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by colour-blind readers too.
DATA, NULL, SECOND = "#0072B2", "#999999", "#D55E00"
_SPIKES = 20_000
"""Spikes that a raster shows: more of them are a grey area, and a file of many megabytes."""
_LABELS = 40
"""Units that a matrix names along its axes; more would be unreadable."""


def raster(
    times: Sequence[NDArray[np.float64]], start: float, stop: float, order: Sequence[int] | None = None
) -> Figure:
    """Spikes of every unit, a tick each, from the start for as long as the figure can tell spikes apart.

    Args:
        times: Sorted spike times of each unit (s).
        start: Start of the recording (s).
        stop: Its end (s).
        order: Units from bottom to top, such as that of `cluster_order`; as they come when None.

    Returns:
        The figure; its title tells the period that is shown where that is not all.

    Raises:
        InvalidValue: No units.
    """
    if not len(times):
        raise InvalidValue("raster: got no units; give the spike times of at least one.")
    rows = range(len(times)) if order is None else order
    shown = _until(times, stop)
    figure, axes = _axes(6.4, 3.6)
    inside = [times[unit][times[unit] <= shown] for unit in rows]
    height = max(0.6, min(4.0, 220 / len(inside)))
    spikes = np.concatenate(inside)
    heights = np.repeat(np.arange(len(inside)), [len(unit) for unit in inside])
    axes.plot(spikes, heights, linestyle="none", marker="|", markersize=height, markeredgewidth=0.5, color="black")
    axes.set(xlim=(start, shown), ylim=(-0.5, len(inside) - 0.5), xlabel="time (s)")
    axes.set_ylabel("unit" if order is None else "unit, ordered by clustering")
    if shown < stop:
        axes.set_title(f"the first {shown - start:.3g} of {stop - start:.3g} s", fontsize="medium")
    return figure


def cluster_order(correlation: ArrayLike) -> list[int]:
    """Units in the order of the leaves of an average-linkage tree on 1 - r: those alike stand together.

    Units without a correlation (silent ones) come last, in their own order. Deterministic.

    Args:
        correlation: Shape `(units, units)`.

    Returns:
        Indices of the units.
    """
    hierarchy = require("scipy.cluster.hierarchy", "recordings")
    matrix = np.asarray(correlation, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(matrix.diagonal()))
    silent = np.flatnonzero(~np.isfinite(matrix.diagonal()))
    if len(known) < 3:  # nothing to order
        return [*known.tolist(), *silent.tolist()]
    part = matrix[np.ix_(known, known)]
    distances = np.clip(1 - part[np.triu_indices(len(known), 1)], 0, 2)
    tree = hierarchy.linkage(distances, method="average", optimal_ordering=len(known) <= 300)
    return [*known[hierarchy.leaves_list(tree)].tolist(), *silent.tolist()]


def correlation_matrix(
    correlation: ArrayLike, units: Sequence[str], order: Sequence[int] | None = None, title: str = ""
) -> Figure:
    """Correlations of all pairs in colour, the diagonal left out, with a scale that the largest of them sets.

    Args:
        correlation: Shape `(units, units)`; NaN, as of silent units, is hatched grey.
        units: Labels.
        order: Order of the units; that of `cluster_order` when None.
        title: What it is of, such as the width of the bins.

    Returns:
        The figure.
    """
    matrix = np.array(correlation, dtype=np.float64)
    rows = cluster_order(matrix) if order is None else list(order)
    matrix = matrix[np.ix_(rows, rows)]
    np.fill_diagonal(matrix, np.nan)
    known = np.abs(matrix[np.isfinite(matrix)])
    # The very largest pair would leave all others pale; pairs beyond the scale are marked on its bar.
    limit = float(np.quantile(known, 0.999)) if len(known) else 1.0
    limit = limit if limit > 0 else 1.0
    figure, axes = _axes(5.2, 4.4)
    axes.set_facecolor("#dddddd")
    shown = np.ma.MaskedArray(matrix, mask=~np.isfinite(matrix))  # type: ignore[no-untyped-call]  # numpy's own
    image = axes.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    extend = "both" if len(known) and float(known.max()) > limit else "neither"
    figure.colorbar(image, ax=axes, label="correlation", shrink=0.85, extend=extend)
    if len(rows) <= _LABELS:
        names = [units[row] for row in rows]
        axes.set_xticks(range(len(rows)), names, rotation=90, fontsize="x-small")
        axes.set_yticks(range(len(rows)), names, fontsize="x-small")
    axes.set(xlabel="unit, ordered by clustering", ylabel="unit")
    if title:
        axes.set_title(title, fontsize="medium")
    return figure


def correlogram(lags: ArrayLike, correlations: ArrayLike, deviation: float | None = None) -> Figure:
    """Mean over the pairs of the cross-correlation at every lag, with the quartiles of the pairs.

    Args:
        lags: Lags (s), shape `(lags,)`.
        correlations: Cross-correlation of each pair of distinct units, shape `(lags, pairs)`; pairs with a silent unit,
            NaN, are left out.
        deviation: Standard deviation that independent units would show for one pair, drawn as a band about zero.

    Returns:
        The figure.

    Raises:
        InvalidValue: No pair has a correlation.
    """
    values, delays = np.asarray(correlations, dtype=np.float64), np.asarray(lags, dtype=np.float64)
    values = values[:, np.isfinite(values).all(axis=0)]
    if values.shape[1] == 0:
        raise InvalidValue("correlogram: no pair of units has a correlation; at least two must fire or vary.")
    scale, unit = (1e3, "ms") if float(np.abs(delays).max()) < 2 else (1.0, "s")
    figure, axes = _axes(5.2, 3.4)
    if deviation is not None:
        axes.axhspan(-deviation, deviation, color=NULL, alpha=0.3, linewidth=0, label="one s.d. of independent units")
    low, high = np.quantile(values, [0.25, 0.75], axis=1)
    axes.fill_between(scale * delays, low, high, color=DATA, alpha=0.25, linewidth=0, label="half of the pairs")
    axes.plot(scale * delays, values.mean(axis=1), color=DATA, label=f"mean of {values.shape[1]} pairs")
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(xlabel=f"lag ({unit})", ylabel="cross-correlation", xlim=(scale * delays[0], scale * delays[-1]))
    _legend(axes)
    return figure


def eigenspectrum(eigenvalues: ArrayLike, edge: float, null: ArrayLike | None = None) -> Figure:
    """Eigenvalues of the correlation matrix by rank, with the edge that sampling alone would not pass.

    Args:
        eigenvalues: In descending order, mean 1.
        edge: Upper edge of Marchenko and Pastur for independent units at this number of samples.
        null: Eigenvalues of a surrogate, in descending order.

    Returns:
        The figure; its title counts the eigenvalues above the edge.
    """
    values = np.asarray(eigenvalues, dtype=np.float64)
    above = int((values > edge).sum())
    figure, axes = _axes(5.2, 3.4)
    ranks = np.arange(1, len(values) + 1)
    positive = values > 1e-12 * values[0]
    axes.plot(ranks[positive], values[positive], marker="o", markersize=3, linewidth=0.8, color=DATA, label="data")
    if null is not None:
        shuffled = np.asarray(null, dtype=np.float64)
        kept = shuffled > 1e-12 * shuffled[0]
        axes.plot(np.arange(1, len(shuffled) + 1)[kept], shuffled[kept], color=NULL, label="surrogate")
    axes.axhline(edge, color=SECOND, linestyle="--", label="Marchenko-Pastur edge")
    axes.set(xscale="log", yscale="log", xlabel="rank", ylabel="eigenvalue of the correlation matrix")
    for axis in (axes.xaxis, axes.yaxis):  # 6, not 6 x 10^0: a spectrum often spans one decade
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}" if axis is axes.yaxis and values[0] < 15 * values[positive][-1] else "")
    axes.set_title(f"{above} of {len(values)} eigenvalues above the edge", fontsize="medium")
    _legend(axes)
    return figure


def correlation_distribution(pairs: ArrayLike, null: ArrayLike, p_value: float | None = None) -> Figure:
    """Distribution of the correlations over the pairs beside that of surrogates, as densities.

    Args:
        pairs: Correlations of all pairs of distinct units; NaN is left out.
        null: Correlations of the same pairs in surrogates, all together.
        p_value: Of the mean absolute correlation against the surrogates, for the title.

    Returns:
        The figure.

    Raises:
        InvalidValue: No pair has a correlation.
    """
    found, chance = (np.ravel(np.asarray(values, dtype=np.float64)) for values in (pairs, null))
    found, chance = found[np.isfinite(found)], chance[np.isfinite(chance)]
    if not len(found) or not len(chance):
        raise InvalidValue("correlations: no pair of units has one; at least two must fire or vary.")
    low, high = min(found.min(), chance.min()), max(found.max(), chance.max())
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    edges = np.linspace(low, high, 61).tolist()
    figure, axes = _axes(5.2, 3.4)
    axes.hist(chance, edges, density=True, color=NULL, alpha=0.6, label="surrogates")
    axes.hist(found, edges, density=True, histtype="step", linewidth=1.5, color=DATA, label=f"{len(found)} pairs")
    axes.axvline(float(found.mean()), color=DATA, linestyle=":", label=f"mean {found.mean():.3g}")
    axes.set(xlabel="correlation", ylabel="density")
    if p_value is not None:
        axes.set_title(f"mean |r| against surrogates: p = {p_value:.2g}", fontsize="medium")
    _legend(axes)
    return figure


def dimensionality(samples: ArrayLike, naive: ArrayLike, corrected: ArrayLike, units: int) -> Figure:
    """Participation ratio of the first samples, more and more of them, as it is and corrected for their number.

    Args:
        samples: Numbers of samples, shape `(sizes,)`.
        naive: Participation ratios of the sample covariance, shape `(sizes,)` or `(sizes, draws)`.
        corrected: The corrected ones, of the same shape; NaN where it is not defined.
        units: Number of units: the largest participation ratio possible.

    Returns:
        The figure: means over the draws with their range.
    """
    sizes = np.asarray(samples, dtype=np.float64)
    figure, axes = _axes(5.2, 3.4)
    for values, colour, name in ((naive, NULL, "of the sample covariance"), (corrected, DATA, "corrected")):
        drawn = np.asarray(values, dtype=np.float64).reshape(len(sizes), -1)
        kept = np.isfinite(drawn).all(axis=1)
        axes.plot(sizes[kept], drawn[kept].mean(axis=1), marker="o", markersize=3, color=colour, label=name)
        if drawn.shape[1] > 1:
            axes.fill_between(
                sizes[kept], drawn[kept].min(axis=1), drawn[kept].max(axis=1), color=colour, alpha=0.25, linewidth=0
            )
    axes.axhline(units, color="black", linestyle=":", linewidth=0.8, label=f"{units} units")
    axes.set(xscale="log", xlabel="samples", ylabel="participation ratio")
    axes.set_ylim(bottom=0)
    _legend(axes)
    return figure


def _until(times: Sequence[NDArray[np.float64]], stop: float) -> float:
    """The end of the period that a raster can show."""
    if sum(map(len, times)) <= _SPIKES:
        return stop
    return float(np.partition(np.concatenate(times), _SPIKES)[_SPIKES])


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    require("matplotlib", "recordings")
    from matplotlib.figure import Figure  # not pyplot: no window, no global state, nothing to close

    figure = Figure(figsize=(width, height), layout="constrained")
    axes: Any = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize="small")
