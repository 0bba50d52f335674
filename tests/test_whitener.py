"""Whitening of arrays: against scikit-learn's own checks, its PCA and OAS, and brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from neuro_decorr.whitener import METHODS, Method, Whitener

Array = NDArray[np.float64]


def _mixed(samples: int, columns: int, seed: int = 0) -> Array:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(samples, columns)) @ generator.normal(size=(columns, columns)) + 3.0


@parametrize_with_checks([Whitener(), Whitener("pca_cor", shrinkage="oas")])
def test_it_is_a_transformer_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_seen_becomes_white_and_comes_back(method: Method) -> None:
    data = _mixed(400, 6)
    whitener = nd.Whitener(method)
    white = whitener.fit_transform(data)
    np.testing.assert_allclose(np.cov(white.T), np.eye(6), atol=1e-10)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(whitener.inverse_transform(white), data, rtol=1e-9)
    assert whitener.rank_ == 6


def test_zca_is_the_nearest_and_pca_that_of_scikit_learn() -> None:
    data = _mixed(300, 5)
    standard = data / data.std(axis=0, ddof=1)
    white = {method: Whitener(method).fit_transform(data) for method in METHODS}

    def distances(to: Array) -> dict[Method, float]:
        return {method: float(np.sum((found - (to - to.mean(axis=0))) ** 2)) for method, found in white.items()}

    near_data, near_standard = distances(data), distances(standard)
    assert min(near_data, key=near_data.__getitem__) == "zca"  # Kessy et al. 2018, theorem
    assert min(near_standard, key=near_standard.__getitem__) == "zca_cor"
    np.testing.assert_allclose(np.abs(white["pca"]), np.abs(PCA(whiten=True).fit_transform(data)), rtol=1e-7, atol=1e-9)


@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=8),
    st.sampled_from([None, 3.5, 40.0]),
    st.floats(-1e6, 1e6),
)
def test_batches_give_the_weighted_moments_of_all(sizes: list[int], memory: float | None, offset: float) -> None:
    data = (
        np.random.default_rng(1).normal(size=(sum(sizes), 3)) @ np.array([[1, 2, 0], [0, 1, 1], [0, 0, 3.0]]) + offset
    )
    whitener = Whitener(memory=memory)
    for batch in np.split(data, np.cumsum(sizes)[:-1]):
        whitener.partial_fit(batch)
    weights = np.ones(len(data)) if memory is None else (1 - 1 / memory) ** np.arange(len(data))[::-1]
    np.testing.assert_allclose(whitener.mean_, np.average(data, axis=0, weights=weights), rtol=1e-12, atol=1e-12)
    assert whitener.n_samples_seen_ == len(data)
    if len(data) > 1:
        # Weights that tell reliability, as numpy has it: n - 1 where all are one.
        expected = np.cov(data.T, aweights=weights)
        np.testing.assert_allclose(whitener.covariance_, expected, rtol=1e-7, atol=1e-8 * (1 + abs(offset) * 1e-6))


def test_the_shrinkage_is_the_limit_of_its_iterations() -> None:
    data, n, d = _mixed(12, 8), 12, 8
    whitener = Whitener(shrinkage="oas").fit(data)
    covariance = np.cov(data.T)
    flat = np.trace(covariance) / d * np.eye(d)
    rho = 0.5
    for _ in range(10_000):  # Chen et al. 2010, equations 17 and 18
        estimate = (1 - rho) * covariance + rho * flat
        square, power = np.trace(estimate @ covariance), np.trace(estimate) ** 2
        rho = ((1 - 2 / d) * square + power) / ((n + 1 - 2 / d) * square + (1 - n / d) * power)
    assert 0.1 < rho < 0.9 and whitener.shrinkage_ == pytest.approx(rho, rel=1e-6)
    white = whitener.whitening_ @ ((1 - rho) * covariance + rho * flat) @ whitener.whitening_.T
    np.testing.assert_allclose(white, np.eye(d), atol=1e-5)
    for scale in (1e-150, 1e-90, 1e90, 1e150):  # the fourth powers of which no float64 holds
        assert Whitener(shrinkage="oas").fit(data * scale).shrinkage_ == pytest.approx(rho, rel=1e-6)
    # More samples, less of it.
    assert Whitener(shrinkage="oas").fit(_mixed(4_000, 8)).shrinkage_ < 0.02


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("few", [1, 2, 5])
def test_directions_without_variance_stay_zero(method: Method, few: int) -> None:
    data = np.column_stack([_mixed(few, 4), np.full(few, 7.0), np.zeros(few)])
    data = np.column_stack([data, data[:, 0]])  # constant columns and a copy
    whitener = Whitener(method).partial_fit(data)
    other = np.random.default_rng(5).normal(size=(9, 7)) * 100
    for values in (whitener.transform(data), whitener.transform(other), whitener.inverse_transform(other)):
        assert np.isfinite(values).all()
    assert whitener.rank_ == min(few - 1, 4)
    if few > 1:
        spread = np.linalg.eigvalsh(np.cov(whitener.transform(data).T))
        np.testing.assert_allclose(spread[-whitener.rank_ :], 1, rtol=1e-6)
        np.testing.assert_allclose(spread[: -whitener.rank_], 0, atol=1e-9)
        np.testing.assert_allclose(whitener.inverse_transform(whitener.transform(data)), data, atol=1e-6)


def test_in_a_pipeline_with_names_and_float32() -> None:
    data = _mixed(200, 4)
    labels = data[:, 0] > data[:, 1]
    assert make_pipeline(Whitener(), LogisticRegression()).fit(data, labels).score(data, labels) > 0.95
    whitener = Whitener().fit(data)
    assert whitener.transform(data.astype(np.float32)).dtype == np.float32
    assert whitener.inverse_transform(data.astype(np.float32)).dtype == np.float32
    assert list(whitener.get_feature_names_out(["a", "b", "c", "d"])) == ["a", "b", "c", "d"]
    assert list(Whitener("pca").fit(data).get_feature_names_out()) == [f"whitener{n}" for n in range(4)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"method": "ZCA"}, "method"),
        ({"shrinkage": 1.5}, "shrinkage"),
        ({"shrinkage": "ledoit"}, "shrinkage"),
        ({"memory": 1}, "memory"),
    ],
)
def test_refuses_what_it_cannot(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidValue, match=told):
        Whitener(**arguments).fit(_mixed(5, 2))


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e200])
def test_variances_that_no_float_holds_are_refused(scale: float) -> None:
    with pytest.raises(InvalidValue, match=r"column 0 varies .* another unit"):
        Whitener().fit(_mixed(5, 2) * scale)


def test_a_column_that_has_stood_still_for_long_is_constant() -> None:
    data = _mixed(3_000, 2)
    data[100:, 0] = 3.0
    white = Whitener(memory=3).fit_transform(data)
    assert float(np.abs(white[100:, 0]).max()) == 0
