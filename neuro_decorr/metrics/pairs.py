"""Correlation of every pair as a function of its distance, its rate or its signal correlation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, final, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.activity import Activity, as_samples
from neuro_decorr.metrics.cosines import independent
from neuro_decorr.metrics.dyads import Groups
from neuro_decorr.metrics.jackknife import bounds, cells, correlations, second_moments, spread
from neuro_decorr.metrics.parameters import check_level, generator
from neuro_decorr.metrics.residuals import ALL, residuals, upper
from neuro_decorr.metrics.signal_noise import signal_noise_correlation
from neuro_decorr.metrics.sums import Sums
from neuro_decorr.recording import Rates, SpikeTrains

if TYPE_CHECKING:
    import pandas as pd

Against: TypeAlias = Literal["distance", "rate", "signal"]
"""`"distance"`: between the two units; `"rate"`: geometric mean of the two rates; `"signal"`: signal correlation."""

Over: TypeAlias = Literal["units", "time"]
"""Source of variation that an interval covers: `"units"`, other units of the same tissue; `"time"`, the same units at
another time."""

AXES = {"distance": "distance (µm)", "rate": "geometric mean rate (Hz)", "signal": "signal correlation"}


class Trend(NamedTuple):
    """Measure of the dependence of the correlations on x."""

    estimate: float
    low: float  # lower end of the interval
    high: float  # upper end
    null_low: float  # the measure lies between these with probability `level` when x is exchanged between units
    null_high: float
    p_value: float  # two-sided, from the exchanges


@final
@dataclass(frozen=True, eq=False)
class PairProfile:
    """Mean correlation of groups of pairs with similar x; a table by `.to_frame()`."""

    against: Against
    axis: str  # name of x, with its unit
    edges: NDArray[np.float64]  # (groups + 1,)
    centre: NDArray[np.float64]  # (groups,): mean x; NaN for an empty group
    pairs: NDArray[np.int64]  # (groups,): number of pairs
    mean: NDArray[np.float64]  # (groups,): mean correlation
    low: NDArray[np.float64]  # (groups,): lower end of its interval
    high: NDArray[np.float64]  # (groups,): upper end
    null_low: NDArray[np.float64]  # (groups,): quantiles of the mean when x is exchanged between units
    null_high: NDArray[np.float64]
    floor: NDArray[np.float64]  # (groups,): the mean of independent units lies within plus and minus this
    slope: Trend  # slope of the least-squares line through all pairs
    mantel: Trend  # Pearson correlation of x and r over all pairs
    x: NDArray[np.float64]  # (all pairs,)
    r: NDArray[np.float64]  # (all pairs,): correlation
    level: float  # coverage of intervals, null and floor
    facts: str  # numbers of units and pairs, and the methods
    warnings: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per group."""
        names = ("centre", "pairs", "mean", "low", "high", "null_low", "null_high", "floor")
        columns = {"from": self.edges[:-1], "to": self.edges[1:]} | {name: getattr(self, name) for name in names}
        frame: pd.DataFrame = require("pandas", "recordings").DataFrame(columns)
        return frame


def pair_profile(
    activity: Activity,
    bin: float | None = None,
    *,
    against: Against,
    positions: ArrayLike | None = None,
    edges: ArrayLike | None = None,
    groups: int = 8,
    over: Over = "units",
    permutations: int = 999,
    level: float = 0.95,
    seed: int = 0,
) -> PairProfile:
    r"""Correlations of all pairs as a function of their distance, their rate or their signal correlation.

    Pairs are sorted into groups with similar x. Pairs that share a unit are not independent, so a standard error over
    pairs would be too small: intervals over units sum the influences of the pairs of each unit (`dyads.Groups`);
    intervals over time leave out stretches of time (`jackknife.spread`). Null: x is exchanged between units, the rows
    and columns of its matrix together (Mantel's test), which gives the profile of correlations that do not depend on x.
    Floor: independent units that are each as slow as in the data (`cosines.Independent`). A profile above its floor but
    within its null says that units correlate, but not that distance, rate or signal matters.

    Cost: P N^2, and N^2 per permutation.

    Sources: Mantel (1967), The detection of disease clustering, Cancer Research 27; distance: Smith and Kohn (2008),
    J. Neuroscience 28, doi:10.1523/JNEUROSCI.2929-08.2008; rate: de la Rocha et al. (2007), Nature 448,
    doi:10.1038/nature06028.

    Args:
        activity: Array, rates or spike trains; for `"signal"` a recording with trials of two conditions or more, whose
            noise correlations are taken.
        bin: Width of the bins (s), for spike trains and rates; None with `"signal"`: one sample per trial.
        against: Meaning of x. The rate of arrays and `Rates` is their mean value.
        positions: Position of every unit (µm), shape `(units,)` or `(units, dimensions)`; None: those of the recording.
        edges: Edges of the groups in x, ascending; None: groups with equal numbers of pairs.
        groups: Number of groups if no edges are given.
        over: Source of variation that the intervals cover; for `"signal"` only `"units"`.
        permutations: Number of exchanges of x, at least 19.
        level: Coverage of intervals, null and floor, between 0 and 1.
        seed: Seed of the exchanges, an integer from 0 on.

    Returns:
        The profile, its slope and its correlation. Units that never vary, or whose position is NaN, are left out.
        Warnings name the numbers of such units and of pairs outside the edges.

    Raises:
        InvalidValue: Fewer than five units remain, there are no positions, or a parameter is out of range; see also
            `moments`.
    """
    check_level(level)
    checks.refuse(
        "pair_profile",
        checks.word("against", against, get_args(Against)),
        checks.word("over", over, get_args(Over)),
        checks.whole_number("groups", groups, least=1),
        checks.whole_number("permutations", permutations, least=19),
    )
    source = generator(seed)
    without = None
    if against == "signal":
        r, x, variance = _signal(activity, bin, over)
    else:
        counted = as_samples(activity, bin)
        sums = cells(counted)
        whole, fewer = second_moments(sums)
        r, variance = correlations(whole), independent(counted).variance
        x = _distances(activity, positions, len(r)) if against == "distance" else _rates(activity, bin, sums)
        without = (fewer, sums.lengths.cpu().numpy()) if over == "time" else None
    keep = _complete(np.isfinite(r) & np.isfinite(x))
    if keep.sum() < 5:
        raise InvalidValue(f"activity: {int(keep.sum())} units have correlations and {against}; at least 5 are needed.")
    chosen = np.ix_(keep, keep)
    matrix, r, x = r[chosen], upper(r[chosen]), upper(x[chosen])
    sorted_ = Groups.of(x, edges, groups)
    estimate = sorted_.measure(r)
    if without is None:
        low, high = sorted_.over_units(r, len(matrix), level)
        resampled = f"units (pairs that share one are not independent), {len(matrix)} of them"
    else:
        left = np.array([sorted_.measure(upper(part)) for part in correlations(without[0][:, keep][:, :, keep])])
        low, high = bounds(estimate, spread(estimate, left, without[1]), level)
        resampled = f"{len(left)} stretches of time, left out in order"
    orders = (source.permutation(len(matrix)) for _ in range(permutations))
    drawn = np.array([sorted_.measure(upper(matrix[np.ix_(order, order)])) for order in orders])
    null_low, null_high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    p_value = (1 + (np.abs(drawn) >= np.abs(estimate) - 1e-12).sum(axis=0)) / (1 + permutations)
    reach = float(require("scipy.stats", "recordings").norm.ppf((1 + level) / 2))
    trends = np.transpose([estimate, low, high, null_low, null_high, p_value])[-2:].tolist()
    lost, outside = int((~keep).sum()), int((sorted_.index < 0).sum())
    warnings = [f"{lost} units are left out: they never vary or have no {against}"] if lost else []
    warnings += [f"{outside} pairs lie outside the edges; slope and correlation have them"] if outside else []
    return PairProfile(
        against=against,
        axis=AXES[against] if isinstance(activity, SpikeTrains) or against != "rate" else "geometric mean value",
        edges=sorted_.edges,
        centre=sorted_.means(x),
        pairs=sorted_.sizes,
        mean=estimate[:-2],
        low=low[:-2],
        high=high[:-2],
        null_low=null_low[:-2],
        null_high=null_high[:-2],
        floor=reach * np.sqrt(sorted_.means(upper(variance[chosen])) / np.maximum(sorted_.sizes, 1)),
        slope=Trend(*trends[0]),
        mantel=Trend(*trends[1]),
        x=x,
        r=r,
        level=level,
        facts=(
            f"{len(matrix)} units, {len(r)} pairs; {level:.0%} intervals over {resampled}; null: {permutations} "
            f"exchanges of {against} between units; floor: independent units as slow as these"
        ),
        warnings=tuple(warnings),
    )


def _complete(defined: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mask of the units whose pairs are all defined, not counting pairs with units that have none, shape `(units,)`."""
    np.fill_diagonal(defined, False)
    some = defined.any(axis=1)
    keep: NDArray[np.bool_] = some & (defined[:, some].sum(axis=1) == some.sum() - 1)
    return keep


def _distances(activity: Activity, positions: ArrayLike | None, units: int) -> NDArray[np.float64]:
    given = getattr(activity, "positions", None) if positions is None else positions
    if given is None:
        raise InvalidValue("positions: the recording has none; give one per unit, shape (units, dimensions).")
    places = np.asarray(given, dtype=np.float64)
    places = places[:, None] if places.ndim == 1 else places
    if places.ndim != 2 or len(places) != units:
        raise InvalidValue(f"positions: got shape {places.shape} for {units} units; allowed is (units, dimensions).")
    found: NDArray[np.float64] = np.sqrt(((places[:, None] - places) ** 2).sum(axis=-1))
    return found


def _rates(activity: Activity, bin: float | None, sums: Sums) -> NDArray[np.float64]:
    mean = sums.mean.cpu().numpy()
    rate = mean / bin if isinstance(activity, SpikeTrains) and bin is not None else mean
    if (rate < 0).any():
        raise InvalidValue("activity: some mean values are negative; give rates, whose geometric mean exists.")
    found: NDArray[np.float64] = np.sqrt(rate[:, None] * rate)
    return found


def _signal(
    activity: Activity, bin: float | None, over: Over
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    if not isinstance(activity, SpikeTrains | Rates):
        raise InvalidValue("activity: an array has no trials; for against='signal' give a recording with trials.")
    if over != "units":
        raise InvalidValue("over: got 'time'; against='signal' allows 'units': the conditions are not drawn from time.")
    found = signal_noise_correlation(activity, bin=bin)
    parts = residuals(activity, bin, None)
    return found.noise, found.signal, parts.get(ALL, next(iter(parts.values()))).law.variance
