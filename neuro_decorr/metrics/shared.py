"""Covariance from few samples, and the variance that units share: shrinkage and factor analysis by scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, final, get_args

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.samples import Samples
from neuro_decorr.metrics.sums import moments

Estimator: TypeAlias = Literal["ledoit_wolf", "oracle_approximating"]
"""How much to shrink: Ledoit and Wolf (2004), or the oracle approximating shrinkage of Chen et al. (2010)."""


class Shrunk(NamedTuple):
    """A covariance drawn towards a multiple of the identity."""

    covariance: NDArray[np.float64]  # (units, units)
    shrinkage: float  # 0: the sample covariance, 1: a multiple of the identity


@final
@dataclass(frozen=True, eq=False)
class SharedVariance:
    """What factor analysis says of a population."""

    percent: NDArray[np.float64]  # (units,): of each unit's variance, shared with others; NaN for silent units
    dimensions: int  # factors that explain 95 % of the shared variance
    factors: int  # factors that held-out samples chose
    loading_similarity: float  # of the leading shared dimension: 1 all units alike, 0 as unlike as can be

    @property
    def mean_percent(self) -> float:
        """Mean over the units that vary."""
        return float(np.nanmean(self.percent))


def shrinkage_covariance(samples: Samples, estimator: Estimator = "ledoit_wolf") -> Shrunk:
    r"""Covariance for few samples, $(1 - \rho)\, \hat C + \rho\, \frac{\operatorname{tr} \hat C}{N} I$.

    Well conditioned where the sample covariance is singular. Wraps scikit-learn; divides by P as it does.

    Sources: Ledoit and Wolf (2004), J. Multivariate Analysis 88, doi:10.1016/S0047-259X(03)00096-4; Chen, Wiesel, Eldar
    and Hero (2010), Shrinkage algorithms for MMSE covariance estimation, IEEE Trans. Signal Processing 58,
    doi:10.1109/TSP.2010.2053029.

    Args:
        samples: Activity, shape `(samples, units)`.
        estimator: `"ledoit_wolf"` or `"oracle_approximating"`.

    Returns:
        Covariance and shrinkage.

    Raises:
        InvalidValue: An unknown estimator, or see `moments`.
        MissingExtra: scikit-learn is not installed.
    """
    checks.refuse("shrinkage_covariance", checks.word("estimator", estimator, get_args(Estimator)))
    covariance = require("sklearn.covariance", "recordings")
    kind = covariance.LedoitWolf if estimator == "ledoit_wolf" else covariance.OAS
    fitted = kind().fit(_varying(samples, "nan")[0])
    return Shrunk(np.asarray(fitted.covariance_), float(fitted.shrinkage_))


def shared_variance(samples: Samples, max_factors: int = 10, folds: int = 5, seed: int = 0) -> SharedVariance:
    r"""Percent shared variance, dimensionality and loading similarity by factor analysis.

    $$
    x = \mu + L f + \epsilon, \quad f \sim N(0, I),\; \epsilon \sim N(0, \operatorname{diag} \psi); \qquad
    \%sv_i = 100\, \frac{(L L^T)_{ii}}{(L L^T)_{ii} + \psi_i}
    $$

    The number of factors is the one with the highest likelihood of held-out samples. The loading similarity of the
    leading eigenvector u of L L^T is $1 - N \operatorname{Var}(u)$.

    Source: Umakantha et al. (2021), Bridging neuronal correlations and dimensionality reduction, Neuron 109,
    doi:10.1016/j.neuron.2021.06.028. Wraps scikit-learn's FactorAnalysis.

    Args:
        samples: Activity, shape `(samples, units)`; units that never vary are left out.
        max_factors: Most factors that are tried; fewer where there are fewer units.
        folds: Folds of the cross-validation, at least 2.
        seed: Seed of the folds and of the fit.

    Returns:
        The measures; no shared variance where no factor is chosen.

    Raises:
        InvalidValue: Fewer than two units that vary, fewer samples than twice the folds, or numbers out of range.
        MissingExtra: scikit-learn is not installed.
    """
    x, varying = _varying(samples, "drop")
    if max_factors < 1 or folds < 2:
        raise InvalidValue(f"max_factors, folds: got {max_factors}, {folds}; at least 1 and 2 are needed.")
    if x.shape[1] < 2 or len(x) < 2 * folds:
        raise InvalidValue(
            f"samples: got {len(x)} samples of {x.shape[1]} units that vary; at least {2 * folds} of 2 are needed."
        )
    decomposition = require("sklearn.decomposition", "recordings")
    selection = require("sklearn.model_selection", "recordings")
    x = x / x.std(axis=0)  # percent of a unit's own variance, whatever its scale
    splits = selection.KFold(folds, shuffle=True, random_state=seed)
    scores = [_independent_score(x, splits)]
    for number in range(1, min(max_factors, x.shape[1] - 1) + 1):
        analysis = decomposition.FactorAnalysis(number, random_state=seed, tol=1e-3, max_iter=5_000)
        scores.append(float(selection.cross_val_score(analysis, x, cv=splits).mean()))
    factors = int(np.argmax(scores))
    percent = np.full(len(varying), np.nan)
    if factors == 0:
        percent[varying] = 0.0
        return SharedVariance(percent, 0, 0, float("nan"))
    fitted = decomposition.FactorAnalysis(factors, random_state=seed, tol=1e-3, max_iter=5_000).fit(x)
    shared = fitted.components_.T @ fitted.components_
    percent[varying] = 100 * shared.diagonal() / (shared.diagonal() + fitted.noise_variance_)
    values, vectors = np.linalg.eigh(shared)
    explained = np.cumsum(values[::-1]) / values.sum()
    similarity = 1 - x.shape[1] * float(np.var(vectors[:, -1]))
    return SharedVariance(percent, int(np.searchsorted(explained, 0.95) + 1), factors, similarity)


def _independent_score(x: NDArray[np.float64], splits: object) -> float:
    """Mean log-likelihood a held-out sample of units that share nothing."""
    scores = []
    for training, held in splits.split(x):  # type: ignore[attr-defined]  # of scikit-learn, which has no types
        mean, variance = x[training].mean(axis=0), x[training].var(axis=0)
        square = np.square(x[held] - mean) / variance
        scores.append(float(-0.5 * (square + np.log(2 * np.pi * variance)).sum(axis=1).mean()))
    return float(np.mean(scores))


def _varying(samples: Samples, silent: Literal["nan", "drop"]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The samples in float64, checked, and which units vary; the others are left out under `"drop"`."""
    constant = moments(samples).constant.cpu().numpy()
    values = samples.detach().cpu().numpy() if not isinstance(samples, np.ndarray) else samples
    x = np.asarray(values, dtype=np.float64)
    return (x[:, ~constant] if silent == "drop" else x), ~constant
