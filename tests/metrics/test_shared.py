"""Shrinkage and factor analysis on models whose covariance is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sklearn.decomposition
import sklearn.model_selection

from benchmarks import null_sizes as simulated
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import shared_variance, shrinkage_covariance


@pytest.mark.parametrize("estimator", ["ledoit_wolf", "oracle_approximating"])
def test_shrinkage_is_between_the_sample_covariance_and_the_identity(estimator: str) -> None:
    source = np.random.default_rng(0)
    true = np.diag(np.linspace(0.5, 1.5, 40))
    x = source.normal(size=(25, 40)) @ np.sqrt(true)  # fewer samples than units
    found = shrinkage_covariance(x, estimator)
    sample = np.cov(x, rowvar=False, ddof=0)
    expected = (1 - found.shrinkage) * sample + found.shrinkage * np.trace(sample) / 40 * np.eye(40)
    np.testing.assert_allclose(found.covariance, expected, atol=1e-12)
    assert 0 < found.shrinkage < 1 and np.linalg.cond(found.covariance) < 100 < np.linalg.cond(sample)
    assert np.linalg.norm(found.covariance - true) < np.linalg.norm(sample - true)


def test_one_common_factor_is_found() -> None:
    source = np.random.default_rng(1)
    # Loadings 1 and noise variance 1 to 4: shared variance of 50 to 20 per cent, along the direction of all ones.
    noise = np.linspace(1, 2, 12)
    x = source.normal(size=(2_000, 1)) + source.normal(size=(2_000, 12)) * noise
    found = shared_variance(x, max_factors=3)
    np.testing.assert_allclose(found.percent, 100 / (1 + noise**2), atol=5)
    assert found.dimensions == found.factors == 1
    assert found.loading_similarity > 0.9


def test_two_groups_share_two_dimensions_and_their_loadings_differ() -> None:
    source = np.random.default_rng(2)
    common = source.normal(size=(1_500, 2))
    x = common[:, [0] * 6 + [1] * 4] + source.normal(size=(1_500, 10))
    found = shared_variance(x, max_factors=3)
    assert found.dimensions == 2
    assert found.mean_percent == pytest.approx(50, abs=5)
    assert found.loading_similarity < 0.8  # only the larger group loads on the leading dimension


def test_independent_units_share_nothing_and_silent_ones_are_nan() -> None:
    x = np.random.default_rng(3).normal(size=(400, 6))
    x[:, 2] = 5
    found = shared_variance(x, max_factors=3)
    assert found.factors == found.dimensions == 0 and found.mean_percent == 0
    assert np.isnan(found.percent[2]) and np.isnan(found.loading_similarity)


STATES = {"white": 0.1, "slow": 10.0, "very slow": 40.0}  # autocorrelation times, in samples


def independent(kind: str, seed: int, samples: int = 1000, units: int = 20) -> np.ndarray:
    """Counts of units with slow states, trends or random walks of their own."""
    source = np.random.default_rng(seed)
    if kind in STATES:
        rates = np.exp(0.7 * simulated.state(STATES[kind], samples, units, source))
    else:
        rates = (simulated.trends if kind == "trends" else simulated.walks)(samples, units, source)
    return source.poisson(2 * rates)


@pytest.mark.parametrize("kind", ["slow", "very slow", "trends"])
def test_independent_units_with_changes_of_their_own_share_nothing(kind: str) -> None:
    found = [shared_variance(independent(kind, seed)).dimensions > 0 for seed in range(6)]
    assert sum(found) <= scipy.stats.binom.ppf(0.999, 6, 0.05)


def test_folds_that_are_dealt_out_at_random_find_what_is_not_there() -> None:
    x = independent("very slow", 0, units=8)
    x = x / x.std(axis=0)
    splits = sklearn.model_selection.KFold(5, shuffle=True, random_state=0)
    scores = [
        sklearn.model_selection.cross_val_score(sklearn.decomposition.FactorAnalysis(k), x, cv=splits).mean()
        for k in (1, 3)
    ]
    assert scores[1] > scores[0]
    assert shared_variance(x, cutoff=None).factors == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*STATES, "trends", "walks"])
def test_size(kind: str) -> None:
    found = [shared_variance(independent(kind, seed)).dimensions > 0 for seed in range(300)]
    assert np.mean(found) <= 0.05


def test_fits_by_the_covariance_are_those_of_the_samples() -> None:
    source = np.random.default_rng(5)
    x = source.normal(size=(600, 2)) @ source.normal(size=(2, 7)) + source.normal(size=(600, 7))
    found = shared_variance(x, max_factors=4, folds=3, cutoff=None)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    analysis = sklearn.decomposition.FactorAnalysis(2, svd_method="lapack", tol=1e-5, max_iter=20_000).fit(z)
    shared = analysis.components_.T @ analysis.components_
    np.testing.assert_allclose(found.percent, 100 * shared.diagonal(), atol=0.1)
    held = slice(200, 400)  # the second fold
    training = np.r_[0 : 200 - found.gap, 400 + found.gap : 600]
    fitted = sklearn.decomposition.FactorAnalysis(2, svd_method="lapack", tol=1e-4, max_iter=5000).fit(z[training])
    assert found.scores[1, 2] == pytest.approx(fitted.score(z[held]), abs=2e-3)
    assert found.scores[1, 0] == pytest.approx(
        scipy.stats.norm(z[training].mean(axis=0), z[training].std(axis=0)).logpdf(z[held]).sum(axis=1).mean()
    )


def test_the_gap_is_as_long_as_the_autocorrelation() -> None:
    assert shared_variance(independent("white", 0), cutoff=None).gap == 1
    gaps = [shared_variance(independent("slow", seed, 3000), cutoff=None).gap for seed in range(3)]
    # The state is 40 % of the variance of the counts, so that a tenth of all is left at a lag of some 10 log 4.
    assert STATES["slow"] * np.log(2) < np.mean(gaps) < STATES["slow"] * np.log(10)


def test_bad_input() -> None:
    x = np.random.default_rng(4).normal(size=(9, 3))
    with pytest.raises(InvalidValue, match="at least 20 of 2 are needed"):
        shared_variance(x)
    with pytest.raises(InvalidValue, match="folds must be a whole number >= 3"):
        shared_variance(x, folds=1)
    with pytest.raises(InvalidValue, match="leave 0 degrees of freedom"):
        shared_variance(np.cumsum(np.ones((18, 3)), axis=0) + np.eye(18, 3), folds=3)
    with pytest.raises(InvalidValue, match="one of 'ledoit_wolf', 'oracle_approximating'"):
        shrinkage_covariance(x, "oas")  # type: ignore[arg-type]
    x = np.random.default_rng(4).poisson(1.0, (100, 3))
    x[5:, 0] = 0
    with pytest.raises(InvalidValue, match="unit 0 of those that vary does so in one fold"):
        shared_variance(x, cutoff=None)
