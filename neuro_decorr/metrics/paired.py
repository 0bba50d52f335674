"""How the correlation of every pair of units changed between two recordings or periods of the same units."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics import bootstrap
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.sums import moments


class PairedChange(NamedTuple):
    """Change of the correlations, second minus first, over pairs of units that vary in both."""

    differences: NDArray[np.float64]  # (pairs,), upper triangle of the kept units in order
    kept: NDArray[np.int64]  # positions of the units that vary in both
    mean: float
    low: float  # of the mean, over resamplings of the units
    high: float
    cohens_d: float  # mean over standard deviation of the differences
    cliffs_delta: float  # chance that a correlation rose, less that it fell, over all pairs of correlations


def paired_change(
    first: Activity,
    second: Activity,
    bin: float | None = None,
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedChange:
    r"""Paired change of all pairwise correlations, with an interval over units and effect sizes.

    Pairs that share a unit are not independent, so the interval draws units again, not pairs: with $w_i$ draws of
    unit i the mean is $\sum_{i \ne j} w_i w_j \Delta_{ij} / \sum_{i \ne j} w_i w_j$. It says how the change
    holds over units; how it holds over time is in the intervals of `summary`. Cliff's delta is
    $\Pr(r_2 > r_1) - \Pr(r_2 < r_1)$, from -1 to 1, over all pairs of one correlation of each.

    Cost: P N^2 of both, and N^2 for every resampling.

    Sources: Snijders and Borgatti (1999), Non-parametric standard errors and tests for network statistics, Connections
    22; Cliff (1993), Dominance statistics, doi:10.1037/0033-2909.114.3.494.

    Args:
        first: Activity before.
        second: Activity of the same units after; the numbers of samples may differ, and with them the sampling noise.
        bin: Width of the bins (s) of spike trains and rates.
        replicates: Resamplings of the units.
        level: Coverage of the interval.
        seed: Seed of the resampling.

    Returns:
        The change.

    Raises:
        InvalidValue: Different numbers of units, or fewer than three that vary in both; see `moments`.
    """
    bootstrap.check_level(level)
    if replicates < 2:
        raise InvalidValue(f"replicates: got {replicates}; allowed are 2 and more, such as 1000.")
    before, after = moments(first, bin), moments(second, bin)
    if before.units != after.units:
        raise InvalidValue(f"second: got {after.units} units, the first has {before.units}; compare the same units.")
    kept = (~(before.constant | after.constant)).nonzero().flatten()
    count = len(kept)
    if count < 3:
        raise InvalidValue(f"activity: {count} units vary in both; the change of pairs needs at least 3.")
    old, new = (found.correlation[kept][:, kept].cpu() for found in (before, after))
    change = new - old
    change.fill_diagonal_(0.0)
    rows, columns = torch.triu_indices(count, count, 1)
    differences = change[rows, columns].numpy()
    source = bootstrap.generator(seed)
    drawn = torch.from_numpy(source.multinomial(count, np.full(count, 1 / count), size=replicates)).double()
    number = drawn.sum(dim=1).square() - drawn.square().sum(dim=1)  # zero where one unit alone was drawn
    means = ((drawn @ change) * drawn).sum(dim=1)[number > 0] / number[number > 0]
    low, high = np.quantile(means.numpy(), [(1 - level) / 2, (1 + level) / 2])
    deviation = float(differences.std(ddof=1))
    rank = require("scipy.stats", "recordings").mannwhitneyu(new[rows, columns].numpy(), old[rows, columns].numpy())
    return PairedChange(
        differences=differences,
        kept=kept.cpu().numpy(),
        mean=float(differences.mean()),
        low=float(low),
        high=float(high),
        cohens_d=float(differences.mean()) / deviation if deviation > 0 else math.nan,
        cliffs_delta=2 * float(rank.statistic) / len(differences) ** 2 - 1,
    )
