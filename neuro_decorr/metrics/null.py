"""Test of correlation against surrogates: the same units with nothing in common in time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Unpack, final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.surrogate_makers import Made, Surrogates
from neuro_decorr.metrics.surrogates import Making
from neuro_decorr.metrics.surrogates import surrogates as choose

FEWEST = 19
"""Smallest number of surrogates; fewer cannot reach p = 0.05."""


@final
@dataclass(frozen=True, eq=False)
class SurrogateNull:
    """Mean absolute correlation of the data and of every surrogate."""

    observed: float  # after the removals that `reason` names, so it may differ from that of the raw data
    surrogates: NDArray[np.float64]  # (surrogates,)
    p_value: float  # (1 + surrogates at least as correlated) / (1 + surrogates), one-sided
    kind: Made
    reason: str  # reason for this kind of surrogates, and what was removed first

    @classmethod
    def of(cls, chosen: Surrogates, drawn: Iterable[Moments]) -> SurrogateNull:
        """Build the null from surrogates that were drawn before and may serve other measures too.

        Args:
            chosen: Surrogates, which hold the moments of the data.
            drawn: Moments of the surrogates that were drawn.

        Returns:
            The null.
        """
        found = np.array([moments.pairs.mean_absolute for moments in drawn])
        observed = chosen.observed.pairs.mean_absolute
        return cls(observed, found, p_value(observed, found), chosen.kind, chosen.reason)


def surrogate_null(
    activity: Activity,
    bin: float | None = None,
    *,
    surrogates: int = 99,
    seed: int = 0,
    **making: Unpack[Making],
) -> SurrogateNull:
    r"""Test the mean absolute correlation against surrogates that keep each unit and remove what units share.

    $$p = \frac{1 + \#\{s : \overline{|r|}_s \ge \overline{|r|}\}}{1 + S}$$

    where s runs over the S surrogates. Unlike the sampling floor, the test does not assume independent samples. A
    p-value says that units correlate, not how much: report the correlation and its interval with it. Units that never
    vary are left out.

    Cost: P N^2 per surrogate, for P samples and N units.

    Source: Phipson and Smyth (2010), Permutation p-values should never be zero, doi:10.2202/1544-6115.1585.

    Args:
        activity: Array, rates or spike trains; the trials of a recording that has them are used.
        bin: Width of the bins (s), for spike trains and rates.
        surrogates: Number of surrogates, at least 19; p cannot be below 1 / (surrogates + 1).
        seed: Seed of the surrogates, an integer from 0 on.
        **making: `kind`, `cutoff` and `reach`, as in `surrogates`.

    Returns:
        The observed value, the values of the surrogates, the p-value, and the reason for these surrogates.

    Raises:
        InvalidValue: There are too few surrogates; see also `surrogates`.
        MissingExtra: Elephant is needed and not installed; see `surrogates`.
    """
    checks.refuse("surrogate_null", too_few(surrogates))
    chosen = choose(activity, bin, **making)
    return SurrogateNull.of(chosen, chosen.moments(surrogates, seed))


def p_value(observed: float, surrogates: NDArray[np.float64]) -> float:
    """Share of surrogates that reach the observed value, which counts as one of them; rounding makes no difference."""
    reached = int((surrogates >= observed - 1e-6 * abs(observed)).sum())
    return (1 + reached) / (1 + len(surrogates))


def too_few(surrogates: int) -> str | None:
    """Problem of the number of surrogates, or None."""
    return checks.whole_number("surrogates", surrogates, least=FEWEST, hint="fewer cannot reach p = 0.05")
