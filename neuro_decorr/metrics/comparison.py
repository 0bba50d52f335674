"""Comparison of two recordings or periods of the same units, at equal numbers of samples and at equal rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.fluctuations import Fluctuations, Over, Source
from neuro_decorr.metrics.measures import sampling_floors
from neuro_decorr.metrics.paired import PairedChange, paired_change
from neuro_decorr.metrics.parameters import check_level, generator
from neuro_decorr.metrics.samples import Samples
from neuro_decorr.metrics.scales import Scale
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.sums import accumulate
from neuro_decorr.recording import Rates, SpikeTrains

if TYPE_CHECKING:
    import pandas as pd

Array: TypeAlias = NDArray[np.float64]

PERIODS = 8
"""Largest number of periods of the longer recording that are measured."""


class Change(NamedTuple):
    """One measure of two recordings, at the same number of samples of both."""

    first: float
    second: float
    first_floor: float  # of independent units with the same variances at this number of samples; NaN where unknown
    second_floor: float
    difference: float  # second minus first
    low: float  # interval of the difference; NaN if no interval can be given
    high: float
    ratio: float  # effect size, second over first; NaN for a measure that may be negative


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """Differences between two recordings; `comparison["mean_correlation"].low`, or a table by `.to_frame()`."""

    units: tuple[str, ...]  # labels of the compared units; their numbers in arrays
    samples: int  # number of samples of each period
    periods: tuple[int, int]  # numbers of periods in the first and in the second recording, whose means are compared
    level: float
    rows: Mapping[str, Change]
    matched: Mapping[str, Change]  # after spikes were deleted at random to equal rates; empty where there are no counts
    paired: PairedChange | None  # over pairs of units; None with fewer than three units
    rates: Array | None  # (2, units): Hz for recordings of spikes, counts per sample for arrays; None if not counts
    correlations: Array  # (2, pairs): correlation of every pair over all samples
    warnings: tuple[str, ...]

    def __getitem__(self, name: str) -> Change:
        """Change of a measure."""
        return self.rows[name]

    @property
    def geometric_rates(self) -> Array | None:
        """Geometric mean of the rates of both units of every pair, shape `(2, pairs)`: correlations grow with it."""
        if self.rates is None:
            return None
        first, second = np.triu_indices(self.rates.shape[1], 1)
        found: Array = np.sqrt(self.rates[:, first] * self.rates[:, second])
        return found

    @property
    def facts(self) -> str:
        """Basis of the numbers, in one line."""
        first, second = self.periods
        means = "" if first == second == 1 else f", means over {first} and {second} periods of so many"
        return f"{len(self.units)} units, {self.samples} samples of both{means}; {self.level:.0%} intervals"

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per measure as recorded, then at matched rates, then the paired change over pairs."""
        pandas = require("pandas", "recordings")
        rows: list[dict[str, object]] = []
        for rates, changes in (("as recorded", self.rows), ("matched", self.matched)):
            rows += [{"measure": name, "rates": rates, **change._asdict()} for name, change in changes.items()]
        if self.paired is not None:
            means = self.correlations.mean(axis=1).tolist()
            pair = self.paired
            rows.append(
                {
                    "measure": "mean_correlation (paired)", "rates": "as recorded", "first": means[0],
                    "second": means[1], "difference": pair.mean, "low": pair.low, "high": pair.high,
                    "Cohen's d": pair.cohens_d, "Cliff's delta": pair.cliffs_delta,
                }
            )  # fmt: skip
        table: pd.DataFrame = pandas.DataFrame(rows)
        return table


def comparison(
    first: Activity,
    second: Activity,
    bin: float | None = None,
    *,
    over: Over = "time",
    block: float | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    r"""Compare two recordings, periods or conditions of the same units: second minus first.

    Most measures depend on the number of samples. The longer recording is therefore measured in periods as long as the
    shorter one, up to eight, spread evenly, and the mean over these periods is compared. On the scale g of a measure
    (`scales.scales`) the mean has the half-width

    $$h^2 = \overline{h_k^2} \, \frac{\sum_t n(t)^2}{K^2 L}$$

    with K periods of L samples, of which n(t) include sample t. Transformed back, this gives the interval [l, u] of
    each value x; the interval of the difference is that of Zou and Donner,

    $$
    \left[ \Delta - \sqrt{(x_2 - l_2)^2 + (u_1 - x_1)^2},\;
    \Delta + \sqrt{(u_2 - x_2)^2 + (x_1 - l_1)^2} \right], \qquad \Delta = x_2 - x_1.
    $$

    Intervals of independent samples are somewhat wide (`summary`), so that a comparison of equal activity finds a
    change in fewer than 5 % of cases.

    Fewer spikes alone lower every correlation of counts: for thinned Poisson trains r is proportional to the rate.
    Measures of spike trains and of integers are therefore also compared at matched rates: spikes of each unit are
    deleted at random in the recording in which its rate is higher.

    Cost: that of `summary` for every period, twice for counts.

    Sources: difference, Zou and Donner (2008), Construction of confidence limits about effect measures: a general
    approach, Statist. Med. 27, doi:10.1002/sim.3095; rates, de la Rocha et al. (2007), Correlation between neural spike
    trains increases with firing rate, Nature 448, doi:10.1038/nature06028.

    Args:
        first: Activity before: an array or a recording. In recordings the units with the same labels are compared.
        second: Activity after.
        bin: Width of the bins (s) of spike trains and rates.
        over: `"time"`: all of both recordings; `"trials"`: their trials.
        block: Distance at which activity is independent (s; samples for arrays, trials over trials); None: found from
            the data.
        level: Coverage of the intervals.
        seed: Seed of the deletion of spikes.

    Returns:
        The comparison. Units that never vary in one recording are left out, with a warning.

    Raises:
        InvalidValue: Fewer than two units vary in both, steps differ, or the two are of different kinds, such as spike
            trains and rates; see `summary`.
    """
    check_level(level)
    source = generator(seed)
    pair, labels, populations, warnings = _same_units(first, second, bin, over)
    sources = [Source.of(activity, bin, over) for activity in pair]
    if sources[0].step != sources[1].step:
        raise InvalidValue(
            f"step: got {sources[0].step} and {sources[1].step} s per sample; give recordings with equal bins."
        )
    pieces = min(one.pieces for one in sources)
    if over == "trials" and sources[0].trial != sources[1].trial:
        raise InvalidValue("trials: the two recordings have trials of different lengths; give trials of one length.")
    chosen = sources[0].in_pieces(block)
    rows, told = _changes(sources, pieces, chosen, level)
    means = np.array([population.mean.cpu().numpy() for population in populations])
    counted = all(one.stream.integers for one in sources) and bool((means > 0).all())
    matched: dict[str, Change] = {}
    if counted:
        shares = means.min(axis=0) / means
        thinned = [Source.of(_thinned(*one, source), bin, over) for one in zip(pair, shares, strict=True)]
        matched, _ = _changes(thinned, pieces, chosen, level)
    upper = np.triu_indices(len(labels), 1)
    step = sources[0].step if isinstance(first, SpikeTrains) else None
    return Comparison(
        units=labels,
        samples=pieces * sources[0].trial,
        periods=(len(_periods(sources[0].pieces, pieces)), len(_periods(sources[1].pieces, pieces))),
        level=level,
        rows=rows,
        matched=matched,
        paired=paired_change(pair[0], pair[1], bin, over=over, level=level) if len(labels) > 2 else None,
        rates=means / (step or 1.0) if counted else None,
        correlations=np.array([population.correlation.cpu().numpy()[upper] for population in populations]),
        warnings=(*warnings, *told),
    )


def _changes(
    sources: list[Source], pieces: int, block: float | None, level: float
) -> tuple[dict[str, Change], list[str]]:
    """Change of every measure, and warnings."""
    read = [
        [Fluctuations.of(one, period, silent="drop", block=block) for period in _periods(one.pieces, pieces)]
        for one in sources
    ]
    factors = [_factor(one.pieces, pieces) for one in sources]
    floors = [[sampling_floors(period.population) for period in group] for group in read]
    changes: dict[str, Change] = {}
    slow: list[str] = []
    withheld = False
    for name in read[0][0].estimates:
        scale = Fluctuations.common(read[0] + read[1], name)
        if scale is not None:
            sides = [_own(group, factor, name, scale, level) for group, factor in zip(read, factors, strict=True)]
            slow += [name] if any(math.isnan(side.low) for side in sides) else []
        elif name == "participation_ratio_both":
            sides, withheld = 2 * [_Side(math.nan, math.nan, math.nan)], True
        else:
            sides = [_Side(math.nan, _mean([one.estimates for one in group], name), math.nan) for group in read]
        before, after = (side.value for side in sides)
        floor = _mean(floors[0], name), _mean(floors[1], name)
        ratio = after / before if name != "mean_correlation" and before > 0 else math.nan
        changes[name] = Change(before, after, *floor, after - before, *_difference(*sides), ratio)
    warnings = []
    if slow:
        warnings.append(
            f"no interval can be given for {', '.join(slow)}: the activity changes too slowly for {pieces} samples; "
            "record for longer, or remove slow changes first (high_pass, detrended)"
        )
    if withheld:
        warnings.append(
            "participation_ratio_both is withheld: its denominator, the mean squared covariance of pairs, is not "
            "clearly above zero in both"
        )
    return changes, warnings


class _Side(NamedTuple):
    """A measure of one recording and its interval; NaN without one."""

    low: float
    value: float
    high: float


def _own(group: list[Fluctuations], factor: float, name: str, scale: Scale, level: float) -> _Side:
    """Mean over periods on the scale, with its interval, transformed back."""
    scaled = np.array([period.width(name, scale, level) for period in group])
    middle, half = float(scaled[:, 0].mean()), math.sqrt(float(np.mean(scaled[:, 1] ** 2)) * factor)
    value = scale.backward(middle)
    if math.isnan(half):
        return _Side(math.nan, value, math.nan)
    return _Side(scale.backward(middle - half), value, scale.backward(middle + half))


def _difference(first: _Side, second: _Side) -> tuple[float, float]:
    """Interval of the second less the first: Zou and Donner (2008); NaN if either has none."""
    if math.isnan(first.low) or math.isnan(second.low):
        return math.nan, math.nan
    between = second.value - first.value
    low = between - math.hypot(second.value - second.low, first.high - first.value)
    return low, between + math.hypot(second.high - second.value, first.value - first.low)


def _mean(group: Sequence[Mapping[str, float]], name: str) -> float:
    return float(np.mean([one.get(name, math.nan) for one in group]))


def _periods(pieces: int, length: int) -> list[tuple[int, int]]:
    """Periods of one length, spread evenly, that cover the recording as far as possible; at most `PERIODS`."""
    count = min(PERIODS, math.ceil(pieces / length)) if pieces > 1.05 * length else 1
    firsts = np.linspace(0, pieces - length, count).round().astype(int).tolist() if count > 1 else [0]
    return [(first, first + length) for first in firsts]


def _factor(pieces: int, length: int) -> float:
    """Ratio of the variance of the mean over the periods to the variance of one period."""
    covered = np.zeros(pieces)
    periods = _periods(pieces, length)
    for first, last in periods:
        covered[first:last] += 1
    return float(np.square(covered).sum()) / (len(periods) ** 2 * length)


def _same_units(
    first: Activity, second: Activity, bin: float | None, over: Over
) -> tuple[tuple[Activity, Activity], tuple[str, ...], list[Moments], list[str]]:
    """Select the units that vary in both, in the order of the first; also returns labels, moments and warnings."""
    recordings = SpikeTrains | Rates
    warnings = []
    kinds = [type(one).__name__ if isinstance(one, recordings) else "an array" for one in (first, second)]
    if kinds[0] != kinds[1]:
        raise InvalidValue(f"second: got {kinds[1]}, the first is {kinds[0]}; give two of one kind.")
    if isinstance(first, recordings) and isinstance(second, recordings):
        labels = [name for name in first.units if name in set(second.units)]
        missing = len(set(first.units) ^ set(second.units))
        if missing:
            warnings.append(f"{missing} units are in one recording only: left out")
        if len(labels) < 2:
            raise InvalidValue(
                f"second: {len(labels)} units of one label are in both recordings; at least 2 are needed."
            )
        first, second = first.select(labels), second.select(labels)
    before, after = (_moments(activity, bin, over) for activity in (first, second))
    if before.units != after.units:
        raise InvalidValue(
            f"second: got {after.units} units, the first has {before.units}; give the same units in both."
        )
    constant = (before.constant | after.constant).cpu().numpy()
    kept = np.flatnonzero(~constant)
    if len(kept) < 2:
        raise InvalidValue(f"activity: {len(kept)} units vary in both; at least 2 are needed.")
    names = first.units if isinstance(first, recordings) else tuple(map(str, range(before.units)))
    chosen = tuple(names[k] for k in kept)
    if len(kept) < len(names):
        warnings.append(f"{len(names) - len(kept)} units never vary in one of both: left out")
        first, second = _of_units(first, kept), _of_units(second, kept)
        before, after = (_moments(activity, bin, over) for activity in (first, second))
    return (first, second), chosen, [before, after], warnings


def _moments(activity: Activity, bin: float | None, over: Over) -> Moments:
    return accumulate(Source.of(activity, bin, over).stream).moments()


def _of_units(activity: Activity, kept: NDArray[np.int64]) -> Activity:
    if isinstance(activity, SpikeTrains | Rates):
        return activity.select([activity.units[k] for k in kept])
    chosen: Samples = activity[:, torch.from_numpy(kept)] if isinstance(activity, torch.Tensor) else activity[:, kept]
    return chosen


def _thinned(activity: Activity, share: Array, source: np.random.Generator) -> Activity:
    """Delete counts or spikes at random; each is kept with the probability of its unit."""
    if isinstance(activity, SpikeTrains):
        times = [unit[source.random(len(unit)) < p] for unit, p in zip(activity.times, share, strict=True)]
        return replace(activity, times=tuple(times))
    counts = activity.values if isinstance(activity, Rates) else np.asarray(activity)
    thinned = source.binomial(counts.astype(np.int64), share)
    return replace(activity, values=thinned) if isinstance(activity, Rates) else thinned
