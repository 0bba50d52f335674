"""Signal and noise correlations against all pairs of distinct trials, known models, and numpy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks import null_sizes as simulated
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import noise_correlations, signal_noise_correlation


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


@pytest.mark.parametrize("trials", [2, 3, 5])
def test_noise_correlations_are_not_drawn_to_zero_by_few_trials(trials: int) -> None:
    found = []
    for seed in range(30):
        source = np.random.default_rng(seed)
        means = np.repeat(3 * source.normal(size=(200, 2)), trials, axis=0)
        x = means + source.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 200 * trials)
        found.append(signal_noise_correlation(x, np.repeat(range(200), trials)).noise[0, 1])
    # One correlation of 200 (trials - 1) degrees of freedom has the deviation .75 over their root.
    assert np.mean(found) == pytest.approx(0.5, abs=4 * 0.75 / np.sqrt(30 * 200 * (trials - 1)))


def test_noise_is_pooled_covariance_over_pooled_variance() -> None:
    source = np.random.default_rng(3)
    x, labels = source.poisson(3.0, (12, 2)), ["a"] * 5 + ["b"] * 7
    pooled = 4 * np.cov(x[:5].T) + 6 * np.cov(x[5:].T)
    expected = pooled[0, 1] / np.sqrt(pooled[0, 0] * pooled[1, 1])
    assert signal_noise_correlation(x, labels).noise[0, 1] == pytest.approx(expected)
    x[:, 0] = 3
    found = signal_noise_correlation(x, labels)
    assert np.isnan(found.noise[0, 1]) and np.isnan(found.signal[0, 1]) and found.untuned >= 1


def test_bins_of_the_trials_are_cells_of_their_own() -> None:
    source = np.random.default_rng(4)
    recording = simulated.stimulus(np.ones((60, 10)), source)
    found = signal_noise_correlation(recording, bin=0.05)
    x, upper = recording.values.reshape(60, 20, 10), np.triu_indices(10, 1)
    expected = np.corrcoef((x - x.mean(axis=0)).reshape(-1, 10).T)
    np.testing.assert_allclose(found.noise, expected, atol=1e-12)
    np.testing.assert_allclose(found.noise, noise_correlations(recording, 0.05).matrices["grating"], atol=1e-12)
    cells = signal_noise_correlation(recording.values, np.tile(range(20), 60))
    np.testing.assert_allclose(found.signal, cells.signal, atol=1e-12)
    assert np.abs(found.signal[upper] - 1).max() < 0.1  # all follow one response
    assert abs(found.noise[upper].mean()) < 0.02
    whole = signal_noise_correlation(recording)  # one condition in one bin has no signal
    assert np.isnan(whole.signal).all() and whole.untuned == 0


def test_the_null_says_whether_noise_is_shared() -> None:
    source = np.random.default_rng(5)
    labels = source.permutation(np.repeat(range(10), 8))
    tuned = 5 * source.normal(size=(10, 1))[labels] + source.normal(size=(80, 6))  # one tuning, noise of their own
    found = signal_noise_correlation(tuned, labels, surrogates=99)
    assert found.null is not None and found.null.kind == "trial_shuffle"
    upper = np.triu_indices(6, 1)
    assert found.null.observed == pytest.approx(np.abs(found.noise[upper]).mean(), abs=1e-5)
    assert found.null.p_value > 0.05
    shared = signal_noise_correlation(tuned + source.normal(size=(80, 1)), labels, surrogates=99)
    assert shared.null is not None and shared.null.p_value == 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("conditions", "trials"), [(40, 3), (3, 20)])
@pytest.mark.parametrize("kind", ["constant", "linear trends", "random walks", "states of 3 trials"])
def test_size_of_the_null_with_drifts_over_the_session(kind: str, conditions: int, trials: int) -> None:
    reached = []
    for seed in range(400):
        source = np.random.default_rng(seed)
        labels = source.permutation(np.repeat(range(conditions), trials))
        tuning = 10 * np.exp(0.5 * source.normal(size=(conditions, 10)))
        x = source.poisson(tuning[labels] * simulated.OVER_TRIALS[kind](len(labels), 10, source))
        null = signal_noise_correlation(x, labels, surrogates=19, seed=seed).null
        assert null is not None
        reached.append(null.p_value <= 0.05)
    assert 0.02 <= np.mean(reached) <= 0.08


def test_bad_input() -> None:
    x = np.zeros((4, 2))
    with pytest.raises(InvalidValue, match="got 3 for 4 trials"):
        signal_noise_correlation(x, "abc")
    with pytest.raises(InvalidValue, match="condition 'b' has 1 trial"):
        signal_noise_correlation(x, "aaab")
    with pytest.raises(InvalidValue, match=r"allowed is \(trials, units\)"):
        signal_noise_correlation(np.zeros(4), "aabb")
    with pytest.raises(InvalidValue, match="without bin"):
        signal_noise_correlation(x, "aabb", 0.05)
    with pytest.raises(InvalidValue, match="have conditions already"):
        signal_noise_correlation(simulated.stimulus(np.ones((4, 2)), np.random.default_rng(0)), "aabb")
    with pytest.raises(InvalidValue, match="surrogates must be a whole number >= 19"):
        signal_noise_correlation(x, "aabb", surrogates=5)
    x[0, 0] = np.inf
    with pytest.raises(InvalidValue, match="NaN or infinite"):
        signal_noise_correlation(x, "aabb")
