"""The surrogate null: uniform p-values without correlation, small ones with it, autocorrelation or not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch

from neuro_decorr import data, metrics
from neuro_decorr.errors import InvalidValue


def slow(seed: int, shared: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(600, 4)) + shared * rng.normal(size=(600, 1))
    return scipy.signal.lfilter([1], [1, -0.9], noise, axis=0)


def test_p_values_of_independent_slow_units_are_uniform_although_they_pass_the_sampling_floor() -> None:
    found = [metrics.surrogate_null(slow(seed), surrogates=19, seed=seed) for seed in range(80)]
    p = np.array([null.p_value for null in found])
    assert abs(p.mean() - 0.525) < 4 * np.sqrt(1 / 12 / 80)
    assert (p <= 0.05).mean() < 0.15
    observed = np.mean([null.observed for null in found])
    assert observed > 2 * metrics.sampling_floor(600).mean_absolute
    assert observed == pytest.approx(np.mean([null.surrogates.mean() for null in found]), rel=0.15)


def test_shared_activity_is_found() -> None:
    null = metrics.surrogate_null(torch.from_numpy(slow(0, shared=1.0)))
    assert null.p_value == 0.01
    assert null.surrogates.shape == (99,)
    assert null.observed == pytest.approx(metrics.mean_absolute_correlation(slow(0, shared=1.0)))


@pytest.mark.parametrize("method", ["shift", "dither_spikes"])
def test_synchronous_spikes_are_found_by_either_kind_of_surrogate(method) -> None:
    trains = data.compound_poisson_process(10, [0, 0.9, 0, 0.1], 60)
    null = metrics.surrogate_null(trains, 0.005, method=method, dt=0.1, surrogates=19)
    assert null.p_value == 0.05
    assert null.surrogates.max() < 0.5 * null.observed


def test_the_seed_decides() -> None:
    first, again, other = (metrics.surrogate_null(slow(0), surrogates=19, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.surrogates, again.surrogates)
    assert not np.array_equal(first.surrogates, other.surrogates)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "dither"}, "method must be one of 'shift', 'dither_spikes'"),
        ({"method": "dither_spikes"}, "moves spikes; give SpikeTrains"),
        ({"surrogates": 5}, "surrogates must be a whole number >= 19, got 5"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        metrics.surrogate_null(slow(0), **arguments)


def test_units_that_do_not_vary_make_no_number() -> None:
    with pytest.raises(InvalidValue, match="fewer than two units vary"):
        metrics.surrogate_null(np.ones((50, 3)))
