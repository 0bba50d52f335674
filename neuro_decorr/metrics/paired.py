"""Change of the correlation of every pair of units between two recordings or periods of the same units."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics import autocorrelation
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.autocorrelation import Memory
from neuro_decorr.metrics.fluctuations import Over, Source
from neuro_decorr.metrics.parameters import check_level
from neuro_decorr.metrics.sums import Sums


class PairedChange(NamedTuple):
    """Change of the correlations, second minus first, over pairs of units that vary in both."""

    differences: NDArray[np.float64]  # (pairs,), upper triangle of the kept units in order
    kept: NDArray[np.int64]  # positions of the units that vary in both
    mean: float  # mean of the differences
    low: float  # lower end of its interval, over time and units; NaN where the activity is too slow for an interval
    high: float  # upper end
    cohens_d: float  # mean over standard deviation of the differences
    cliffs_delta: float  # probability of a larger minus that of a smaller correlation, over all pairs of correlations


def paired_change(
    first: Activity, second: Activity, bin: float | None = None, *, over: Over = "time", level: float = 0.95
) -> PairedChange:
    r"""Paired change of all pairwise correlations, with an interval over time and units, and effect sizes.

    The error of the mean change has two sources. Time: both means depend on what happened during the recordings, such
    as a state that all units share; `autocorrelation.Memory` estimates this error for each recording, and the squares
    of the half-widths add. Units: other units might have been recorded, and pairs that share a unit are not
    independent, so units are left out, not pairs. With the mean change $\Delta_{(i)}$ without unit i the variance is
    $\frac{N - 1}{N} \sum_i (\Delta_{(i)} - \bar\Delta)^2$, minus the part that time alone adds to it, and at least
    zero. Cliff's delta is $\Pr(r_2 > r_1) - \Pr(r_2 < r_1)$, from -1 to 1, over all pairs of one correlation of each.

    Cost: P N^2 for each of the two, and 127 times 64 N^2.

    Sources: Snijders and Borgatti (1999), Non-parametric standard errors and tests for network statistics, Connections
    22; Cliff (1993), Dominance statistics, doi:10.1037/0033-2909.114.3.494.

    Args:
        first: Activity before.
        second: Activity of the same units after; the numbers of samples may differ, and with them the sampling noise.
        bin: Width of the bins (s), for spike trains and rates.
        over: `"time"` takes all of both recordings, `"trials"` their trials.
        level: Coverage of the interval, between 0 and 1.

    Returns:
        Change of each pair, its mean with the interval, and the effect sizes.

    Raises:
        InvalidValue: The numbers of units differ, fewer than three units vary in both, or there are too few samples;
            see also `summary`.
    """
    check_level(level)
    sums = [Source.of(activity, bin, over).sums() for activity in (first, second)]
    before, after = (one.moments() for one in sums)
    if before.units != after.units:
        raise InvalidValue(
            f"second: got {after.units} units, the first has {before.units}; give the same units in both."
        )
    kept = (~(before.constant | after.constant)).nonzero().flatten()
    count = len(kept)
    if count < 3:
        raise InvalidValue(f"activity: {count} units vary in both; the change of pairs needs at least 3.")
    old, new = (found.correlation[kept][:, kept].cpu() for found in (before, after))
    rows, columns = torch.triu_indices(count, count, 1)
    differences = (new - old)[rows, columns].numpy()
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    in_time = [_in_time(one, kept, level) for one in sums]
    chance = max(0.0, _over_units(new - old) - sum(part for _, part in in_time))
    stats = require("scipy.stats", "recordings")
    own = float(stats.t.ppf((1 + level) / 2, count - 1)) * math.sqrt(chance)
    half = math.hypot(own, *(width for width, _ in in_time))
    rank = stats.mannwhitneyu(new[rows, columns].numpy(), old[rows, columns].numpy())
    return PairedChange(
        differences=differences,
        kept=kept.cpu().numpy(),
        mean=mean,
        low=mean - half,
        high=mean + half,
        cohens_d=mean / deviation if deviation > 0 else math.nan,
        cliffs_delta=2 * float(rank.statistic) / len(differences) ** 2 - 1,
    )


def _in_time(sums: Sums, kept: Tensor, level: float) -> tuple[float, float]:
    """Half-width of the mean correlation over time (NaN if too slow), and the part of time in the unit variance."""
    cosines = min(autocorrelation.COSINES, sums.cells - 1)
    weights = autocorrelation.weights(sums.cells, cosines)
    first, second, units = np.zeros(cosines), np.zeros(cosines), 0.0
    pairs = len(kept) * (len(kept) - 1)
    middle = sums.moments().correlation[kept][:, kept]
    for j in range(cosines):
        up, down = (one.correlation[kept][:, kept] for one in sums.weighted(weights[[1 + j, 1 + cosines + j]]))
        slope, curvature = autocorrelation.differences(up, down, middle)
        first[j], second[j] = float(slope.sum()) / pairs, float(curvature.sum()) / pairs  # the diagonals cancel
        units += _over_units(slope) / cosines
    memory = Memory.of(first).slower(Memory.of(sums.mean_activity(weights[1 : 1 + cosines] - 1)))
    return (math.nan if memory.too_slow else memory.half_width(first, second, level)), units


def _over_units(change: Tensor) -> float:
    """Variance of the mean over pairs, from leaving out every unit in turn."""
    count = len(change)
    off = change - torch.diag(change.diagonal())
    without = (off.sum() - 2 * off.sum(dim=1)) / ((count - 1) * (count - 2))
    return (count - 1) ** 2 / count * float(without.var())
