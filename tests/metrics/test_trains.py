"""Spike time tiling, surrogates and correlated processes by Elephant, against definitions and known correlations."""

from __future__ import annotations

import random

import numpy as np
import pytest

from neuro_decorr import data, metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import SpikeTrains, Trials

CPP = [0, 0.9, 0, 0, 0, 0.1]  # one event in ten makes all five units fire


def correlated(seed: int = 0) -> SpikeTrains:
    return data.compound_poisson_process(10, CPP, 200, seed=seed)


@pytest.mark.parametrize("bin", [0.005, 0.05])
def test_compound_poisson_trains_have_the_known_correlation_at_every_bin(bin: float) -> None:
    found = metrics.summary(correlated(), bin=bin)
    expected = (5 * 4 * 0.1) / (4 * (0.9 + 5 * 0.1))
    assert found["mean_correlation"].estimate == pytest.approx(expected, abs=0.03)
    assert found["mean_rate"].estimate == pytest.approx(10, abs=0.5)


def test_single_interaction_trains_have_the_known_correlation() -> None:
    trains = data.single_interaction_process(10, 4, 200, n_spiketrains=4, seed=1)
    found = metrics.summary(trains, bin=0.01)
    assert found.units == 4
    assert found["mean_correlation"].estimate == pytest.approx(0.4, abs=0.03)


def test_the_seed_decides_and_the_global_generators_stay() -> None:
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first, again, other = (correlated(seed) for seed in (0, 0, 1))
    surrogates = [metrics.surrogate_trains(first, seed=seed) for seed in (0, 0, 1)]
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    for a, b, c in ((first, again, other), surrogates):
        np.testing.assert_array_equal(a.times[0], b.times[0])
        assert not np.array_equal(a.times[0][:20], c.times[0][:20])


def tiling(a: np.ndarray, b: np.ndarray, dt: float, stop: float) -> float:
    """The definition, on a grid of tenths of a millisecond."""
    grid = np.arange(0, stop, 1e-4) + 5e-5

    def near(x: np.ndarray, spikes: np.ndarray) -> np.ndarray:
        return np.abs(x[:, None] - spikes).min(axis=1) <= dt

    ta, tb, pa, pb = near(grid, a).mean(), near(grid, b).mean(), near(a, b).mean(), near(b, a).mean()
    return float(((pa - tb) / (1 - pa * tb) + (pb - ta) / (1 - pb * ta)) / 2)


def test_spike_time_tiling_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.uniform(0, 3, 20)), np.sort(rng.uniform(0, 3, 20))
    b = np.sort(np.concatenate([b, a[:10] + 0.002]))
    found = metrics.spike_time_tiling(SpikeTrains([a, b, []], 0, 3), dt=0.005)
    assert found[0, 1] == found[1, 0] == pytest.approx(tiling(a, b, 0.005, 3), abs=0.005)
    assert found[0, 0] == 1
    assert np.isnan(found[2]).all()


@pytest.mark.parametrize(
    "method", ["dither_spikes", "dither_spike_train", "jitter_spikes", "shuffle_isis", "randomise_spikes"]
)
def test_surrogates_keep_the_rates_and_lose_the_correlation(method) -> None:
    trains = correlated()
    drawn = metrics.surrogate_trains(trains, method, dt=0.1)
    np.testing.assert_allclose(drawn.rate, trains.rate, rtol=0.01)
    assert metrics.summary(trains, bin=0.005, intervals=False)["mean_correlation"].estimate > 0.3
    assert abs(metrics.summary(drawn, bin=0.005, intervals=False)["mean_correlation"].estimate) < 0.06


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.compound_poisson_process(10, [0, 0.5, 0.6], 10), "that sum to 1"),
        (lambda: data.compound_poisson_process(-1, CPP, 10), "rate: got -1"),
        (lambda: data.compound_poisson_process(1, CPP, 10, seed=-1), "seed: got -1"),
        (lambda: data.single_interaction_process(5, 6, 10), "coincidence_rate below the rate"),
        (lambda: metrics.spike_time_tiling(correlated(), dt=0), "dt must be a finite number > 0, got 0"),
        (lambda: metrics.spike_time_tiling(SpikeTrains([[1.0]], 0, 2)), "got 1 unit"),
        (
            lambda: metrics.surrogate_trains(correlated(), "dither"),
            "one of .*'randomise_spikes', got 'dither'",
        ),
        (lambda: metrics.surrogate_trains(SpikeTrains([[1.0]], 0, 9, gaps=[(3, 4)])), "without gaps"),
    ],
)
def test_bad_arguments(call, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        call()


def test_fano_factor_is_variance_over_mean_of_the_trials() -> None:
    trials = Trials.every(2.0, 50, start=10)
    trains = SpikeTrains([*correlated().times, []], 0, 200, trials=trials)
    windows = list(zip(trials.start, trials.stop, strict=True))
    counts = np.array([[np.sum((unit >= a) & (unit < b)) for unit in trains.times] for a, b in windows])
    found = metrics.fano_factor(trains)
    np.testing.assert_allclose(found[:5], counts.var(axis=0)[:5] / counts.mean(axis=0)[:5])
    assert np.isnan(found[5])
    assert found[:5].mean() == pytest.approx(1, abs=0.35)
    with pytest.raises(InvalidValue, match="needs at least 2"):
        metrics.fano_factor(SpikeTrains([[1.0]], 0, 9, trials=Trials([0], [5])))
