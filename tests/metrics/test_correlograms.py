"""Correlograms of pairs against Elephant, jittered bands against enumeration and draws, and the size of both bands."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue, UnknownName
from neuro_decorr.recording import SpikeTrains
from tests._frequency import likely, of_size


def poisson(source: np.random.Generator, rate: float, stop: float) -> np.ndarray:
    return np.unique(source.uniform(0, stop, source.poisson(rate * stop)))


def pair(seed: int, stop: float = 30.0, rate: float = 15.0) -> SpikeTrains:
    """Independent spikes with one common rate that varies over a second."""
    source = np.random.default_rng(seed)
    times = [poisson(source, 2 * rate, stop) for _ in range(2)]
    return SpikeTrains(
        [unit[source.random(len(unit)) < 0.5 + 0.4 * np.sin(2 * np.pi * unit)] for unit in times], 0, stop, ["a", "b"]
    )


def test_counts_are_those_of_elephant() -> None:
    conversion = pytest.importorskip("elephant.conversion")
    correlation = pytest.importorskip("elephant.spike_train_correlation")
    neo, quantities = pytest.importorskip("neo"), pytest.importorskip("quantities")
    trains = pair(0)
    binned = [
        conversion.BinnedSpikeTrain(
            neo.SpikeTrain(unit, units="s", t_start=0.0, t_stop=30.0), bin_size=2 * quantities.ms
        )
        for unit in trains.times
    ]
    expected, lags = correlation.cross_correlation_histogram(*binned, window=[-15, 15], border_correction=False)
    found = metrics.pair_correlogram(trains, "a", "b", bin=0.002, max_lag=0.03, jitter=0.01, surrogates=39)
    np.testing.assert_array_equal(found.counts, expected.magnitude[:, 0])
    np.testing.assert_allclose(found.lags, lags * 0.002)
    np.testing.assert_allclose(found.rate, found.counts / len(trains.times[0]) / 0.002)


def test_mean_variance_and_bands_over_all_ways_to_jitter() -> None:
    first, second = np.array([0, 2, 3, 7, 8]), np.array([1, 2, 6])  # bins; intervals of four bins, three of them
    trains = SpikeTrains([(first + 0.5) * 0.001, (second + 0.5) * 0.001], 0, 0.012)
    found = metrics.pair_correlogram(trains, 0, 1, max_lag=0.003, jitter=0.004, surrogates=3999)
    drawn = []
    for moves in itertools.product(range(4), repeat=3):
        places = second // 4 * 4 + np.array(moves)
        lags = (places - first[:, None]).ravel()
        drawn.append([np.sum(lags == k) for k in range(-3, 4)])
    every = np.array(drawn)
    np.testing.assert_allclose(found.expected, every.mean(axis=0))
    scale = np.where(every.std(axis=0) > 0, every.std(axis=0), np.inf)
    farthest = np.abs((every - every.mean(axis=0)) / scale).max(axis=1)
    own = np.abs((found.counts - found.expected) / scale).max()
    assert found.p_value == pytest.approx((farthest >= own - 1e-9).mean(), abs=0.03)
    reach = (found.simultaneous_high - found.expected)[scale < np.inf] / scale[scale < np.inf]
    np.testing.assert_allclose(reach, np.quantile(farthest, 0.95, method="higher"), rtol=1e-6)
    np.testing.assert_array_equal(found.low, np.quantile(every, 0.025, axis=0, method="lower"))
    np.testing.assert_array_equal(found.high, np.quantile(every, 0.975, axis=0, method="higher"))


def test_precise_timing_is_found_at_its_lag() -> None:
    source = np.random.default_rng(1)
    trains = pair(1)
    followed = trains.times[0][source.random(len(trains.times[0])) < 0.2]
    times = np.unique(np.concatenate([trains.times[1], followed + 0.0035]))
    found = metrics.pair_correlogram(SpikeTrains([trains.times[0], times[times < 30]], 0, 30), 0, 1)
    assert found.p_value == 0.001
    assert found.lags[found.significant & (found.excess > 0)].min() >= 0.0025
    assert found.lags[np.argmax(found.excess)] == pytest.approx(0.0035, abs=0.001)
    at = np.abs(found.lags - 0.0035) < 0.001
    # One in ten jittered spikes falls into a bin of the peak, so that nine tenths of it are excess.
    assert found.excess[at].sum() == pytest.approx(0.9 * len(followed), rel=0.25)
    frame = found.to_frame()
    assert len(frame) == 101 and frame["significant"].sum() == found.significant.sum()


def outside(repetitions: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Whether counts of common slow rates leave the simultaneous band; and the pointwise one without lag."""
    tests, lags = [], []
    for seed in range(first, first + repetitions):
        found = metrics.pair_correlogram(
            pair(seed), "a", "b", surrogates=99, max_lag=0.02, seed=seed, bin=0.002, jitter=0.02
        )
        assert (found.p_value <= 0.05) == found.significant.any()
        tests.append(found.p_value <= 0.05)
        lags.append(not found.low[10] <= found.counts[10] <= found.high[10])
    return np.array(tests), np.array(lags)


def test_common_slow_rates_stay_within_the_bands() -> None:
    simultaneous, pointwise = outside(100)
    assert of_size(simultaneous)
    assert likely(pointwise, 0.01, 0.06)  # counts are discrete, their quantiles to the safe side


@pytest.mark.slow
def test_the_size_of_both_bands() -> None:
    simultaneous, pointwise = outside(2000)
    assert 0.02 <= simultaneous.mean() <= 0.08
    assert 0.01 <= pointwise.mean() <= 0.06


def test_spikes_in_intervals_that_a_gap_or_the_end_cuts_are_left_out() -> None:
    trains = SpikeTrains([[0.011, 0.095], [0.012, 0.045, 0.096, 0.103]], 0, 0.105, gaps=[(0.05, 0.07)])
    found = metrics.pair_correlogram(trains, 0, 1, jitter=0.02, surrogates=39)
    # Intervals end at 20, 40, 60, ... ms: that of 45 ms is cut by the gap, that of 103 ms by the end.
    assert found.counts.sum() == 2 and found.lags[found.counts > 0] == pytest.approx([0.001])
    assert found.warnings == ("2 spikes of '1' lie in cut intervals: left out",)


def test_a_unit_without_spikes() -> None:
    found = metrics.pair_correlogram(SpikeTrains([[], [0.5]], 0, 1), 0, 1, surrogates=39)
    assert not found.counts.any() and found.p_value == 1
    assert not metrics.pair_correlogram(SpikeTrains([[0.5], []], 0, 1), 0, 1, surrogates=39).significant.any()


def test_the_seed_decides() -> None:
    first, again, other = (metrics.pair_correlogram(pair(2), "a", "b", surrogates=39, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.simultaneous_high, again.simultaneous_high)
    assert not np.array_equal(first.simultaneous_high, other.simultaneous_high)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jitter": 0.0015}, "jitter: got 0.0015 s; allowed are 2 and more whole bins"),
        ({"jitter": 0.001}, "jitter: got 0.001 s"),
        ({"max_lag": 0.0}, "max_lag must be a finite number > 0"),
        ({"bin": -1}, "bin must be a finite number > 0"),
        ({"surrogates": 19}, "surrogates must be a whole number >= 39"),
        ({"jitter": 100.0}, "longer than the recording"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        metrics.pair_correlogram(pair(0), "a", "b", **arguments)


def test_bad_units() -> None:
    with pytest.raises(UnknownName, match="'c'"):
        metrics.pair_correlogram(pair(0), "a", "c")
    with pytest.raises(InvalidValue, match=r"twice|more than once"):
        metrics.pair_correlogram(pair(0), "a", "a")
