"""Quality of units: counts by loops, contamination of known trains, duplicates, wrong units of time, sizes of tests."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import coincidences, quality
from neuro_decorr.recording import SpikeTrains
from tests._frequency import covers, likely, of_size


def poisson(source: np.random.Generator, rate: float, stop: float) -> np.ndarray:
    return np.unique(source.uniform(0, stop, source.poisson(rate * stop)))


def neuron(source: np.random.Generator, rate: float, stop: float, refractory: float = 0.003) -> np.ndarray:
    """A Poisson process with a dead time."""
    gaps = refractory + source.exponential(1 / rate - refractory, int(2 * rate * stop) + 20)
    times = np.cumsum(gaps)
    return times[times < stop]


@settings(max_examples=40)
@given(seed=st.integers(0, 2**16), window=st.sampled_from([0.0005, 0.01, 0.2]), rate=st.floats(0.5, 30))
def test_coincidences_and_short_intervals_by_loops(seed: int, window: float, rate: float) -> None:
    source = np.random.default_rng(seed)
    trains = SpikeTrains([poisson(source, rate, 5.0) for _ in range(3)], 0, 5)
    found = coincidences.coincidences(*coincidences.merged(trains), 3, window)
    expected = [[np.sum(np.abs(a[:, None] - b) <= window) for b in trains.times] for a in trains.times]
    np.testing.assert_array_equal(found, np.array(expected) * (1 - np.eye(3, dtype=int)))
    for unit in trains.times:
        distance = unit - unit[:, None]
        inside = (distance >= window / 2) & (distance < window)
        assert coincidences.short_intervals(unit, window / 2, window) == inside.sum()


def test_spikes_on_a_grid_coincide_at_just_the_window() -> None:
    trains = SpikeTrains([np.arange(1, 50) * 0.0015, np.arange(1, 50) * 0.0015 + 0.0005], 0, 1)
    found = coincidences.coincidences(*coincidences.merged(trains), 2, 0.0005)
    assert found[0, 1] == 49


def test_expected_coincidences_are_those_of_jittered_spikes() -> None:
    source = np.random.default_rng(0)
    rate = lambda times: times[source.random(len(times)) < 0.5 + 0.5 * np.sin(2 * np.pi * times)]  # noqa: E731
    times = [rate(poisson(source, 40, 10.0)) for _ in range(3)]
    times[1] = np.unique(np.concatenate([times[0][::2] + 1e-4, times[1]]))
    expected = coincidences.jittered(*coincidences.merged(SpikeTrains(times, 0, 11)), 3, 0.004, 0.02)
    drawn = []
    for _ in range(400):
        moved = [np.sort(np.floor(unit / 0.02) * 0.02 + source.uniform(0, 0.02, len(unit))) for unit in times]
        both = [(0, 1), (0, 2), (1, 2)]
        drawn.append([np.sum(np.abs(moved[i][:, None] - moved[j]) <= 0.004) for i, j in both])
    means, errors = np.mean(drawn, axis=0), np.std(drawn, axis=0) / 400**0.5
    np.testing.assert_array_less(np.abs(expected[[0, 0, 1], [1, 2, 2]] - means), 4 * errors)
    # The Poisson law, whose tails are taken, is wider by the share of spikes of one interval that coincide.
    np.testing.assert_allclose(np.var(drawn, axis=0), (1 - 0.36) * means, rtol=0.3)


def test_a_duplicate_is_found_with_its_share() -> None:
    source = np.random.default_rng(1)
    times = [neuron(source, rate, 200) for rate in (5, 8, 12)]
    copied = source.random(len(times[0])) < 0.8
    times.append(np.unique(times[0][copied] + source.uniform(-2e-4, 2e-4, copied.sum())))
    found = metrics.unit_quality(SpikeTrains(times, 0, 201, ["a", "b", "c", "d"]))
    assert found.duplicates == (("a", "d"),)
    pair = found.pairs_frame().iloc[0]
    assert (pair["first"], pair["second"], pair["duplicate"]) == ("a", "d", True)
    assert pair["share"] == pytest.approx(1, abs=0.02)  # of the smaller unit's spikes
    assert pair["excess_low"] < pair["excess"] < pair["excess_high"] and pair["excess_low"] > 10
    assert any("'a' and 'd' share" in line for line in found.warnings)
    assert len(found.pairs_frame(everything=True)) == 6


def test_lost_overlaps_are_a_deficit() -> None:
    source = np.random.default_rng(2)
    a, b = neuron(source, 20, 500), neuron(source, 30, 500)
    near = np.abs(a - b[np.clip(np.searchsorted(b, a), 0, len(b) - 1)]) < 0.0005
    near |= np.abs(a - b[np.clip(np.searchsorted(b, a) - 1, 0, len(b) - 1)]) < 0.0005
    found = metrics.unit_quality(SpikeTrains([a[~near], b], 0, 501))
    assert found.coincidences[0, 1] == 0 and found.q_value[0, 1] < 1e-6
    assert any("fewer coincident spikes" in line for line in found.warnings)


@pytest.mark.parametrize("many", [True, False])
def test_contamination_of_known_trains(many: bool) -> None:
    source = np.random.default_rng(3)
    name = "many" if many else "one"
    share, hits, estimates = 0.15, [], []
    for _ in range(60):
        own = neuron(source, 20, 400)
        other = (poisson if many else neuron)(source, 20 * share / (1 - share), 400)
        both = SpikeTrains([np.unique(np.concatenate([own, other]))], 0, 400)
        columns = metrics.unit_quality(both, refractory=0.002).columns
        truth = len(other) / both.spikes
        hits.append(columns[f"contamination_{name}_low"][0] <= truth <= columns[f"contamination_{name}_high"][0])
        estimates.append(columns[f"contamination_{name}"][0])
    assert covers(hits)
    assert np.mean(estimates) == pytest.approx(share, abs=0.01)


def test_contamination_with_a_censored_period_and_its_limits() -> None:
    source = np.random.default_rng(4)
    times = poisson(source, 50, 200)
    kept = [times[0]]
    for time in times[1:].tolist():
        if time - kept[-1] >= 0.001:  # what detection leaves of a Poisson process: contaminated throughout
            kept.append(time)
    clean = neuron(source, 10, 200)
    found = metrics.unit_quality(SpikeTrains([kept, clean, []], 0, 200), refractory=0.003, censored=0.001)
    # Three of four pairs lie between the censored and the refractory period; (1 - C)^2 is what is missing.
    assert found.columns["contamination_many_high"][0] > 0.8
    assert found.columns["violations"][1] == 0
    assert found.columns["contamination_many"][1] == found.columns["contamination_one_low"][1] == 0
    assert np.isnan(found.columns["contamination_many"][2])


def test_contamination_of_a_regular_train_by_hand() -> None:
    times = np.sort(np.append(np.arange(1, 1001) * 0.02, [1.022, 5.022, 9.022, 13.0205]))
    found = metrics.unit_quality(SpikeTrains([times], 0, 20.1), refractory=0.003, censored=0.001).columns
    assert found["violations"][0] == 3  # the fourth lies within the censored period
    pairs = 1004**2 * 0.002
    assert found["contamination_many"][0] == pytest.approx(1 - np.sqrt(1 - 3 * (20.1 - 2 * 1004 * 0.001) / pairs))
    share = found["contamination_one"][0]
    assert 2 * share * (1 - share) * pairs / 20.1 == pytest.approx(3)


def test_intervals_of_poisson_counts_are_exact() -> None:
    counts = np.array([0, 1, 7, 300])
    low, high = quality.poisson_bounds(counts, 0.9)
    assert low[0] == 0
    np.testing.assert_allclose(scipy.stats.poisson.sf(counts[1:] - 1, low[1:]), 0.05)
    np.testing.assert_allclose(scipy.stats.poisson.cdf(counts, high), 0.05)


def test_presence_with_gaps() -> None:
    source = np.random.default_rng(5)
    steady = poisson(source, 2, 600)
    gaps = [(100.0, 200.0)]
    steady = steady[(steady < 100) | (steady > 200)]
    gone = steady[steady < 400]
    found = metrics.unit_quality(SpikeTrains([steady, gone], 0, 600, gaps=gaps))
    assert found.columns["presence"][0] == 1  # stretches of ten seconds, those in the gap do not count
    assert found.columns["presence"][1] == pytest.approx(30 / 50)
    assert found.columns["presence_expected"][0] > 0.99 > found.columns["presence"][1]
    assert any("1 of 2 units have stretches of silence" in line for line in found.warnings)


@pytest.mark.parametrize(
    ("factor", "told"),
    [(1000, "milliseconds"), (30_000, "samples at 30 kHz"), (1e-3, "divided by 1,000"), (1, None)],
)
def test_a_wrong_unit_of_time_shows_in_the_rates(factor: float, told: str | None) -> None:
    source = np.random.default_rng(6)
    trains = [neuron(source, rate, 100) * factor for rate in (2, 5, 20)]
    warnings = metrics.unit_quality(SpikeTrains(trains, 0, 100 * factor)).warnings
    about = [line for line in warnings if "are the times seconds?" in line]
    assert (told in about[0]) if told else not about


def test_whole_numbers_and_whole_milliseconds_are_told() -> None:
    source = np.random.default_rng(7)
    trains = [np.unique(np.round(neuron(source, rate, 100), 3)) for rate in (5, 20)]
    assert any("whole milliseconds" in line for line in metrics.unit_quality(SpikeTrains(trains, 0, 101)).warnings)
    samples = SpikeTrains([np.unique(np.round(unit * 1000)) for unit in trains], 0, 101_000)
    assert any("whole numbers" in line for line in metrics.unit_quality(samples).warnings)


def test_clean_units_give_no_warning() -> None:
    source = np.random.default_rng(8)
    found = metrics.unit_quality(SpikeTrains([neuron(source, rate, 300) for rate in (3, 8, 15)], 0, 301))
    assert found.warnings == ()
    frame = found.to_frame()
    np.testing.assert_allclose(frame["rate"], [3, 8, 15], rtol=0.15)
    np.testing.assert_allclose(frame["violations_expected"], frame["rate"] ** 2 * 301 * 0.0015, rtol=0.01)


def excesses(repetitions: int, first: int = 0) -> np.ndarray:
    """Whether independent units with one common rate, slower than the jitter, are told to coincide."""
    found = []
    for seed in range(first, first + repetitions):
        source = np.random.default_rng(seed)
        trains = []
        for _ in range(2):
            times = poisson(source, 60, 60)
            trains.append(times[source.random(len(times)) < 0.5 + 0.5 * np.sin(2 * np.pi * times)])
        found.append(metrics.unit_quality(SpikeTrains(trains, 0, 60)).p_value[0, 1] <= 0.05)
    return np.array(found)


def test_common_slow_rates_are_no_excess() -> None:
    assert of_size(excesses(100))


@pytest.mark.slow
def test_the_size_of_excesses() -> None:
    assert 0.02 <= excesses(1500).mean() <= 0.08


def test_presence_falls_below_its_floor_as_rarely_as_said() -> None:
    below = []
    for seed in range(100):
        columns = metrics.unit_quality(SpikeTrains([poisson(np.random.default_rng(seed), 0.02, 3000)], 0, 3000)).columns
        below.append(columns["presence"][0] < columns["presence_floor"][0])
    assert likely(below, 0.0, 0.025)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"refractory": 0}, "refractory must be a finite number > 0"),
        ({"censored": 0.002}, "censored must be a finite number >= 0 and < 0.0015"),
        ({"coincidence": 0.01}, "coincidence must be a finite number > 0 and <= 0.005"),
        ({"stretches": 1}, "stretches must be a whole number >= 2"),
        ({"level": 95}, "level: got 95"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        metrics.unit_quality(SpikeTrains([[1.0], [2.0]], 0, 3), **arguments)


def test_no_spikes_at_all() -> None:
    with pytest.raises(InvalidValue, match="no unit has a spike"):
        metrics.unit_quality(SpikeTrains([[], []], 0, 3))
