"""Whether units correlate more than surrogates of the same units that share nothing in time."""

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
"""Fewer surrogates cannot reach p = .05."""


@final
@dataclass(frozen=True, eq=False)
class SurrogateNull:
    """The mean absolute correlation, and that of every surrogate."""

    observed: float  # of what is compared: after removals that `reason` tells, so not that of the raw data
    surrogates: NDArray[np.float64]  # (surrogates,)
    p_value: float  # (1 + surrogates at least as correlated) / (1 + surrogates), one-sided
    kind: Made
    reason: str  # why this kind, and what was removed first

    @classmethod
    def of(cls, chosen: Surrogates, drawn: Iterable[Moments]) -> SurrogateNull:
        """The null from surrogates that were drawn already, to which other measures are compared too.

        Args:
            chosen: The surrogates.
            drawn: Their moments.
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
    r"""Mean absolute correlation against surrogates that keep each unit and break what units share.

    $$p = \frac{1 + \#\{s : \overline{|r|}_s \ge \overline{|r|}\}}{1 + S}$$

    Unlike the sampling floor it needs no independent samples. A p-value says that units correlate, not how much: report
    the correlation and its interval with it. Units that never vary are left out.

    Cost: P N^2 for each surrogate.

    Source: Phipson and Smyth (2010), Permutation p-values should never be zero, doi:10.2202/1544-6115.1585.

    Args:
        activity: Array, rates or spike trains; the trials of a recording that has them are used.
        bin: Width of the bins (s) of recordings.
        surrogates: How many, at least 19: p cannot be below 1 / (surrogates + 1).
        seed: Seed of the surrogates.
        **making: `kind`, `cutoff` and `reach`, as `surrogates` takes them.

    Returns:
        The observed value, those of the surrogates, the p-value, and why these surrogates were chosen.

    Raises:
        InvalidValue: Too few surrogates; see `surrogates`.
        MissingExtra: See there.
    """
    checks.refuse("surrogate_null", too_few(surrogates))
    chosen = choose(activity, bin, **making)
    return SurrogateNull.of(chosen, chosen.moments(surrogates, seed))


def p_value(observed: float, surrogates: NDArray[np.float64]) -> float:
    """Share of surrogates that reach the observed value, itself among them; what differs by rounding is equal."""
    reached = int((surrogates >= observed - 1e-6 * abs(observed)).sum())
    return (1 + reached) / (1 + len(surrogates))


def too_few(surrogates: int) -> str | None:
    """What is wrong with a number of surrogates, if anything is."""
    return checks.whole_number("surrogates", surrogates, least=FEWEST, hint="fewer cannot reach p = 0.05")
