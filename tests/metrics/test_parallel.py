"""Parallel analysis: no dimension of independent units, however slow; the latents of others."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from benchmarks import null_sizes as simulated
from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue


def slow(seed: int, time: float = 33) -> np.ndarray:
    return simulated.state(time, 2000, 20, np.random.default_rng(seed))


def test_slow_independent_units_pass_marchenko_and_pastur_but_not_the_edge_of_surrogates() -> None:
    passed, above = 0, []
    for seed in range(15):
        x = slow(seed)
        passed += metrics.parallel_analysis(x, surrogates=19, seed=seed).dimensions > 0
        above.append(simulated.above_marchenko_pastur(x))
    assert np.mean(above) > 2
    assert passed <= scipy.stats.binom.ppf(0.9999, 15, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("time", [3, 33, 100])
def test_size(time: float) -> None:
    passed = [metrics.parallel_analysis(slow(k, time), surrogates=19, seed=k).dimensions > 0 for k in range(500)]
    assert 0.02 <= np.mean(passed) <= 0.08


@pytest.mark.parametrize("dimensions", [0, 1, 3])
def test_latents_are_counted(dimensions: int) -> None:
    found = metrics.parallel_analysis(simulated.latents(dimensions), surrogates=39)
    assert found.dimensions == dimensions
    assert (found.p_value <= 0.05) == (dimensions > 0)


def test_the_edge_is_a_quantile_of_the_largest_eigenvalues() -> None:
    x = simulated.latents(2, samples=400, units=10)
    found = metrics.parallel_analysis(x, kind="circular_shift", cutoff=None, surrogates=39, level=0.9)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(np.corrcoef(x.T))[::-1], rtol=1e-5)
    assert found.null.shape == (39, 10)
    np.testing.assert_allclose(found.null.sum(axis=1), 10, rtol=1e-6)
    assert found.edge == sorted(found.null[:, 0])[35]  # the 36th: data that were one more surrogate pass it in 4 of 40


def test_dimensions_by_every_measure() -> None:
    x = simulated.latents(3)
    table = metrics.dimensionality(x, surrogates=19).to_frame()
    correlation = np.corrcoef(x.T)
    covariance = np.linalg.eigvalsh(np.cov(x.T))
    assert table.loc["participation_ratio", "value"] == pytest.approx(
        covariance.sum() ** 2 / (covariance**2).sum(), rel=1e-5
    )
    assert table.loc["participation_ratio_correlation", "value"] == pytest.approx(
        40**2 / (correlation**2).sum(), rel=1e-5
    )
    assert (table.loc[["parallel_analysis", "factors", "dimensions_95"], "value"] == 3).all()
    assert 2 < table.loc["participation_ratio_shared", "value"] <= 3
    assert (table.loc[["parallel_analysis", "factors"], "independent"] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"surrogates": 18}, "surrogates must be a whole number >= 19"),
        ({"level": 0.99, "surrogates": 50}, r"surrogates must be a whole number >= 99, got 50 \(for a level of 0.99\)"),
        ({"level": 1.0}, "level must be a finite number >= 0.5 and < 1"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        metrics.parallel_analysis(slow(0), **arguments)
