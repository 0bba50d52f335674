"""Intervals by leaving out one stretch of time, or one trial, after the other; neighbours may depend on each other.

`autocorrelation.Memory` reads the same cosines, finds how slow the data are and withholds intervals where they are too
slow; it needs 20 samples and treats one measure at a time, weighted up and down under each of 63 cosines. In this
module the degrees of freedom follow from the number of stretches alone, which serves all units or groups of pairs at
once and needs ten trials only.
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
"""Smallest number of stretches or trials that gives an interval."""


class Spread(NamedTuple):
    """Standard error of estimates, and its degrees of freedom."""

    error: NDArray[np.float64]
    freedom: int


def spread(
    estimate: NDArray[np.float64], without: NDArray[np.float64], sizes: NDArray[np.float64] | None = None
) -> Spread:
    r"""Standard error of statistics from their values without each of n stretches of time.

    With $u_k = -n\,(1 - w_k)(\hat\theta_{(k)} - \hat\theta)$, where $w_k$ is the share of the stretch in all samples,
    the long-run variance of u comes from its slowest cosines,

    $$
    \Lambda_m = \sqrt{\tfrac2n} \sum_k u_k \cos\frac{\pi m (k - \frac12)}{n}, \qquad
    s^2 = \frac{1}{n \nu} \sum_{m=1}^{\nu} \Lambda_m^2, \qquad \nu = \max(4, 0.4\, n^{2/3})
    $$

    and $(\hat\theta - \theta) / s$ follows Student's t with $\nu$ degrees of freedom. This holds although neighbours
    depend on each other, as long as the dependence is short compared with the recording.

    Cost: linear in the stretches and in the statistics, times $\nu$.

    Sources: Lazarus, Lewis, Stock and Watson (2018), HAR inference: recommendations for practice, J. Business and
    Economic Statistics 36, doi:10.1080/07350015.2018.1506926; Kuensch (1989), The jackknife and the bootstrap for
    general stationary observations, Ann. Statist. 17, doi:10.1214/aos/1176347265.

    Args:
        estimate: Statistics of all samples, any shape.
        without: The same statistics without each stretch, in the order of time, shape `(stretches, ...)`.
        sizes: Number of samples of each stretch; None: all alike.

    Returns:
        Standard errors and their degrees of freedom; the errors are NaN with fewer than ten stretches.
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
    """Ends of the interval by Student's t.

    Args:
        estimate: Statistics.
        found: Their standard errors.
        level: Coverage, between 0 and 1.

    Returns:
        Lower and upper ends, of the shape of the statistics.
    """
    reach = float(require("scipy.stats", "recordings").t.ppf((1 + level) / 2, found.freedom)) * found.error
    return estimate - reach, estimate + reach


def mean_correlation_bounds(
    mean: float, without: NDArray[np.float64], units: int, level: float, sizes: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """Interval of a mean correlation, on the scale where its variance hardly depends on it (`scales.scales`).

    Args:
        mean: Mean correlation of all pairs of N units.
        without: The mean correlation without each stretch, in the order of time, shape `(stretches,)`.
        units: Number of units, N.
        level: Coverage, between 0 and 1.
        sizes: Number of samples of each stretch; None: all alike.

    Returns:
        Lower and upper end; NaN with fewer than ten stretches.
    """
    both = np.clip(np.append(without, mean), -1 / (units - 1) + 1e-12, 1 - 1e-12)  # identical units have no scale
    (scale,) = scales("mean_correlation", units)
    scaled = scale.forward(both)
    low, high = bounds(scaled[-1:], spread(scaled[-1:], scaled[:-1, None], sizes), level)
    return scale.backward(float(low[0])), scale.backward(float(high[0]))


def cells(activity: Activity, bin: float | None = None) -> Sums:
    """Sums of an activity over `CELLS` stretches of time, or over fewer so that each has two samples.

    Args:
        activity: Array or recording.
        bin: Width of the bins (s), for spike trains and rates.

    Returns:
        Sums, one entry per stretch.

    Raises:
        InvalidValue: See `moments`.
    """
    stream = as_stream(activity, bin)
    return accumulate(stream, min(CELLS, stream.samples // 2))


def second_moments(sums: Sums) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariance of all samples, and covariance without each stretch.

    Args:
        sums: Sums over the stretches.

    Returns:
        Covariances, shapes `(units, units)` and `(stretches, units, units)`: 8 bytes per stretch and entry.
    """
    keep = torch.ones(sums.cells + 1, sums.cells, dtype=torch.float64)
    keep[1:].fill_diagonal_(0.0)
    found = torch.stack([part.covariance for part in sums.weighted(keep)]).cpu().numpy()
    return found[0], found[1:]


def correlations(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlations from covariances, shape `(..., units, units)`; NaN for units that do not vary."""
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    # The difference of sums is rounded at about 1e-16 of them; the variance of a unit that varies lies far above.
    scale = 1 / np.sqrt(np.where(variance > 1e-12 * np.nanmax(variance, initial=0.0), variance, np.nan))
    found: NDArray[np.float64] = covariance * scale[..., None] * scale[..., None, :]
    return found
