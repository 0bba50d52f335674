"""Mean correlation as a function of the width of the bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.activity import as_samples
from neuro_decorr.metrics.cosines import independent
from neuro_decorr.metrics.jackknife import cells, correlations, mean_correlation_bounds, second_moments
from neuro_decorr.metrics.parameters import check_level
from neuro_decorr.metrics.residuals import upper
from neuro_decorr.recording import Rates, SpikeTrains

if TYPE_CHECKING:
    import pandas as pd

WIDTHS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Default widths of the bins (s), from the time scale of synapses to that of slow states."""
_LEAST = 64
"""Smallest number of samples at any width."""
_COLUMNS = (
    "samples", "mean", "low", "high", "null_low", "null_high", "p_value", "mean_absolute", "floor_absolute",
)  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class BinProfile:
    """Mean correlation at every width; a table by `.to_frame()`. All arrays have shape `(bins,)`."""

    bins: NDArray[np.float64]  # widths (s)
    samples: NDArray[np.int64]  # number of samples
    mean: NDArray[np.float64]  # mean correlation of all pairs
    low: NDArray[np.float64]  # lower end of its interval
    high: NDArray[np.float64]  # upper end
    null_low: NDArray[np.float64]  # the mean of independent units lies between these with probability `level`
    null_high: NDArray[np.float64]
    p_value: NDArray[np.float64]  # probability that the mean of independent units lies as far from zero, two-sided
    mean_absolute: NDArray[np.float64]  # mean magnitude of the correlations of all pairs
    floor_absolute: NDArray[np.float64]  # mean magnitude for independent units that are as slow as these
    level: float  # coverage of intervals and null
    facts: str  # number of units, duration, and the methods
    warnings: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per width."""
        columns = {"bin": self.bins} | {name: getattr(self, name) for name in _COLUMNS}
        frame: pd.DataFrame = require("pandas", "recordings").DataFrame(columns)
        return frame


def bin_profile(
    recording: SpikeTrains | Rates, bins: Sequence[float] | None = None, *, level: float = 0.95
) -> BinProfile:
    r"""Mean correlation of all pairs at several widths of the bins, which shows the time scale of the correlation.

    The covariance of counts in bins of width T integrates the cross-covariance function $c_{ij}$ over lags below T,

    $$\operatorname{Cov}(n_i, n_j) = \int_{-T}^{T} (T - |s|)\, c_{ij}(s)\, ds,$$

    so that correlations of counts rise with T until T exceeds the time scale of the shared fluctuations. If this time
    scale is shorter than the narrowest bin, the correlations do not depend on T.

    Interval: stretches of time are left out one after the other (`jackknife.mean_correlation_bounds`). Null and floor:
    independent units that are as slow as these (`cosines.Independent`); for slow units and wide bins they lie far above
    those of independent samples.

    Cost: for every width, P N^2 and a transform of each unit. Memory: the counts of one width, mostly one byte each.

    Source: Bair, Zohary and Newsome (2001), Correlated firing in macaque visual area MT: time scales and relationship
    to behavior, J. Neuroscience 21, doi:10.1523/JNEUROSCI.21-05-01676.2001.

    Args:
        recording: Spike trains or rates.
        bins: Widths (s), for rates multiples of the step. None: those of `WIDTHS` that leave 64 samples; for rates
            scaled so that the narrowest is the step.
        level: Coverage of intervals and null, between 0 and 1.

    Returns:
        Table with one row per width. Units that never vary are left out.

    Raises:
        InvalidValue: A width leaves fewer than 64 samples, or fewer than two units vary.
    """
    check_level(level)
    step = recording.step if isinstance(recording, Rates) else 0.0
    if bins is None:
        scale = step / WIDTHS[0] if isinstance(recording, Rates) else 1.0
        chosen = [width * scale for width in WIDTHS if recording.duration >= _LEAST * width * scale]
    else:
        chosen = [float(width) for width in bins]
    wide = [width for width in chosen if recording.duration < _LEAST * width * (1 - 1e-9)]
    if wide or not chosen:
        raise InvalidValue(
            f"bins: got {wide or list(chosen)} s of {recording.duration:g} s; allowed are widths that leave {_LEAST} "
            "samples."
        )
    table = [_row(recording, width, level) for width in sorted(chosen)]
    columns: dict[str, Any] = {
        name: np.array(column) for name, column in zip(_COLUMNS, zip(*table, strict=True), strict=True)
    }
    units = len(recording.units)
    return BinProfile(
        bins=np.array(sorted(chosen)),
        **columns,
        level=level,
        facts=(
            f"{units} units, {recording.duration:g} s; {level:.0%} intervals: 64 stretches of time left out in order; "
            "null and floor: independent units as slow as these"
        ),
    )


def _row(recording: SpikeTrains | Rates, bin: float, level: float) -> tuple[float, ...]:
    counted = as_samples(recording, bin)  # once, for two passes over them
    sums = cells(counted)
    whole, without = second_moments(sums)
    matrix = correlations(whole)
    keep = np.isfinite(np.diagonal(matrix))
    if keep.sum() < 2:
        raise InvalidValue(f"recording: {int(keep.sum())} units vary in bins of {bin:g} s; correlations need 2.")
    chosen = np.ix_(keep, keep)
    r = upper(matrix[chosen])
    left = np.array([upper(correlations(part)[chosen]).mean() for part in without])
    law = independent(counted)
    mean = float(r.mean())
    sizes = sums.lengths.cpu().numpy()
    low, high = mean_correlation_bounds(mean, left, int(keep.sum()), level, sizes)
    floor = float(upper(law.absolute[chosen]).mean())
    return (int(sizes.sum()), mean, low, high, *law.interval(level), law.p_value(mean), float(np.abs(r).mean()), floor)
