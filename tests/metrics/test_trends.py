"""What is slow and what is fast: against scipy's cosine transform, polynomial fits, and the sum of both parts."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.trends import drift
from neuro_decorr.recording import Rates


@given(samples=st.integers(20, 200), cutoff=st.floats(2, 50), seed=st.integers(0, 2**16))
def test_the_high_pass_is_a_cut_of_the_cosine_transform(samples: int, cutoff: float, seed: int) -> None:
    x = 5 + np.random.default_rng(seed).normal(size=(samples, 2))
    spectrum = scipy.fft.dct(x, axis=0, norm="ortho")
    spectrum[[0, *(k for k in range(1, samples) if 2 * samples / k >= cutoff - 1e-9)]] = 0
    expected = scipy.fft.idct(spectrum, axis=0, norm="ortho")
    np.testing.assert_allclose(metrics.high_pass(x, cutoff=cutoff), expected, atol=1e-11)


def test_seconds_of_a_recording_are_samples_of_an_array() -> None:
    x = np.random.default_rng(0).normal(size=(400, 3))
    rates = Rates(x, 0.05)
    np.testing.assert_allclose(metrics.high_pass(rates, cutoff=2.0), metrics.high_pass(x, cutoff=40), atol=1e-12)
    pairs = x.reshape(200, 2, 3).mean(axis=1)
    np.testing.assert_allclose(metrics.high_pass(rates, 0.1, cutoff=2.0), metrics.high_pass(pairs, cutoff=20))


@pytest.mark.parametrize("order", [0, 1, 3])
def test_detrending_is_the_residual_of_a_polynomial_fit(order: int) -> None:
    x = np.random.default_rng(1).normal(size=(50, 2)) + np.linspace(0, 9, 50)[:, None] ** 2
    time = np.arange(50.0)
    expected = [unit - np.polyval(np.polyfit(time, unit, order), time) for unit in x.T]
    np.testing.assert_allclose(metrics.detrended(x, order=order).T, expected, atol=1e-9)
    if order == 1:
        np.testing.assert_allclose(metrics.detrended(x), scipy.signal.detrend(x, axis=0), atol=1e-10)


def test_slow_and_fast_parts_sum_to_all_and_each_finds_its_own() -> None:
    source = np.random.default_rng(2)
    time = np.arange(2000)
    wave = np.cos(np.pi * 4 * (time + 0.5) / 2000)  # a period of 1000
    fast = source.normal(size=(2000, 1))
    x = np.column_stack([wave + fast[:, 0], -wave + fast[:, 0]]) + 0.5 * source.normal(size=(2000, 2))
    found = metrics.slow_fast(x, cutoff=200)
    share = found.slow_share
    weights = np.sqrt(np.outer(share, share)), np.sqrt(np.outer(1 - share, 1 - share))
    np.testing.assert_allclose(weights[0] * found.slow + weights[1] * found.fast, found.total, atol=1e-12)
    np.testing.assert_allclose(found.total, np.corrcoef(x.T), atol=1e-12)
    assert found.slow[0, 1] < -0.95 and found.fast[0, 1] == pytest.approx(0.8, abs=0.05)
    assert share == pytest.approx(0.5 / 1.75, abs=0.03)  # variances of the wave, 1/2, and of the noises, 1 + 1/4
    table = found.to_frame()
    assert table.loc["total", "mean_correlation"] == pytest.approx(
        table.loc["slow", "share_of_mean"] + table.loc["fast", "share_of_mean"]
    )


def test_the_floors_of_slow_and_fast_are_what_independent_units_show() -> None:
    found = metrics.slow_fast(np.random.default_rng(3).normal(size=(1000, 60)), cutoff=100)
    table = found.to_frame()
    assert (found.slow_degrees, found.fast_degrees) == (20, 979)
    # 1,770 pairs, of which those of one unit depend on each other a little
    np.testing.assert_allclose(table["mean_absolute_correlation"] / table["floor"], 1, atol=0.08)


def test_units_without_variance_are_nan_in_each_part() -> None:
    x = np.random.default_rng(4).normal(size=(100, 3))
    x[:, 1] = 2.0
    found = metrics.slow_fast(x, cutoff=20)
    for matrix in (found.total, found.slow, found.fast):
        assert np.isnan(matrix[1]).all() and np.isfinite(matrix[0, 2])


def test_drift_is_found_in_walks_and_trends_and_seldom_in_stationary_units() -> None:
    source = np.random.default_rng(5)
    white = [drift(source.normal(size=(500, 10))).found for _ in range(200)]
    assert np.mean(white) < 0.08  # two standard errors of a skewed mean: some 3 % by chance
    walk = np.cumsum(source.normal(size=(500, 10)), axis=0)
    line = source.normal(size=(500, 10)) + np.outer(np.linspace(-1, 1, 500), source.choice([-1, 1], 10))
    assert drift(walk).found and drift(line).found
    assert not drift(source.normal(size=(12, 3))).found


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: metrics.high_pass(x, cutoff=1), "cutoff must be a finite number >= 2"),
        (lambda x: metrics.detrended(x, order=100), "order must be less than the 100 samples"),
        (lambda x: metrics.detrended(x, order=-1), "order must be a whole number >= 0"),
        (lambda x: metrics.slow_fast(x, cutoff=400), "0 of 99 components slower"),
        (lambda x: metrics.slow_fast(x[:, :1], cutoff=20), "at least 2 units"),
        (lambda x: metrics.high_pass(x[0], cutoff=4), r"allowed is \(samples, units\)"),
    ],
)
def test_bad_arguments(call, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        call(np.random.default_rng(6).normal(size=(100, 3)))
