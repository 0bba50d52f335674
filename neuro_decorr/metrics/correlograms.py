"""Cross-correlogram of a pair of units, compared with spikes that are jittered within short intervals of time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.parameters import check_level, generator
from neuro_decorr.recording import SpikeTrains
from neuro_decorr.recording.binning import SLACK, indices, whole_bins

if TYPE_CHECKING:
    import pandas as pd

_BATCH = 16
"""Number of surrogates that are counted at once."""


@final
@dataclass(frozen=True, eq=False)
class PairCorrelogram:
    """Counts of a pair at every lag, with the bands of jittered spikes; a table by `.to_frame()`."""

    first: str
    second: str
    lags: NDArray[np.float64]  # (lags,): s, positive if the second unit fires after the first
    counts: NDArray[np.int64]  # (lags,): pairs of spikes
    expected: NDArray[np.float64]  # (lags,): mean over all ways to jitter
    low: NDArray[np.float64]  # (lags,): pointwise band, one lag at a time
    high: NDArray[np.float64]
    simultaneous_low: NDArray[np.float64]  # (lags,): simultaneous band, all lags together
    simultaneous_high: NDArray[np.float64]
    p_value: float  # probability that jittered spikes deviate as far from their expectation at any lag
    rate: NDArray[np.float64]  # (lags,): counts as rate of the second unit around spikes of the first (Hz)
    level: float
    facts: str
    warnings: tuple[str, ...]

    @property
    def excess(self) -> NDArray[np.float64]:
        """Counts less the expected counts, shape `(lags,)`."""
        return self.counts - self.expected

    @property
    def significant(self) -> NDArray[np.bool_]:
        """True at lags whose counts are outside the simultaneous band, shape `(lags,)`."""
        found: NDArray[np.bool_] = (self.counts < self.simultaneous_low) | (self.counts > self.simultaneous_high)
        return found

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per lag."""
        names = ("counts", "expected", "low", "high", "simultaneous_low", "simultaneous_high", "rate", "significant")
        pandas = require("pandas", "recordings")
        frame: pd.DataFrame = pandas.DataFrame({"lag": self.lags} | {name: getattr(self, name) for name in names})
        return frame


def pair_correlogram(
    trains: SpikeTrains,
    first: object,
    second: object,
    *,
    bin: float = 0.001,
    max_lag: float = 0.05,
    jitter: float = 0.01,
    surrogates: int = 999,
    level: float = 0.95,
    seed: int = 0,
) -> PairCorrelogram:
    r"""Count pairs of spikes at every lag, with bands for the hypothesis that timing finer than the jitter is chance.

    Time is cut into intervals of `jitter`. Every spike of the second unit is drawn anew, uniformly over the bins of its
    own interval and independently of all others: this keeps slow and shared rates and removes precise timing. With the
    counts a of the first unit in bins, J bins per interval and n spikes of the second unit in interval w,

    $$
    \mu_k = \sum_w n_w \bar a_{wk}, \qquad
    \sigma_k^2 = \sum_w n_w \Bigl( \frac1J \sum_{t \in w} a_{t-k}^2 - \bar a_{wk}^2 \Bigr), \qquad
    \bar a_{wk} = \frac1J \sum_{t \in w} a_{t-k}
    $$

    are the mean and the variance at lag k over all possible jitters. The pointwise band has the quantiles of the
    surrogates at each lag; among many lags some exceed it by chance. The simultaneous band is $\mu \pm c\, \sigma$ with
    c the quantile of $\max_k |x_k - \mu_k| / \sigma_k$ over surrogates and data: counts exceed it at any lag with
    probability 1 - level.

    Cost: for every surrogate, linear in the spikes of the second unit; J times the pairs within the largest lag.

    Source: Amarasingham, Harrison, Hatsopoulos and Geman (2012), Conditional modeling and the jitter method of spike
    resampling, J. Neurophysiology 107, doi:10.1152/jn.00633.2011.

    Args:
        trains: Spike trains.
        first: Label of the unit whose spikes are not jittered.
        second: Label of another unit, whose spikes are jittered.
        bin: Width of the bins of time and of lags (s).
        max_lag: Largest lag (s), a whole number of bins.
        jitter: Length of the intervals (s), two or more bins; the test is for timing finer than this.
        surrogates: Number of surrogates.
        level: Coverage of the bands.
        seed: Seed of the surrogates.

    Returns:
        Counts, bands and p-value. Spikes of the second unit in intervals that a gap or the end cuts are left out.

    Raises:
        UnknownName: No unit has one of the labels.
        InvalidValue: The two labels are the same, or a parameter is out of range.
        MissingExtra: SciPy is not installed.
    """
    check_level(level)
    pair = trains.select([first, second])
    steps, longest = _whole("jitter", jitter, bin, 2), _whole("max_lag", max_lag, bin, 1)
    least = round(2 / (1 - level)) - 1
    checks.refuse("pair_correlogram", checks.whole_number("surrogates", surrogates, least=least))
    source = generator(seed)
    stays, moves = (indices(unit, trains.start, bin) for unit in pair.times)
    inside = _in_whole_intervals(trains, moves, bin, steps)
    left_out = int((~inside).sum())
    moves = moves[inside]
    which, window = np.unique(moves // steps, return_inverse=True)
    table = _table(stays, which, steps, longest)  # (lags, windows * steps): counts that a spike there adds
    size = len(which) * steps
    counts = table @ np.bincount(window * steps + moves % steps, minlength=size)
    number = np.bincount(window, minlength=len(which)).astype(float)
    expected, deviation = _moments(table, number, steps)
    drawn = np.vstack(
        [
            _drawn(table, window * steps + source.integers(0, steps, (min(_BATCH, surrogates - start), len(window))))
            for start in range(0, surrogates, _BATCH)
        ]
    )
    scale = np.where(deviation > 0, deviation, np.inf)
    reach, p_value = _farthest((counts - expected) / scale, (drawn - expected) / scale, level)
    return PairCorrelogram(
        first=pair.units[0],
        second=pair.units[1],
        lags=np.arange(-longest, longest + 1, dtype=np.float64) * bin,
        counts=counts.astype(np.int64),
        expected=expected,
        low=np.quantile(drawn, (1 - level) / 2, axis=0, method="lower"),
        high=np.quantile(drawn, (1 + level) / 2, axis=0, method="higher"),
        simultaneous_low=np.maximum(expected - reach * deviation, 0.0),
        simultaneous_high=expected + reach * deviation,
        p_value=p_value,
        rate=counts / (max(len(stays), 1) * bin),
        level=level,
        facts=(
            f"{len(stays)} spikes of {pair.units[0]!r}, {len(moves)} of {pair.units[1]!r}; bins of {1e3 * bin:g} ms; "
            f"{level:.0%} bands of {surrogates} surrogates, jittered within intervals of {1e3 * jitter:g} ms"
        ),
        warnings=(f"{left_out} spikes of {pair.units[1]!r} lie in cut intervals: left out",) if left_out else (),
    )


def _in_whole_intervals(trains: SpikeTrains, spikes: NDArray[np.int64], bin: float, steps: int) -> NDArray[np.bool_]:
    """Find the spikes, given by their bins, in intervals of `steps` bins that neither a gap nor the end cuts."""
    windows = whole_bins(trains.stop - trains.start, bin) // steps
    if windows < 1:
        raise InvalidValue(f"jitter: got {steps * bin:g} s, longer than the recording; choose a shorter one.")
    usable = np.ones(windows, dtype=bool)
    for low, high in trains.gaps:
        begin, end = ((edge - trains.start) / (steps * bin) for edge in (low, high))
        usable[math.floor(begin + SLACK) : math.ceil(end - SLACK)] = False
    inside: NDArray[np.bool_] = (spikes < windows * steps) & usable[np.minimum(spikes // steps, windows - 1)]
    return inside


def _farthest(observed: NDArray[np.float64], drawn: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Half-width of the simultaneous band, in standard deviations, and the p-value of the observed counts."""
    farthest, own = np.abs(drawn).max(axis=1), float(np.abs(observed).max())
    count = 1 + len(drawn)
    # The largest value below the upper share 1 - level: counts exceed the band if and only if p is at most 1 - level.
    reach = float(np.sort(np.append(farthest, own))[len(drawn) - int((1 - level) * count + 1e-9)])
    return reach, (1 + int((farthest >= own - 1e-9).sum())) / count


def _table(stays: NDArray[np.int64], which: NDArray[np.int64], steps: int, longest: int) -> Any:
    """Sparse matrix (lags, windows * steps): spikes of the first unit at each lag before each bin of each window."""
    sparse = require("scipy.sparse", "recordings")
    first = which * steps
    low = np.searchsorted(stays, first - longest)
    number = np.searchsorted(stays, first + steps - 1 + longest, side="right") - low
    window = np.repeat(np.arange(len(which)), number)
    begins = np.cumsum(number) - number
    spikes = stays[np.arange(number.sum()) - np.repeat(begins - low, number)]
    lag = (first[window] - spikes)[:, None] + np.arange(steps)  # of a spike in each bin of the window
    column = window[:, None] * steps + np.arange(steps)
    inside = np.abs(lag) <= longest
    entries = np.ones(int(inside.sum()))
    shape = 2 * longest + 1, len(which) * steps
    return sparse.csc_array((entries, (lag[inside] + longest, column[inside])), shape=shape)


def _drawn(table: Any, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts at each lag, shape (surrogates, lags), of spikes at given columns of the table, one row per surrogate."""
    lags = table.shape[0]
    begin, end = table.indptr[places].astype(np.int64), table.indptr[places + 1]
    number = (end - begin).ravel()
    before = np.cumsum(number) - number
    entry = np.arange(number.sum()) + np.repeat(begin.ravel() - before, number)
    row = np.repeat(np.repeat(np.arange(len(places)) * lags, places.shape[1]), number)
    found = np.bincount(row + table.indices[entry], weights=table.data[entry], minlength=len(places) * lags)
    return found.reshape(len(places), lags).astype(np.float64)


def _moments(table: Any, number: NDArray[np.float64], steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation at each lag over all possible jitters."""
    weight = np.repeat(number / steps, steps)
    average = require("scipy.sparse", "recordings").csc_array(
        (np.full(len(weight), 1 / steps), (np.arange(len(weight)), np.arange(len(weight)) // steps)),
        shape=(len(weight), len(number)),
    )
    means = table @ average  # (lags, windows)
    variance = table.power(2) @ weight - means.power(2) @ number
    return table @ weight, np.sqrt(np.maximum(variance, 0.0))  # only rounding makes it negative


def _whole(name: str, value: float, bin: float, least: int) -> int:
    checks.refuse("pair_correlogram", checks.number("bin", bin, above=0), checks.number(name, value, above=0))
    steps = round(value / bin)
    if steps < least or abs(value / bin - steps) > 1e-6 * steps:
        raise InvalidValue(f"{name}: got {value:g} s; allowed are {least} and more whole bins of {bin:g} s.")
    return steps
