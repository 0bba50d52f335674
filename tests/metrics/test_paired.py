"""Paired changes of correlations against loops over pairs, and on processes whose change is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from neuro_decorr import data, metrics
from neuro_decorr.errors import InvalidValue


def activity(seed: int, shared: float, units: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2000, units)) + shared * rng.normal(size=(2000, 1))


def test_it_is_the_change_of_every_pair() -> None:
    first, second = activity(0, 1.0), activity(1, 0.3)
    before, after = np.corrcoef(first, rowvar=False), np.corrcoef(second, rowvar=False)
    pairs = list(itertools.combinations(range(8), 2))
    expected = np.array([after[p] - before[p] for p in pairs])
    found = metrics.paired_change(first, second)
    np.testing.assert_allclose(found.differences, expected, atol=1e-12)
    assert found.mean == pytest.approx(expected.mean())
    assert found.cohens_d == pytest.approx(expected.mean() / expected.std(ddof=1))
    delta = np.mean([np.sign(after[p] - before[q]) for p in pairs for q in pairs])
    assert found.cliffs_delta == pytest.approx(delta)
    assert found.low < 0.09 / 1.09 - 0.5 < found.high
    assert metrics.paired_change(second, first).mean == pytest.approx(-found.mean)


def test_the_interval_covers_the_mean_over_a_population_of_units() -> None:
    hits = 0
    for seed in range(16):
        loads = np.random.default_rng(seed).uniform(0, 1, size=12)
        rng = np.random.default_rng(1000 + seed)
        second = rng.normal(size=(3000, 12)) * np.sqrt(1 - loads**2) + loads * rng.normal(size=(3000, 1))
        found = metrics.paired_change(activity(seed, 0.0, units=12)[:, :12], second)
        hits += found.low < 0.25 < found.high  # mean product of two loads
    assert hits >= 12


def test_silent_units_and_order_of_units() -> None:
    first, second = activity(0, 1.0), activity(1, 0.3)
    second[:, 2] = 4
    found = metrics.paired_change(first, second)
    assert found.kept.tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert np.isfinite(found[2:]).all()
    order = np.random.default_rng(0).permutation(8)
    assert metrics.paired_change(first[:, order], second[:, order]).mean == pytest.approx(found.mean)


def test_spike_trains() -> None:
    first = data.compound_poisson_process(10, [0, 0.9, 0, 0, 0.1], 100)
    second = data.compound_poisson_process(10, [0, 1, 0, 0, 0], 100, seed=1)
    found = metrics.paired_change(first, second, 0.02)
    assert found.mean == pytest.approx(-0.4 / 1.3, abs=0.04)
    assert found.cliffs_delta == -1


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        (activity(0, 0), activity(0, 0, units=5), {}, "got 5 units, the first has 8"),
        (activity(0, 0, units=2), activity(0, 0, units=2), {}, "2 units vary in both"),
        (activity(0, 0)[:12], activity(0, 0), {}, "samples: got 12; intervals need at least 20"),
        (activity(0, 0), activity(0, 0), {"level": 2}, "level: got 2"),
    ],
)
def test_bad_arguments(first: np.ndarray, second: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        metrics.paired_change(first, second, **options)
