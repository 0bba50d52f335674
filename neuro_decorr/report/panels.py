"""Panels of the figures of a recording, drawn from numbers that other modules compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.report import sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from neuro_decorr.metrics.comparison import Change
    from neuro_decorr.report.labels import Labels

Array = NDArray[np.float64]

# Okabe and Ito's palette: told apart by colour-blind readers too.
DATA, NULL, SECOND = "#0072B2", "#999999", "#D55E00"
_SPIKES = 20_000
"""Largest number of spikes in a raster; more would be a grey area, and a file of many megabytes."""
_NAMED = 24
"""Largest number of units that an axis names; more would be unreadable."""
_DECADE = 10
"""Ratio of largest to smallest value from which on an axis is logarithmic."""
_DOTS = 3_000
"""Largest number of pairs that are drawn one by one."""


def raster(
    axes: Axes, times: Sequence[Array], labels: Labels, start: float, stop: float,
    windows: Sequence[tuple[float, float]] = (),
) -> None:  # fmt: skip
    """Draw a tick for every spike, from the start of the recording for as long as ticks stay distinct.

    Args:
        axes: Axes to draw on.
        times: Sorted spike times of each unit (s), from top to bottom, in the order of the rows of the matrix.
        labels: Labels of the units, in the same order.
        start: Start of the recording (s).
        stop: End of the recording (s). The title gives the period that is shown if it is shorter.
        windows: Periods to shade (s).

    Raises:
        InvalidValue: There is no unit.
    """
    if not len(times):
        raise InvalidValue("raster: got no units; give the spike times of at least one.")
    shown = _until(times, stop)
    inside = [unit[unit <= shown] for unit in times]
    height = max(0.6, min(4.0, 220 / len(inside)))
    heights = np.repeat(np.arange(1, len(inside) + 1), [len(unit) for unit in inside])
    axes.plot(
        np.concatenate(inside), heights, linestyle="none", marker="|", markersize=height, markeredgewidth=0.5,
        color="black", rasterized=True,
    )  # fmt: skip
    bars = [(low, high - low) for low, high in windows if low < shown]
    axes.broken_barh(bars, (0.5, len(inside)), color=DATA, alpha=0.2, linewidth=0)
    axes.set(xlim=(start, shown), ylim=(len(inside) + 0.5, 0.5), xlabel="time (s)", ylabel="unit, clustered")
    _named(axes.yaxis, labels)
    if shown < stop:
        axes.set_title(f"the first {shown - start:.3g} of {stop - start:.3g} s", fontsize="medium")


def course(
    axes: Axes, place: ArrayLike, values: ArrayLike, xlabel: str, ylabel: str, ends: tuple[float, float]
) -> None:
    """Draw the course of the activity: mean and quartiles over units.

    Args:
        axes: Axes to draw on.
        place: Times or numbers of trials, shape `(places,)`.
        values: Rates or means at each place, shape `(places, units)`.
        xlabel: Label of the horizontal axis.
        ylabel: Label of the vertical axis.
        ends: Ends of the horizontal axis.
    """
    at, levels = np.asarray(place, dtype=np.float64), np.asarray(values, dtype=np.float64)
    low, high = np.quantile(levels, [0.25, 0.75], axis=1)
    axes.fill_between(at, low, high, color=DATA, alpha=0.25, linewidth=0, label="half of the units")
    axes.plot(at, levels.mean(axis=1), color=DATA, label="mean of the units")
    axes.set(xlabel=xlabel, xlim=ends)
    if xlabel == "trial":
        _whole(axes.xaxis)
    axes.set_ylabel(ylabel, parse_math=False)
    if levels.min() >= 0:
        axes.set_ylim(bottom=0)
    legend(axes, room=0.35)


def matrix(
    axes: Axes, correlation: ArrayLike, labels: Labels, limit: float, *, title: str = "", bar: bool = True
) -> None:
    """Draw the correlations of all pairs in colour, without the diagonal.

    Args:
        axes: Axes to draw on.
        correlation: Correlations in the order of the axis, shape `(units, units)`; NaN, as of silent units, is grey.
        labels: Labels of the units, in the same order.
        limit: End of the colour scale, the same for all matrices that are compared.
        title: Title of the panel.
        bar: True to draw the colour scale.
    """
    values = np.array(correlation, dtype=np.float64)
    np.fill_diagonal(values, np.nan)
    axes.set_facecolor("#dddddd")
    shown = np.ma.MaskedArray(values, mask=~np.isfinite(values))  # type: ignore[no-untyped-call]  # numpy's own
    count = len(values)
    image = axes.imshow(
        shown, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest",
        extent=(0.5, count + 0.5, count + 0.5, 0.5),
    )  # fmt: skip
    if bar:
        figure: Any = axes.figure
        figure.colorbar(image, ax=axes, label="correlation", shrink=0.85, extend="both")
    axes.set_title(title, fontsize="medium", parse_math=False)
    _named(axes.xaxis, labels, rotation=90)
    _named(axes.yaxis, labels)
    axes.set(xlabel="unit, clustered", ylabel="unit, clustered")


def limit(*correlations: ArrayLike) -> float:
    """Choose the end of one colour scale for several matrices: the largest pair except the top thousandth.

    With the very largest pair as the end, all other pairs would be pale. The colour bar marks pairs beyond the scale.

    Args:
        *correlations: Matrices of shape `(units, units)`.

    Returns:
        The largest absolute correlation shown in full colour; 1 where no pair has one.
    """
    found = []
    for correlation in correlations:
        values = np.asarray(correlation, dtype=np.float64)
        pairs = np.abs(values[np.triu_indices(len(values), 1)])
        found.append(pairs[np.isfinite(pairs)])
    known = np.concatenate(found)
    end = float(np.quantile(known, 0.999)) if len(known) else 0.0
    return end if end > 0 else 1.0


def correlogram(axes: Axes, lags: ArrayLike, mean: ArrayLike, quartiles: ArrayLike, null: ArrayLike) -> None:
    """Draw the cross-correlation at every lag: mean and quartiles over the pairs.

    Args:
        axes: Axes to draw on.
        lags: Lags (s), shape `(lags,)`.
        mean: Mean over the pairs, shape `(lags,)`.
        quartiles: Quartiles over the pairs, shape `(2, lags)`.
        null: Band of this mean by chance, shape `(2, lags)`.
    """
    scale, unit = (1e3, "ms") if float(np.abs(np.asarray(lags)).max()) < 2 else (1.0, "s")
    delays = scale * np.asarray(lags, dtype=np.float64)
    low, high = np.asarray(quartiles, dtype=np.float64)
    axes.fill_between(delays, low, high, color=DATA, alpha=0.2, linewidth=0, label="half of the pairs")
    below, above = np.asarray(null, dtype=np.float64)
    axes.fill_between(delays, below, above, color=NULL, alpha=0.6, linewidth=0, label="mean by chance, 95 %")
    axes.plot(delays, np.asarray(mean), color=DATA, label="mean of the pairs")
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(xlabel=f"lag ({unit})", ylabel="cross-correlation", xlim=(delays[0], delays[-1]))
    legend(axes, room=0.9)


def eigenspectrum(
    axes: Axes, eigenvalues: ArrayLike, edge: float, edge_name: str, null: ArrayLike | None = None
) -> None:
    """Draw the eigenvalues of the correlation matrix by rank, with those by chance.

    Args:
        axes: Axes to draw on.
        eigenvalues: Eigenvalues in descending order, mean 1.
        edge: Upper bound of the largest eigenvalue of independent units.
        edge_name: Source of this bound, for the legend.
        null: Middle 95 % over surrogates at each rank, shape `(2, units)`. None: no surrogates.
    """
    values = np.asarray(eigenvalues, dtype=np.float64)
    ranks = np.arange(1, len(values) + 1)
    positive = values > 1e-12 * values[0]  # a logarithmic axis shows no zero
    if null is not None:
        low, high = np.asarray(null, dtype=np.float64)
        kept = low > 1e-12 * high[0]
        axes.fill_between(
            ranks[kept], low[kept], high[kept], color=NULL, alpha=0.6, linewidth=0, label="surrogates at each rank"
        )
    axes.plot(ranks[positive], values[positive], marker="o", markersize=3, linewidth=0.8, color=DATA, label="data")
    axes.axhline(edge, color=SECOND, linestyle="--", linewidth=1, label=edge_name)
    axes.set(xlabel="rank", ylabel="eigenvalue of the correlation matrix")
    # A logarithmic axis over less than a decade has too few ticks.
    if len(values) < _DECADE:
        _whole(axes.xaxis)
    else:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")  # 10, not 10^1
    if values[0] >= _DECADE * values[positive][-1]:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    legend(axes)


def distribution(axes: Axes, pairs: ArrayLike, edges: ArrayLike, null: ArrayLike | None) -> None:
    """Draw the distribution of the correlations over the pairs, and that of surrogates, as densities.

    Args:
        axes: Axes to draw on.
        pairs: Correlations of all pairs of distinct units; NaN is left out.
        edges: Edges of fine bins of equal width, in which correlations of surrogates were counted, shape `(bins + 1,)`.
        null: Counts of the surrogates, shape `(bins,)`. None: no surrogates.

    Raises:
        InvalidValue: No pair has a correlation.
    """
    found = np.ravel(np.asarray(pairs, dtype=np.float64))
    found = found[np.isfinite(found)]
    if not len(found):
        raise InvalidValue("correlations: no pair of units has one; give at least two units that vary.")
    borders = np.asarray(edges, dtype=np.float64)
    reach = [found.min(), found.max()]
    if null is not None:
        counts = np.asarray(null, dtype=np.float64)
        filled = np.flatnonzero(counts)
        reach = [min(reach[0], borders[filled[0]]), max(reach[1], borders[filled[-1] + 1])]
    first = max(0, int(np.searchsorted(borders, reach[0])) - 1)
    last = min(len(borders) - 1, int(np.searchsorted(borders, reach[1])) + 1)
    cells = int(np.clip(2 * np.sqrt(len(found)), 12, 60))  # few bins for few pairs
    coarse = borders[first : last + 1 : max(1, int(np.ceil((last - first) / cells)))]
    if null is not None:
        chance = np.histogram((borders[1:] + borders[:-1]) / 2, coarse, weights=counts)[0]
        share = chance / (counts.sum() * np.diff(coarse))
        axes.stairs(share, coarse, fill=True, color=NULL, alpha=0.6, label="surrogates")
    axes.hist(found, coarse.tolist(), density=True, histtype="step", linewidth=1.5, color=DATA, label="data")
    mean, room = float(found.mean()), 0.9
    axes.axvline(mean, ymax=1 / (1 + room), color=DATA, linestyle=":", label=f"mean {mean:.3g}")  # below the legend
    axes.set(xlabel="correlation of a pair", ylabel="density")
    legend(axes, room=room)


def dimensionality(axes: Axes, samples: ArrayLike, naive: ArrayLike, corrected: ArrayLike, units: int) -> None:
    """Draw the participation ratio of sub-samples of the recording, without and with correction for their size.

    Args:
        axes: Axes to draw on.
        samples: Numbers of samples, shape `(sizes,)`.
        naive: Participation ratios of the sample covariance, shape `(sizes, draws)`; NaN is left out.
        corrected: Corrected participation ratios, of the same shape.
        units: Number of units, which is the largest possible participation ratio.
    """
    sizes = np.asarray(samples, dtype=np.float64)
    for values, colour, name in ((naive, NULL, "of the sample covariance"), (corrected, DATA, "corrected")):
        drawn = np.asarray(values, dtype=np.float64)
        kept = np.isfinite(drawn).all(axis=1)
        sets = drawn[kept]
        axes.plot(sizes[kept], np.median(sets, axis=1), marker="o", markersize=3, color=colour, label=name)
        axes.fill_between(sizes[kept], sets.min(axis=1), sets.max(axis=1), color=colour, alpha=0.25, linewidth=0)
    axes.axhline(units, color="black", linestyle=":", linewidth=0.8, label=f"{units} units")
    axes.set(xscale="log", xlabel="samples", ylabel="participation ratio", ylim=(0, 1.6 * units))
    axes.xaxis.set_major_formatter("{x:g}")
    legend(axes)


def before_after(axes: Axes, first: ArrayLike, second: ArrayLike, names: tuple[str, str]) -> None:
    """Draw the correlation of every pair in one recording against that in another.

    Args:
        axes: Axes to draw on.
        first: Correlations of the pairs, shape `(pairs,)`; a pair that is NaN in either recording is left out.
        second: Correlations of the same pairs in the other recording.
        names: Names of both recordings.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    margin = 0.05 * (high - low) or 0.05
    ends = (low - margin, high + margin)
    if len(x) > _DOTS:
        counted = axes.hexbin(x, y, gridsize=60, bins="log", mincnt=1, cmap="Blues", extent=(*ends, *ends))
        figure: Any = axes.figure
        figure.colorbar(counted, ax=axes, label="pairs", shrink=0.85)
    else:
        axes.scatter(x, y, s=5, color=DATA, alpha=0.4, linewidths=0, label="a pair")
    axes.axline((low, low), slope=1, color="black", linewidth=0.8, linestyle=":", label="no change")
    axes.plot(x.mean(), y.mean(), marker="+", markersize=12, markeredgewidth=2, color=SECOND, linestyle="none",
              label="mean of the pairs")  # fmt: skip
    axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel=f"r, {names[0]}", ylabel=f"r, {names[1]}")
    legend(axes)


def differences(axes: Axes, rows: Mapping[str, Change], matched: Mapping[str, Change]) -> None:
    """Draw differences with their intervals, one below the other, each in half-widths of its interval.

    Args:
        axes: Axes to draw on.
        rows: Changes of the measures with intervals, from top to bottom.
        matched: Changes of the same measures at matched rates, where there are any.
    """
    axes.axvline(0, color="black", linewidth=0.8)
    for shift, marker, changes in ((0.0, "o", rows), (0.3, "d", matched)):
        for row, name in enumerate(rows):
            if name not in changes or not changes[name].high > changes[name].low:
                continue
            change = changes[name]
            half = (change.high - change.low) / 2
            ends = np.clip([[change.difference - change.low], [change.high - change.difference]], 0, None) / half
            colour = SECOND if change.low > 0 or change.high < 0 else NULL
            axes.errorbar(
                change.difference / half, row + shift, xerr=ends, fmt=marker, markersize=4, color=colour,
                markerfacecolor=colour if marker == "o" else "white",
            )  # fmt: skip
    axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows], parse_math=False)
    if max(map(abs, axes.get_xlim())) > _DECADE:
        axes.set_xscale("symlog", linthresh=2)
        axes.xaxis.set_major_formatter("{x:g}")
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="difference, in half-widths of its interval")
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def against_rates(axes: Axes, rates: ArrayLike, correlations: ArrayLike, names: tuple[str, str]) -> None:
    """Draw the correlation of every pair against the geometric mean of its rates, in two recordings.

    Args:
        axes: Axes to draw on.
        rates: Geometric mean rates (Hz), shape `(2, pairs)`.
        correlations: Correlations of the same pairs, shape `(2, pairs)`.
        names: Names of both recordings.
    """
    x, y = np.asarray(rates, dtype=np.float64), np.asarray(correlations, dtype=np.float64)
    for k, colour in enumerate((DATA, SECOND)):
        dots(axes, x[k], y[k], colour, names[k])
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(xlabel="geometric mean rate (Hz)", ylabel="correlation")
    legend(axes)


def dots(axes: Axes, x: Array, y: Array, colour: str, label: str | None = None) -> None:
    """Draw pairs of units as dots; of more than 3,000 pairs an evenly spaced part.

    Args:
        axes: Axes to draw on.
        x: Horizontal positions, shape `(pairs,)`.
        y: Vertical positions, of the same shape.
        colour: Colour of the dots.
        label: Entry of the legend. None: no entry.
    """
    every = max(1, -(-len(x) // _DOTS))
    axes.scatter(x[::every], y[::every], s=5, color=colour, alpha=0.3, linewidths=0, label=label, rasterized=True)


def legend(axes: Axes, room: float = 0.0) -> None:
    """Draw a plain legend; no legend where nothing has a name.

    Args:
        axes: Axes to draw on.
        room: Part of the height that is added above for the legend.
    """
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + room * (top - bottom))
    if axes.get_legend_handles_labels()[0]:
        for handle in axes.legend(frameon=False).legend_handles:
            if isinstance(handle, require("matplotlib.collections", "recordings").PathCollection):
                handle.set(sizes=[20], alpha=1)  # the dots of the scatter are too small and pale for a legend


def _named(axis: Any, labels: Labels, **kept: Any) -> None:
    """Name the units on an axis; of many units, number them in the order shown."""
    count = len(labels.texts)
    if count > _NAMED:
        _whole(axis)
        return
    kept |= {"fontsize": sizes.SMALLEST, "parse_math": False, "fontfamily": labels.fonts}
    axis.set_ticks(range(1, count + 1), labels.texts, **kept)


def _whole(axis: Any) -> None:
    axis.set_major_locator(require("matplotlib.ticker", "recordings").MaxNLocator(6, integer=True, min_n_ticks=1))


def _until(times: Sequence[Array], stop: float) -> float:
    """Return the end of the period that a raster can show."""
    if sum(map(len, times)) <= _SPIKES:
        return stop
    return float(np.partition(np.concatenate(times), _SPIKES)[_SPIKES])
