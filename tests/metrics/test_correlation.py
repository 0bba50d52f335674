import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue


def correlated(seed: int, samples: int = 60, units: int = 7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(samples, units)) @ rng.normal(size=(units, units)) + rng.normal(size=units)


def test_covariance_and_correlation_agree_with_numpy() -> None:
    x = correlated(0)
    np.testing.assert_allclose(metrics.covariance(x), np.cov(x, rowvar=False), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(metrics.correlation(x), np.corrcoef(x, rowvar=False), rtol=1e-12, atol=1e-14)


def test_without_centering_it_is_the_second_moment_about_zero() -> None:
    x = correlated(1) + 3
    np.testing.assert_allclose(metrics.covariance(x, center=False), x.T @ x / len(x), rtol=1e-12)
    norms = np.linalg.norm(x, axis=0)
    np.testing.assert_allclose(metrics.correlation(x, center=False), x.T @ x / np.outer(norms, norms), rtol=1e-12)


def test_the_mean_correlations_are_those_of_the_off_diagonal_entries() -> None:
    x = correlated(2)
    r = np.corrcoef(x, rowvar=False)[~np.eye(7, dtype=bool)]
    assert metrics.mean_squared_correlation(x) == pytest.approx(np.mean(r**2), rel=1e-12)
    assert metrics.mean_absolute_correlation(x) == pytest.approx(np.mean(abs(r)), rel=1e-12)
    summary = metrics.summary(x, intervals=False)
    assert summary["mean_correlation"].estimate == pytest.approx(r.mean(), rel=1e-10)
    assert summary["correlation_deviation"].estimate == pytest.approx(r.std(), rel=1e-10)


def test_a_known_correlation_is_found() -> None:
    rotation = scipy.linalg.hadamard(8)[:, 1:4].astype(float)  # three columns, exactly uncorrelated, of mean zero
    x = np.column_stack([rotation[:, 0], 0.6 * rotation[:, 0] + 0.8 * rotation[:, 1], rotation[:, 2]])
    np.testing.assert_allclose(metrics.correlation(x), [[1, 0.6, 0], [0.6, 1, 0], [0, 0, 1]], atol=1e-15)
    assert metrics.mean_squared_correlation(x) == pytest.approx(0.12)
    assert metrics.mean_absolute_correlation(x) == pytest.approx(0.2)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponents=st.lists(st.floats(-6, 6), min_size=7, max_size=7))
def test_scaling_and_permuting_units_changes_no_correlation_measure(seed: int, exponents: list[float]) -> None:
    x = correlated(seed)
    order = np.random.default_rng(seed).permutation(7)
    changed = (x * 10.0 ** np.array(exponents))[:, order]
    for measure in (metrics.mean_squared_correlation, metrics.mean_absolute_correlation):
        assert measure(changed) == pytest.approx(measure(x), rel=1e-9)
    np.testing.assert_allclose(metrics.correlation(changed), metrics.correlation(x)[order][:, order], atol=1e-9)


def test_array_functions_return_the_kind_they_are_given() -> None:
    x = correlated(3)
    tensor = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    for function in (metrics.covariance, metrics.correlation, metrics.eigenvalues):
        assert isinstance(function(x), np.ndarray)
        result = function(tensor)
        assert isinstance(result, torch.Tensor)
        assert result.dtype == torch.float64
        assert not result.requires_grad
        np.testing.assert_allclose(result.numpy(), function(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.int8).reshape(4, 3) ** 2 % 7,
        np.arange(12, dtype=">f8").reshape(4, 3) ** 2 % 7,
        (np.arange(12.0).reshape(4, 3) ** 2 % 7)[::-1],
    ],
    ids=["integers", "foreign byte order", "negative strides"],
)
def test_every_real_array_is_read(array: np.ndarray) -> None:
    np.testing.assert_allclose(metrics.covariance(array), np.cov(array.astype(float), rowvar=False))


def test_the_samples_are_left_as_they_were() -> None:
    x = correlated(4)
    x[:, 2] = 1.0
    before = x.copy()
    metrics.summary(x, intervals=False)
    metrics.summary(x, intervals=False, center=False)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("samples", [2, 3, 5, 40])
def test_the_sampling_floor_is_the_expectation_over_independent_units(samples: int, center: bool) -> None:
    rng = np.random.default_rng(samples)
    draws = 40_000
    a, b = rng.normal(size=(2, draws, samples))
    if center:
        a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    r = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    floor = metrics.sampling_floor(samples, center=center)
    assert floor.mean_squared == pytest.approx((r**2).mean(), abs=5 * (r**2).std() / math.sqrt(draws) + 1e-12)
    assert floor.mean_absolute == pytest.approx(abs(r).mean(), abs=5 * abs(r).std() / math.sqrt(draws) + 1e-12)


def test_the_absolute_floor_approaches_its_asymptote() -> None:
    assert metrics.sampling_floor(10_000).mean_absolute == pytest.approx(math.sqrt(2 / (math.pi * 10_000)), rel=1e-3)
    with pytest.raises(InvalidValue, match="at least 2"):
        metrics.sampling_floor(1)
