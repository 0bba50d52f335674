"""Intervals by leaving out one stretch of time, or one trial, after the other; neighbours may depend on each other.

`autocorrelation.Memory` reads the same cosines, finds how slow the data are and withholds where they are too slow; it
takes one measure at a time, weighted up and down under each of 63 cosines, and 20 samples. Here the degrees of freedom
follow from the number of stretches alone: for all units or groups of pairs at once, and from ten trials on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr.errors import require
from neuro_decorr.metrics import trends
from neuro_decorr.metrics.activity import Activity, as_stream
from neuro_decorr.metrics.autocorrelation import CELLS
from neuro_decorr.metrics.scales import scales
from neuro_decorr.metrics.sums import Sums, accumulate

FEWEST = 10
"""Fewer stretches or trials give no interval."""


class Spread(NamedTuple):
    """Standard error of estimates, and its degrees of freedom."""

    error: NDArray[np.float64]
    freedom: int


def spread(
    estimate: NDArray[np.float64], without: NDArray[np.float64], sizes: NDArray[np.float64] | None = None
) -> Spread:
    r"""Standard error of statistics from their values without each of n stretches of time.

    With $u_k = -n\,(1 - w_k)(\hat\theta_{(k)} - \hat\theta)$, the share w of the stretch in all samples, the long-run
    variance of u comes from its slowest cosines,

    $$
    \Lambda_m = \sqrt{\tfrac2n} \sum_k u_k \cos\frac{\pi m (k - \frac12)}{n}, \qquad
    s^2 = \frac{1}{n \nu} \sum_{m=1}^{\nu} \Lambda_m^2, \qquad \nu = \max(4, 0.4\, n^{2/3})
    $$

    and $(\hat\theta - \theta) / s$ follows Student's t with $\nu$ degrees of freedom although neighbours depend on each
    other, as long as the dependence is short against the recording.

    Sources: Lazarus, Lewis, Stock and Watson (2018), HAR inference: recommendations for practice, J. Business and
    Economic Statistics 36, doi:10.1080/07350015.2018.1506926; Kuensch (1989), The jackknife and the bootstrap for
    general stationary observations, Ann. Statist. 17, doi:10.1214/aos/1176347265.

    Args:
        estimate: Statistics of all samples, any shape.
        without: The same without each stretch, in the order of time, shape `(stretches, ...)`.
        sizes: Samples of each stretch; all alike when None.

    Returns:
        The standard errors; NaN with fewer than ten stretches.
    """
    count = len(without)
    share = np.full(count, 1 / count) if sizes is None else sizes / sizes.sum()
    if count < FEWEST:
        return Spread(np.full(np.shape(estimate), np.nan), 1)
    freedom = max(4, round(0.4 * count ** (2 / 3)))
    weights = (1 - share).reshape(-1, *[1] * np.ndim(estimate))
    moved = -count * weights * (without - estimate)
    found = np.tensordot(trends.cosines(count, freedom).T, moved, axes=1)
    return Spread(np.sqrt((found**2).mean(axis=0) / count), freedom)


def bounds(
    estimate: NDArray[np.float64], found: Spread, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both ends of the interval by Student's t.

    Args:
        estimate: Statistics.
        found: Their standard errors.
        level: Coverage.

    Returns:
        Low and high, of the shape of the statistics.
    """
    reach = float(require("scipy.stats", "recordings").t.ppf((1 + level) / 2, found.freedom)) * found.error
    return estimate - reach, estimate + reach


def mean_correlation_bounds(
    mean: float, without: NDArray[np.float64], units: int, level: float, sizes: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """Interval of a mean correlation, on the scale where its variance hardly depends on it (`scales.scales`).

    Args:
        mean: Mean correlation of all pairs of N units.
        without: The same without each stretch, in the order of time.
        units: How many units.
        level: Coverage.
        sizes: Samples of each stretch; all alike when None.

    Returns:
        Low and high; NaN with fewer than ten stretches.
    """
    both = np.clip(np.append(without, mean), -1 / (units - 1) + 1e-12, 1 - 1e-12)  # identical units have no scale
    (scale,) = scales("mean_correlation", units)
    scaled = scale.forward(both)
    low, high = bounds(scaled[-1:], spread(scaled[-1:], scaled[:-1, None], sizes), level)
    return scale.backward(float(low[0])), scale.backward(float(high[0]))


def cells(activity: Activity, bin: float | None = None) -> Sums:
    """Sums of an activity over stretches of time, `CELLS` where there are two samples for each.

    Args:
        activity: Array or recording.
        bin: Width of the bins (s).

    Returns:
        The sums.

    Raises:
        InvalidValue: See `moments`.
    """
    stream = as_stream(activity, bin)
    return accumulate(stream, min(CELLS, stream.samples // 2))


def second_moments(sums: Sums) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariance of all samples, and that without each stretch.

    Args:
        sums: Sums over the stretches.

    Returns:
        Covariances, shapes `(units, units)` and `(stretches, units, units)`: 8 bytes for each stretch and pair.
    """
    keep = torch.ones(sums.cells + 1, sums.cells, dtype=torch.float64)
    keep[1:].fill_diagonal_(0.0)
    found = torch.stack([part.covariance for part in sums.weighted(keep)]).cpu().numpy()
    return found[0], found[1:]


def correlations(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of covariances, shape `(..., units, units)`; NaN for units that do not vary."""
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    # Rounding of the difference of sums is some 1e-16 of them; a unit that varies at all is far above.
    scale = 1 / np.sqrt(np.where(variance > 1e-12 * np.nanmax(variance, initial=0.0), variance, np.nan))
    found: NDArray[np.float64] = covariance * scale[..., None] * scale[..., None, :]
    return found
