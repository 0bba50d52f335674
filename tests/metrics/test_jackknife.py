"""Intervals from leaving out stretches: formulae by loops, and coverage where neighbours depend on each other."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from neuro_decorr.metrics import jackknife
from tests._frequency import covers


def test_of_a_mean_it_is_the_long_run_variance_by_cosines() -> None:
    x = np.random.default_rng(0).normal(size=40)
    without = np.array([np.delete(x, k).mean() for k in range(40)])
    found = jackknife.spread(np.asarray(x.mean()), without)
    total = 0.0
    for m in range(1, found.freedom + 1):
        total += (sum(x[k] * np.cos(np.pi * m * (k + 0.5) / 40) for k in range(40)) * (2 / 40) ** 0.5) ** 2
    assert found.freedom == 5  # 0.4 * 40^(2/3) = 4.7
    assert found.error == pytest.approx((total / found.freedom / 40) ** 0.5)


def test_of_a_mean_with_unequal_stretches_the_last_counts_for_its_share() -> None:
    x = np.random.default_rng(1).normal(size=105)  # ten stretches of ten samples, one of five
    parts = np.split(x, range(10, 101, 10))
    without = np.array([np.concatenate(parts[:k] + parts[k + 1 :]).mean() for k in range(11)])
    sizes = np.array([len(part) for part in parts], dtype=float)
    influence = np.array([11 * (part - x.mean()).sum() / 105 for part in parts])  # of the sum of each stretch
    expected = [np.sqrt(2 / 11) * influence @ np.cos(np.pi * m * (np.arange(11) + 0.5) / 11) for m in (1, 2, 3, 4)]
    found = jackknife.spread(np.asarray(x.mean()), without, sizes)
    assert found.error == pytest.approx(np.sqrt(np.mean(np.square(expected)) / 11))


def test_too_few_stretches_give_no_interval() -> None:
    low, high = jackknife.bounds(np.ones(2), jackknife.spread(np.ones(2), np.ones((9, 2))), 0.95)
    assert np.isnan([low, high]).all()


def test_covariances_without_each_stretch() -> None:
    x = np.random.default_rng(2).poisson(2.0, (200, 3))
    sums = jackknife.cells(x)
    whole, without = jackknife.second_moments(sums)
    np.testing.assert_allclose(whole, np.cov(x.T))
    ends = [0, *sums.lengths.cumsum(0).int().tolist()]
    assert len(without) == 64 and ends[-1] == 200
    for begin, end, found in zip(ends, ends[1:], without, strict=False):
        np.testing.assert_allclose(found, np.cov(np.delete(x, range(begin, end), axis=0).T))
    np.testing.assert_allclose(jackknife.correlations(whole), np.corrcoef(x.T))


def test_units_that_do_not_vary_have_no_correlation() -> None:
    x = np.random.default_rng(3).normal(size=(100, 3)) * [1, 0, 1e-3] + [0, 1e6, 0]
    found = jackknife.correlations(np.cov(x.T))
    assert np.isnan(found[1]).all() and np.isfinite(found[0, 2])


def simulated(repetitions: int, samples: int, slow: float, seed: int) -> np.ndarray:
    """Whether the interval of a mean correlation of 0.2 covers it; one in `slow` samples is new to all units."""
    source = np.random.default_rng(seed)
    x = 0.8**0.5 * source.normal(size=(repetitions, samples, 8)) + 0.2**0.5 * source.normal(
        size=(repetitions, samples, 1)
    )
    keep = 1 - 1 / slow
    x = scipy.signal.lfilter([(1 - keep**2) ** 0.5], [1, -keep], x, axis=1)  # all units alike: r stays 0.2
    cells = x.reshape(repetitions, 64, -1, 8)
    first, cross = cells.sum(axis=2), np.einsum("rcti,rctj->rcij", cells, cells)
    total, every, size = first.sum(axis=1, keepdims=True), cross.sum(axis=1, keepdims=True), cells.shape[2]
    sums = np.concatenate([total, total - first], axis=1)
    count = np.array([samples] + [samples - size] * 64)[None, :, None, None]
    moments = np.concatenate([every, every - cross], axis=1) - sums[..., None] * sums[:, :, None] / count
    r = jackknife.correlations(moments)[:, :, *np.triu_indices(8, 1)].mean(axis=-1)
    ends = [jackknife.mean_correlation_bounds(float(row[0]), row[1:], 8, 0.95) for row in r]
    return np.array([low <= 0.2 <= high for low, high in ends])


@pytest.mark.parametrize("slow", [1, 20])
def test_the_interval_of_a_mean_correlation_covers(slow: float) -> None:
    assert covers(simulated(150, 1280, slow, seed=0))


@pytest.mark.slow
@pytest.mark.parametrize("slow", [1, 5, 20, 60])  # of 2,560 samples
def test_the_interval_of_a_mean_correlation_covers_at_each_time_scale(slow: float) -> None:
    hits = np.concatenate([simulated(100, 2560, slow, seed) for seed in range(20)])
    assert 0.92 <= hits.mean() <= 0.98
