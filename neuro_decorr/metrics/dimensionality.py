"""How many dimensions a population has, by several measures side by side, each with what independent units give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack, final

import numpy as np

from neuro_decorr import checks
from neuro_decorr.errors import require
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.null import too_few
from neuro_decorr.metrics.parallel import ParallelAnalysis
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.shared import SharedVariance, shared_variance
from neuro_decorr.metrics.surrogates import Making
from neuro_decorr.metrics.surrogates import surrogates as choose

if TYPE_CHECKING:
    import pandas as pd


@final
@dataclass(frozen=True, eq=False)
class Dimensionality:
    """Dimensions of a population, in `values`, and those of units that share nothing, in `independent`.

    - `participation_ratio`: of the covariance, private noise of every unit included;
    - `participation_ratio_correlation`: the same, units scaled to variance one;
    - `parallel_analysis`: eigenvalues of the correlation matrix above those of surrogates;
    - `factors`: latents by factor analysis, chosen on held-out time;
    - `dimensions_95`: dimensions of 95 % of the variance that these latents share;
    - `participation_ratio_shared`: effective dimensions of that variance, the private noise left out.
    """

    values: dict[str, float]
    independent: dict[str, float]
    parallel: ParallelAnalysis
    shared: SharedVariance

    def to_frame(self) -> pd.DataFrame:
        """One row a measure: the value and that of units that share nothing."""
        columns = {"value": self.values, "independent": self.independent}
        frame: pd.DataFrame = require("pandas", "recordings").DataFrame(columns)
        return frame.rename_axis("measure")


def dimensionality(
    activity: Activity,
    bin: float | None = None,
    *,
    surrogates: int = 99,
    max_factors: int = 10,
    folds: int = 5,
    seed: int = 0,
    **making: Unpack[Making],
) -> Dimensionality:
    """Measure the dimension of a population in the ways that are in use; the page "Which number to believe" compares.

    All are of the same samples, those that `surrogates` prepares: without drift, or without the response to trials.

    Cost: that of `parallel_analysis` and of `shared_variance`.

    Sources: participation ratio: Gao et al. (2017), A theory of multineuronal dimensionality, dynamics and measurement,
    doi:10.1101/214262; see also `parallel_analysis` and `shared_variance`.

    Args:
        activity: Array, rates or spike trains; the trials of a recording that has them are used.
        bin: Width of the bins (s) of recordings.
        surrogates: How many, at least 19.
        max_factors: Most factors that are tried.
        folds: Folds of the cross-validation.
        seed: Seed of the surrogates.
        **making: `kind`, `cutoff` and `reach`, as `surrogates` takes them.

    Returns:
        The measures, the parallel analysis and the factor analysis that they come from.

    Raises:
        InvalidValue: See `parallel_analysis` and `shared_variance`.
        MissingExtra: scikit-learn is not installed, or Elephant where it moves the spikes.
    """
    checks.refuse("dimensionality", too_few(surrogates))
    chosen = choose(activity, bin, **making)
    drawn = list(chosen.moments(surrogates, seed))
    parallel = ParallelAnalysis.of(chosen, drawn)
    shared = shared_variance(chosen.samples, max_factors=max_factors, folds=folds, cutoff=None)
    values = {
        **_ratios(chosen.observed),
        "parallel_analysis": parallel.dimensions,
        "factors": shared.factors,
        "dimensions_95": shared.dimensions,
        "participation_ratio_shared": shared.participation_ratio,
    }
    rows = [_ratios(moments) for moments in drawn]
    independent = {name: float(np.mean([row[name] for row in rows])) if name in rows[0] else 0.0 for name in values}
    return Dimensionality(values, independent, parallel, shared)


def _ratios(moments: Moments) -> dict[str, float]:
    squared = float(moments.correlation.square().sum())
    return {
        "participation_ratio": moments.participation_ratio(),
        "participation_ratio_correlation": moments.kept**2 / squared,
    }
