"""Dimensionality of a population by several measures, each with its value for independent units."""

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
    """Dimensions of a population in `values`, and of independent units in `independent`.

    - `participation_ratio`: participation ratio of the covariance, which includes the private noise of every unit;
    - `participation_ratio_correlation`: the same for units scaled to variance one;
    - `parallel_analysis`: number of eigenvalues of the correlation matrix above those of surrogates;
    - `factors`: number of latent variables by factor analysis, chosen on held-out time;
    - `dimensions_95`: number of dimensions with 95 % of the shared variance of these latent variables;
    - `participation_ratio_shared`: participation ratio of the shared covariance, without private noise.
    """

    values: dict[str, float]
    independent: dict[str, float]
    parallel: ParallelAnalysis
    shared: SharedVariance

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per measure: the value, and that of independent units."""
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
    """Measure the dimensionality of a population by the measures in use; see the page "Which number to believe".

    All measures take the same samples, which `surrogates` prepares: without drift, or without the response to trials.

    Cost: that of `parallel_analysis` and of `shared_variance`.

    Sources: participation ratio: Gao et al. (2017), A theory of multineuronal dimensionality, dynamics and measurement,
    doi:10.1101/214262; see also `parallel_analysis` and `shared_variance`.

    Args:
        activity: Array, rates or spike trains; the trials of a recording are used if it has any.
        bin: Width of the bins (s) of recordings.
        surrogates: Number of surrogates, at least 19.
        max_factors: Largest number of factors to try.
        folds: Number of folds of the cross-validation.
        seed: Seed of the surrogates.
        **making: Options `kind`, `cutoff` and `reach` of `surrogates`.

    Returns:
        The measures, the parallel analysis and the factor analysis.

    Raises:
        InvalidValue: See `parallel_analysis` and `shared_variance`.
        MissingExtra: scikit-learn is not installed, or Elephant for surrogates that move spikes.
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
