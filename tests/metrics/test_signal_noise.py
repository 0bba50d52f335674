"""Signal and noise correlations against all pairs of distinct trials, known models, and numpy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import signal_noise_correlation


def test_the_signal_covariance_is_the_mean_over_distinct_trials() -> None:
    source = np.random.default_rng(0)
    conditions, trials, units = 4, 3, 3
    x = source.normal(size=(conditions, trials, units)) + 3 * source.normal(size=(conditions, 1, units))
    signal = np.zeros((units, units))
    for i, j in itertools.product(range(units), repeat=2):
        same = [x[c, a, i] * x[c, b, j] for c in range(conditions) for a, b in itertools.permutations(range(trials), 2)]
        apart = [
            x[c, a, i] * x[d, b, j]
            for c, d in itertools.permutations(range(conditions), 2)
            for a, b in itertools.product(range(trials), repeat=2)
        ]
        signal[i, j] = np.mean(same) - np.mean(apart)
    scale = np.sqrt(signal.diagonal())
    found = signal_noise_correlation(x.reshape(-1, units), np.repeat(range(conditions), trials))
    np.testing.assert_allclose(found.signal, signal / scale / scale[:, None], rtol=1e-10)


def test_known_signal_and_noise() -> None:
    source = np.random.default_rng(1)
    conditions, trials = 400, 10
    tuning = source.normal(size=(conditions, 1)) * [1.0, 1.0, -1.0] + 1e-9
    common = source.normal(size=(conditions * trials, 1))
    noise = 0.6 * common + 0.8 * source.normal(size=(conditions * trials, 3))  # r = 0.36
    found = signal_noise_correlation(np.repeat(tuning, trials, axis=0) + noise, np.repeat(range(conditions), trials))
    off = [0, 0, 1], [1, 2, 2]
    np.testing.assert_allclose(found.signal[off], [1, -1, -1], atol=0.05)
    np.testing.assert_allclose(found.noise[off], 0.36, atol=0.05)


def test_the_noise_of_shared_noise_alone_does_not_leak_into_the_signal() -> None:
    source = np.random.default_rng(2)
    tuning = source.normal(size=(300, 2))  # independent tuning, strong common noise, two trials each
    x = np.repeat(tuning, 2, axis=0) + 2 * source.normal(size=(600, 1))
    found = signal_noise_correlation(x, np.repeat(range(300), 2))
    assert abs(found.signal[0, 1]) < 0.35  # the correlation of the raw means is about 0.67
    assert np.corrcoef(x.reshape(300, 2, 2).mean(axis=1), rowvar=False)[0, 1] > 0.55
    assert found.noise[0, 1] == pytest.approx(1)


def test_noise_is_the_weighted_mean_of_the_conditions_in_which_both_vary() -> None:
    source = np.random.default_rng(3)
    x, labels = source.poisson(3.0, (12, 2)), ["a"] * 5 + ["b"] * 7
    expected = (4 * np.corrcoef(x[:5].T)[0, 1] + 6 * np.corrcoef(x[5:].T)[0, 1]) / 10
    assert signal_noise_correlation(x, labels).noise[0, 1] == pytest.approx(expected)
    x[:5, 0] = 0  # silent under condition a
    assert signal_noise_correlation(x, labels).noise[0, 1] == pytest.approx(np.corrcoef(x[5:].T)[0, 1])
    x[:, 0] = 0
    found = signal_noise_correlation(x, labels)
    assert np.isnan(found.noise[0, 1]) and np.isnan(found.signal[0, 1]) and found.untuned >= 1


def test_bad_input() -> None:
    x = np.zeros((4, 2))
    with pytest.raises(InvalidValue, match="got 3 for 4 trials"):
        signal_noise_correlation(x, "abc")
    with pytest.raises(InvalidValue, match="there is one condition"):
        signal_noise_correlation(x, "aaaa")
    with pytest.raises(InvalidValue, match="condition 'b' has 1 trial"):
        signal_noise_correlation(x, "aaab")
    with pytest.raises(InvalidValue, match=r"allowed is \(trials, units\)"):
        signal_noise_correlation(np.zeros(4), "aabb")
    x[0, 0] = np.inf
    with pytest.raises(InvalidValue, match="NaN or infinite"):
        signal_noise_correlation(x, "aabb")
