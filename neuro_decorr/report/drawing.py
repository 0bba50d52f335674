"""Figures of a recording, and of the comparison of two recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import require
from neuro_decorr.recording import SpikeTrains
from neuro_decorr.recording.checks import chosen
from neuro_decorr.report import chance, labels, panels, subsamples
from neuro_decorr.report.compare import Compared
from neuro_decorr.report.correlogram import Correlogram, correlogram
from neuro_decorr.report.picture import Picture
from neuro_decorr.report.sample import Sample
from neuro_decorr.report.sheets import Panel, Sheet, sheet

Array = NDArray[np.float64]

_PLACES = 100  # along a course
_RATES = "correlation of each pair against the geometric mean of both rates, with which correlations of counts grow"


@final
@dataclass(frozen=True, eq=False)
class Style:
    """Style that compared figures share.

    Attributes:
        order: Labels of units, clustered: those of the matrix, from the first to the last.
        limit: End of the colour scale of correlations.
    """

    order: tuple[str, ...]
    limit: float

    @classmethod
    def of(cls, *pictures: Picture) -> Style:
        """Find one order and one scale for recordings, from the mean of their correlations, which favours none.

        Args:
            *pictures: The recordings; units that some recordings lack come last.
        """
        shared = [unit for unit in pictures[0].units if all(unit in other.units for other in pictures)]
        parts = [ordered(made, shared) for made in pictures]
        order = [shared[row] for row in cluster_order(np.mean(parts, axis=0))]
        for made in pictures:
            order += [unit for unit in made.units if unit not in order]
        return cls(tuple(order), panels.limit(*(made.correlation for made in pictures)))


def cluster_order(correlation: Array) -> list[int]:
    """Order units as the leaves of an average-linkage tree on 1 - r, which puts similar units together; deterministic.

    Args:
        correlation: Shape `(units, units)`, finite.

    Returns:
        Indices of the units.
    """
    count = len(correlation)
    if count < 3:  # nothing to order
        return list(range(count))
    hierarchy = require("scipy.cluster.hierarchy", "recordings")
    distances = np.clip(1 - correlation[np.triu_indices(count, 1)], 0, 2)
    tree = hierarchy.linkage(distances, method="average", optimal_ordering=count <= 300)
    order: list[int] = hierarchy.leaves_list(tree).tolist()
    return order


def ordered(made: Picture, units: Sequence[str]) -> Array:
    """Return the correlations of units, in their order.

    Args:
        made: The numbers of a recording.
        units: Labels of the units.
    """
    rows = chosen(units, made.units)
    part: Array = made.correlation[np.ix_(rows, rows)]
    return part


def counted(made: Picture) -> str:
    """Write the numbers of units, pairs and bins of a recording, for a caption.

    Args:
        made: The numbers.
    """
    units, taken = len(made.units), made.sample
    inside = f" in {len(np.unique(taken.trial))} trials" if taken.within_trials else ""
    return f"{units} units, {units * (units - 1) // 2} pairs, {len(taken.values)} bins of {width(taken.bin)}{inside}"


def width(seconds: float) -> str:
    """Write a duration in s or ms.

    Args:
        seconds: Duration (s).
    """
    return f"{seconds:g} s" if seconds >= 1 else f"{1000 * seconds:g} ms"


def figures(made: Picture, style: Style, title: str, prefix: str, seed: int) -> list[Sheet]:
    """Draw the figures of one recording.

    Args:
        made: Its numbers.
        style: Order and scale, shared with the recording that it is compared with.
        title: Name of the recording.
        prefix: Prefix of the file names.
        seed: Seed of the sub-samples.

    Returns:
        Activity, correlations, dimensions.
    """
    units = [unit for unit in style.order if unit in set(made.units)]
    names, treatment = labels.drawn(units), _treatment(made)

    def drawn(heading: str, shown: list[Panel], layout: str, height: float, note: str = "") -> Sheet:
        return sheet(f"{prefix}{heading.lower()}", f"{heading} of {title}", shown, counted(made), layout, height, note)

    course, lagged = _course(made.sample), correlogram(made.surrogates.samples, made.surrogates.trial)
    if isinstance(made.sample.recording, SpikeTrains):
        raster = _raster(made.sample, made.sample.recording, units, names)
        activity = drawn("Activity", [raster, course], "A;A;B", 5.0, names.note)
    else:
        activity = drawn("Activity", [course], "A", 2.4)
    note = " ".join(filter(None, [treatment, names.note]))
    shown, layout = _correlations(made, units, names, lagged, style.limit), "AAB;AAC"
    if len(lagged.lags) == 1:  # one count a trial: there is no course over lags
        shown, layout = shown[:2], "AAB"
    return [
        activity,
        drawn("Correlations", shown, layout, 4.0, note),
        drawn("Dimensions", _dimensions(made, seed), "AB", 2.8, treatment),
    ]


def _raster(taken: Sample, trains: SpikeTrains, units: Sequence[str], names: labels.Labels) -> Panel:
    times = [trains.times[row] for row in chosen(units, trains.units)]
    trials = trains.trials if taken.within_trials else None
    windows = [] if trials is None else list(zip(trials.start.tolist(), trials.stop.tolist(), strict=True))
    return Panel(
        "spikes, units in the order of the matrix of correlations" + ("; shaded, the trials" if windows else ""),
        partial(panels.raster, times=times, labels=names, start=trains.start, stop=trains.stop, windows=windows),
        "spikes",
    )


def _course(taken: Sample) -> Panel:
    record = taken.recording
    spikes = isinstance(record, SpikeTrains)
    what = "rate (Hz)" if isinstance(record, SpikeTrains) else record.quantity or "value"
    if taken.within_trials:
        groups = np.unique(taken.trial, return_index=True)[1]
        place: Array = np.arange(1, len(groups) + 1, dtype=np.float64)
        xlabel, unit, ends = "trial", "trial", (0.5, len(groups) + 0.5)
    else:
        groups = np.unique(np.linspace(0, len(taken.values), _PLACES, endpoint=False).astype(int))
        place = record.start + taken.bin * (groups + np.diff(groups, append=len(taken.values)) / 2)
        xlabel, unit, ends = "time (s)", width(float(np.diff(groups)[0]) * taken.bin), (record.start, record.stop)
    sums = np.add.reduceat(taken.values, groups, axis=0, dtype=np.float64)
    levels = sums / np.diff(groups, append=len(taken.values))[:, None] / (taken.bin if spikes else 1.0)
    return Panel(
        f"mean of each {unit}: line, mean over units; band, the middle half of the units (not an interval)",
        partial(panels.course, place=place, values=levels, xlabel=xlabel, ylabel=what, ends=ends),
        f"activity of each {unit}" if taken.within_trials else "activity over time",
    )


def _correlations(
    made: Picture, units: Sequence[str], names: labels.Labels, lagged: Correlogram, limit: float
) -> list[Panel]:
    pairs = made.correlation[np.triu_indices(len(made.units), 1)]
    part = f" of {lagged.units} of the units, evenly spaced" if lagged.units < len(made.units) else ""
    told = "" if made.chance is None else f"; grey, that of {len(made.chance)} surrogates, p = {made.p_value:.2g}"
    null = 1.96 * np.array([-lagged.deviation, lagged.deviation])
    return [
        Panel(
            f"correlation of every pair; the colour scale ends at {limit:.2g}, units are ordered by clustering",
            partial(panels.matrix, correlation=ordered(made, units), labels=names, limit=limit),
            "correlation of every pair",
        ),
        Panel(
            f"distribution over pairs{told}",
            partial(panels.distribution, pairs=pairs, edges=chance.EDGES,
                    null=None if made.chance is None else made.chance.counts),
            "distribution over pairs",
        ),
        Panel(
            f"cross-correlation{part}, each pair in both directions: line, mean over pairs; blue band, the middle half "
            "of the pairs (not an interval); grey band, 95 % of what that mean is for units with these "
            "autocorrelations that share nothing",
            partial(panels.correlogram, lags=made.sample.bin * lagged.lags, mean=lagged.mean,
                    quartiles=lagged.quartiles, null=null),
            "cross-correlation",
        ),
    ]  # fmt: skip


def _treatment(made: Picture, where: str = "all panels") -> str:
    return f"In {where}, {made.removed} was removed first." if made.removed else ""


def _dimensions(made: Picture, seed: int) -> list[Panel]:
    grown = subsamples.growth(made.surrogates.samples, made.surrogates.trial, seed)
    edge, source = made.edge
    null = None if made.chance is None else np.quantile(made.chance.spectrum.null, [0.025, 0.975], axis=0)
    band = "" if null is None else "grey band, the middle 95 % of the surrogates at each rank; "
    block = "trials" if made.sample.within_trials else f"blocks of {width(grown.block * made.sample.bin)}"
    return [
        Panel(
            f"eigenvalues of the correlation matrix; {band}dashed, what the largest of units that share nothing "
            f"does not pass ({source}): {made.above} of {len(made.eigenvalues)} do",
            partial(panels.eigenspectrum, eigenvalues=made.eigenvalues, edge=edge, edge_name=source, null=null),
            "eigenvalues",
        ),
        Panel(
            f"participation ratio of random sub-samples made of {block}: line, median; band, range of "
            f"{subsamples.DRAWS} draws (not an interval)",
            partial(panels.dimensionality, samples=grown.samples, naive=grown.naive, corrected=grown.corrected,
                    units=len(made.units)),
            "participation ratio",
        ),
    ]  # fmt: skip


def comparison(first: Picture, second: Picture, style: Style, compared: Compared, names: tuple[str, str]) -> Sheet:
    """Draw the figure of a comparison: both matrices on one scale, every pair in one against the other, differences.

    Args:
        first: The reference recording.
        second: The other recording.
        style: Order and scale of both.
        compared: The differences.
        names: Names of both recordings.
    """
    units = [unit for unit in style.order if unit in set(first.units) & set(second.units)]
    upper = np.triu_indices(len(units), 1)
    matrices = [ordered(made, units) for made in (first, second)]
    drawn, short, found = labels.drawn(units), ("first", "second"), compared.found
    shown = [
        Panel(
            f"correlation of every pair in {name}" + (f"; one scale, to {style.limit:.2g}, and one order" if k else ""),
            partial(panels.matrix, correlation=matrices[k], labels=drawn, limit=style.limit, title=short[k], bar=k > 0),
        )
        for k, name in enumerate(names)
    ]
    told = {name: row for name, row in found.rows.items() if np.isfinite(row.low) and row.high > row.low}
    matched = {name: found.matched[name] for name in told if name in found.matched}
    shown += [
        Panel(
            f"correlation of each pair in the second against the first; dotted, no change; mean change "
            f"{float((matrices[1] - matrices[0])[upper].mean()):.3g}",
            partial(panels.before_after, first=matrices[0][upper], second=matrices[1][upper], names=short),
            "pair by pair",
        ),
        Panel(
            "second minus first of each measure, with its 95 % interval over time, in half-widths of that interval; in "
            "colour where it leaves out zero" + ("; open, at matched rates" if matched else ""),
            partial(panels.differences, rows=told, matched=matched),
            "second minus first",
        ),
    ]
    layout, height = "ABC;DDD", 5.0
    if found.geometric_rates is not None:
        draw = partial(panels.against_rates, rates=found.geometric_rates, correlations=found.correlations, names=short)
        shown.append(Panel(_RATES, draw, "against rates"))
        layout = "ABC;DDE"
    samples = [len(made.sample.values) for made in (first, second)]
    n = f"{len(units)} units in both, {len(upper[0])} pairs, {samples[0]} and {samples[1]} bins"
    title = f"{names[1]} (second) against {names[0]} (first)"
    note = " ".join(filter(None, [_treatment(first, "A to C"), drawn.note]))
    return sheet("comparison", title, shown, n, layout, height, note)
