"""Shrinkage and factor analysis on models whose covariance is known."""

from __future__ import annotations

import numpy as np
import pytest

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


def test_bad_input() -> None:
    x = np.random.default_rng(4).normal(size=(9, 3))
    with pytest.raises(InvalidValue, match="at least 10 of 2 are needed"):
        shared_variance(x)
    with pytest.raises(InvalidValue, match="at least 1 and 2 are needed"):
        shared_variance(x, folds=1)
    with pytest.raises(InvalidValue, match="one of 'ledoit_wolf', 'oracle_approximating'"):
        shrinkage_covariance(x, "oas")  # type: ignore[arg-type]
