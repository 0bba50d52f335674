"""Parallel analysis: number of eigenvalues above those of surrogates that share nothing in time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Unpack, final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.null import p_value, too_few
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.surrogate_makers import Made, Surrogates
from neuro_decorr.metrics.surrogates import Making
from neuro_decorr.metrics.surrogates import surrogates as choose


@final
@dataclass(frozen=True, eq=False)
class ParallelAnalysis:
    """Eigenvalues of the correlation matrix and those of surrogates; both in descending order, mean 1."""

    eigenvalues: NDArray[np.float64]  # (units,): of the data after the removals that `reason` names
    null: NDArray[np.float64]  # (surrogates, units): of the surrogates
    edge: float  # the largest eigenvalue of independent units passes it with probability 1 - level
    dimensions: int  # number of eigenvalues above the edge
    p_value: float  # for the largest eigenvalue
    kind: Made
    reason: str  # reason for this kind of surrogates, and what was removed first

    @classmethod
    def of(cls, chosen: Surrogates, drawn: Iterable[Moments], level: float = 0.95) -> ParallelAnalysis:
        """Analyse surrogates that were drawn before, at least 1 / (1 - level) - 1 of them.

        Args:
            chosen: Surrogates, which hold the moments of the data.
            drawn: Moments of the surrogates that were drawn.
            level: Probability that independent units stay below the edge.

        Returns:
            The analysis.
        """
        observed = _spectrum(chosen.observed)
        null = np.stack([_spectrum(moments) for moments in drawn])
        # If the data were one more surrogate, they would pass the edge with probability 1 - level.
        rank = math.ceil(level * (len(null) + 1) - 1e-9)
        edge = float(np.sort(null[:, 0])[rank - 1])
        above = int((observed > edge * (1 + 1e-6)).sum())
        return cls(observed, null, edge, above, p_value(float(observed[0]), null[:, 0]), chosen.kind, chosen.reason)


def parallel_analysis(
    activity: Activity,
    bin: float | None = None,
    *,
    surrogates: int = 99,
    level: float = 0.95,
    seed: int = 0,
    **making: Unpack[Making],
) -> ParallelAnalysis:
    """Count the eigenvalues of the correlation matrix that exceed those of independent units.

    The edge is a quantile of the largest eigenvalue of surrogates, which keep the autocorrelation of every unit. The
    edge of Marchenko and Pastur holds for independent samples; slow activity of independent units passes it. Every
    eigenvalue is compared with the largest eigenvalue of the surrogates, which is conservative from the second on.

    Cost: P N^2 + N^3 per surrogate, for P samples and N units.

    Source: Horn (1965), A rationale and test for the number of factors in factor analysis, Psychometrika 30,
    doi:10.1007/BF02289447, with surrogates in place of independent normal samples.

    Args:
        activity: Array, rates or spike trains; the trials of a recording that has them are used.
        bin: Width of the bins (s), for spike trains and rates.
        surrogates: Number of surrogates; at least 19, and at least 1 / (1 - level) - 1.
        level: Probability that no eigenvalue of independent units passes the edge, from 0.5 to below 1.
        seed: Seed of the surrogates, an integer from 0 on.
        **making: `kind`, `cutoff` and `reach`, as in `surrogates`.

    Returns:
        Eigenvalues of the data and of the surrogates, the edge, and the number of eigenvalues above it.

    Raises:
        InvalidValue: There are too few surrogates, or the level is outside 0.5 to 1; see also `surrogates`.
        MissingExtra: Elephant is needed and not installed; see `surrogates`.
    """
    checks.refuse("parallel_analysis", too_few(surrogates), checks.number("level", level, least=0.5, below=1))
    checks.refuse(
        "parallel_analysis",
        checks.whole_number(
            "surrogates", surrogates, least=math.ceil(1 / (1 - level) - 1 - 1e-9), hint=f"for a level of {level:g}"
        ),
    )
    chosen = choose(activity, bin, **making)
    return ParallelAnalysis.of(chosen, chosen.moments(surrogates, seed), level)


def _spectrum(moments: Moments) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.linalg.eigvalsh(moments.correlation.numpy())[::-1]
    return values
