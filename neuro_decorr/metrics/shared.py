"""Covariance from few samples, and the variance that units share: shrinkage and factor analysis by scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, final, get_args

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.samples import Samples
from neuro_decorr.metrics.sums import moments
from neuro_decorr.metrics.trends import Array, Cutoff, components, degrees_left, drift, sampled, tenth, without

Estimator: TypeAlias = Literal["ledoit_wolf", "oracle_approximating"]
"""Rule for the shrinkage: Ledoit and Wolf (2004), or the oracle approximating shrinkage of Chen et al. (2010)."""

_COMPARED, _CONVERGED = 1e-5, 1e-8
"""Gain in log-likelihood per sample below which a fit has converged: for fits to compare, and for the chosen fit."""


class Shrunk(NamedTuple):
    """Covariance shrunk towards a multiple of the identity."""

    covariance: NDArray[np.float64]  # (units, units)
    shrinkage: float  # 0: the sample covariance, 1: a multiple of the identity


@final
@dataclass(frozen=True, eq=False)
class SharedVariance:
    """Shared variance of a population, by factor analysis."""

    percent: NDArray[np.float64]  # (units,): share of each unit's variance that others share; NaN for silent units
    dimensions: int  # number of dimensions that explain 95 % of the shared variance
    factors: int  # number of factors chosen by held-out samples
    loading_similarity: float  # of the leading shared dimension: 1 for equal loadings, 0 for the least similar ones
    participation_ratio: float  # of the shared covariance, its effective number of dimensions; 0 without any
    scores: NDArray[np.float64]  # (folds, factors tried + 1): log-likelihood per held-out sample for 0, 1, ... factors
    gap: int  # number of samples left out on both sides of a fold
    cutoff: float | None  # slower fluctuations (s; samples of an array) were removed first; None: nothing was removed

    @property
    def mean_percent(self) -> float:
        """Percent shared variance, mean over the units that vary."""
        return float(np.nanmean(self.percent))


def shrinkage_covariance(samples: Samples, estimator: Estimator = "ledoit_wolf") -> Shrunk:
    r"""Shrunk covariance for few samples, $(1 - \rho)\, \hat C + \rho\, \frac{\operatorname{tr} \hat C}{N} I$.

    It is well conditioned even if the sample covariance is singular. scikit-learn computes it, and divides by P.

    Cost: P N^2 for P samples and N units.

    Sources: Ledoit and Wolf (2004), J. Multivariate Analysis 88, doi:10.1016/S0047-259X(03)00096-4; Chen, Wiesel, Eldar
    and Hero (2010), Shrinkage algorithms for MMSE covariance estimation, IEEE Trans. Signal Processing 58,
    doi:10.1109/TSP.2010.2053029.

    Args:
        samples: Activity, shape `(samples, units)`.
        estimator: `"ledoit_wolf"` or `"oracle_approximating"`.

    Returns:
        Covariance and shrinkage.

    Raises:
        InvalidValue: The estimator is unknown; see also `moments`.
        MissingExtra: scikit-learn is not installed.
    """
    checks.refuse("shrinkage_covariance", checks.word("estimator", estimator, get_args(Estimator)))
    covariance = require("sklearn.covariance", "recordings")
    kind = covariance.LedoitWolf if estimator == "ledoit_wolf" else covariance.OAS
    fitted = kind().fit(sampled(samples, None)[0])
    return Shrunk(np.asarray(fitted.covariance_), float(fitted.shrinkage_))


def shared_variance(
    activity: Activity,
    bin: float | None = None,
    *,
    max_factors: int = 10,
    folds: int = 5,
    cutoff: Cutoff = "auto",
) -> SharedVariance:
    r"""Percent shared variance, dimensionality and loading similarity by factor analysis.

    $$
    x = \mu + L f + \epsilon, \quad f \sim N(0, I),\; \epsilon \sim N(0, \operatorname{diag} \psi); \qquad
    \%sv_i = 100\, \frac{(L L^T)_{ii}}{(L L^T)_{ii} + \psi_i}
    $$

    The number of factors is the smallest whose held-out likelihood is within one standard error, over the folds, of the
    best. A fold is a run of consecutive samples, and its neighbours on both sides are left out of the training. If the
    samples were assigned to folds at random, slow activity of single units would appear both in the training and in the
    test, and would be taken for shared. The loading similarity of the leading eigenvector u of L L^T is
    $1 - N \operatorname{Var}(u)$.

    Cost: P N^2 once, then N^3 per step of each fit, since the fits use mean and covariance alone.

    Sources: Umakantha et al. (2021), Bridging neuronal correlations and dimensionality reduction, Neuron 109,
    doi:10.1016/j.neuron.2021.06.028; Racine (2000), Consistent cross-validatory model-selection for dependent data:
    hv-block cross-validation, J. Econometrics 99, doi:10.1016/S0304-4076(00)00030-0; one standard error: Breiman,
    Friedman, Olshen and Stone (1984), Classification and regression trees. Wraps scikit-learn's FactorAnalysis.

    Args:
        activity: Array `(samples, units)` in the order of time, rates or spike trains; silent units are left out.
        bin: Width of the bins (s), for spike trains and rates.
        max_factors: Largest number of factors to try, limited to the number of units minus one.
        folds: Number of folds of the cross-validation, at least 3.
        cutoff: Fluctuations slower than this are removed first, see `Cutoff`; independent drifts of single units look
            shared over any folds.

    Returns:
        Shared variance and its dimensions; the shared variance is zero if no factor is chosen.

    Raises:
        InvalidValue: Fewer than two units vary, there are fewer than four samples per fold, a unit varies in one fold
            only, the cutoff leaves nothing, or a number is out of range.
        MissingExtra: scikit-learn is not installed.
    """
    checks.refuse(
        "shared_variance",
        checks.whole_number("max_factors", max_factors, least=1),
        checks.whole_number("folds", folds, least=3),
        None if cutoff in ("auto", None) else checks.number("cutoff", cutoff, above=0),
    )
    values, step = sampled(activity, bin)
    varying = ~moments(values).constant.numpy()
    x = values if varying.all() else values[:, varying]
    del values  # to save memory: every array from here on is as large as the recording
    if x.shape[1] < 2 or len(x) < 4 * folds:
        raise InvalidValue(
            f"samples: got {len(x)} samples of {x.shape[1]} units that vary; at least {4 * folds} of 2 are needed."
        )
    slower = (tenth(x, step) if drift(x).found else None) if cutoff == "auto" else cutoff
    removed = 0 if slower is None else components(len(x), slower, step)
    degrees_left(len(x), removed)
    x = without(x, removed)
    x /= x.std(axis=0)  # every unit has variance one
    gap = _gap(x, len(x) // folds // 2)
    scores = _scores(x, folds, gap, min(max_factors, x.shape[1] - 1))
    behind = scores.mean(axis=0).max() - scores.mean(axis=0)
    loss = scores[:, [int(behind.argmin())]] - scores
    factors = int(np.argmax(behind <= loss.std(axis=0, ddof=1) / math.sqrt(folds)))
    percent = np.full(len(varying), np.nan)
    if factors == 0:
        percent[varying] = 0.0
        return SharedVariance(percent, 0, 0, math.nan, 0.0, scores, gap, slower)
    covariance: Array = np.cov(x, rowvar=False, ddof=0).astype(np.float64)
    shared, own = _fit(covariance, factors, _CONVERGED)
    percent[varying] = 100 * shared.diagonal() / (shared.diagonal() + own)
    eigenvalues, vectors = np.linalg.eigh(shared)
    explained = np.cumsum(eigenvalues[::-1]) / eigenvalues.sum()
    similarity = 1 - x.shape[1] * float(np.var(vectors[:, -1]))
    ratio = float(eigenvalues.sum() ** 2 / np.square(eigenvalues).sum())
    dimensions = int(np.searchsorted(explained, 0.95) + 1)
    return SharedVariance(percent, dimensions, factors, similarity, ratio, scores, gap, slower)


def _gap(x: Array, most: int) -> int:
    """Number of samples until the mean autocorrelation of the units has fallen to a tenth, at most half a fold."""
    # One unit at a time, since the spectra of all units would take four times the memory of the samples.
    power = sum(np.square(np.abs(np.fft.rfft(unit, 2 * len(x)))) for unit in x.T)
    correlation = np.fft.irfft(power)[: most + 1]
    fallen = np.flatnonzero(correlation <= 0.1 * correlation[0])
    return int(fallen[0]) if len(fallen) else most


def _folds(samples: int, folds: int, gap: int) -> Iterator[tuple[slice, slice]]:
    """For each fold, the samples held out, and these together with the neighbours left out of the training."""
    for held in np.array_split(np.arange(samples), folds):
        first, last = int(held[0]), int(held[-1])
        yield slice(first, last + 1), slice(max(0, first - gap), last + gap + 1)


def _scores(x: Array, folds: int, gap: int, most: int) -> Array:
    """Mean log-likelihood per held-out sample, shape (folds, factors + 1); stops when two more factors gain nothing."""
    sums = x.sum(axis=0), x.T @ x
    parts = [_moments_of(x, sums, held, left_out) for held, left_out in _folds(len(x), folds, gap)]
    columns: list[list[float]] = []
    for factors in range(most + 1):
        columns.append([_likelihood(covariance, second, factors) for covariance, second in parts])
        means = np.mean(columns, axis=1)
        if factors - int(means.argmax()) >= 2:
            break
    return np.array(columns).T


def _moments_of(x: Array, sums: tuple[Array, Array], held: slice, left_out: slice) -> tuple[Array, Array]:
    """Covariance of the training samples, and second moment of the held-out samples about the mean of the training.

    The sums over the training samples are those over all samples minus those over the samples left out. All variances
    are one, so the difference loses no precision.
    """
    away = x[left_out]
    count = len(x) - len(away)
    mean = (sums[0] - away.sum(axis=0)) / count
    covariance: Array = (sums[1] - away.T @ away) / count - np.outer(mean, mean)
    still = np.flatnonzero(covariance.diagonal() < 1e-12)
    if len(still):
        raise InvalidValue(
            f"samples: unit {int(still[0])} of those that vary does so in one fold of consecutive samples only; leave "
            "out units with so few events."
        )
    tested = x[held] - mean
    return covariance, tested.T @ tested / len(tested)


def _likelihood(covariance: Array, second: Array, factors: int) -> float:
    """Log-likelihood per sample of a second moment under the model that is fitted to the covariance."""
    shared, own = (
        _fit(covariance, factors, _COMPARED) if factors else (np.zeros_like(covariance), covariance.diagonal())
    )
    model = shared + np.diag(own)
    volume = float(np.linalg.slogdet(2 * np.pi * model)[1])
    return -0.5 * (volume + float(np.trace(np.linalg.solve(model, second))))


def _fit(covariance: Array, factors: int, tolerance: float) -> tuple[Array, Array]:
    """Shared covariance L L^T and own variances of the factor model of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    # Rows of mean zero with this covariance: the likelihood depends on the samples by mean and covariance alone.
    root = (vectors * np.sqrt(len(values) * np.maximum(values, 0.0))).T
    analysis = require("sklearn.decomposition", "recordings").FactorAnalysis(
        factors, svd_method="lapack", tol=tolerance * 2 * len(root), max_iter=20_000
    )
    fitted = analysis.fit(np.concatenate([root, -root]))
    loadings: Array = fitted.components_
    own: Array = fitted.noise_variance_
    shared: Array = loadings.T @ loadings
    return shared, own
