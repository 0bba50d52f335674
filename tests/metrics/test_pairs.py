"""Correlation against distance, rate and signal: known profiles, exact exchanges, coverage over units and over time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.dyads import Groups
from neuro_decorr.recording import Rates, SpikeTrains, Trials
from tests._frequency import covers, of_size


def upper(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


def field(source: np.random.Generator, units: int, samples: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Units on a square of a millimetre, r = 0.4 exp(-(distance / reach)^2)."""
    places = source.uniform(0, 1000, (units, 2))
    distance = np.sqrt(((places[:, None] - places) ** 2).sum(axis=-1))
    covariance = 0.4 * np.exp(-((distance / reach) ** 2)) + 0.6 * np.eye(units)
    return source.multivariate_normal(np.zeros(units), covariance, samples), places


def test_groups_and_trends_by_loops() -> None:
    x, places = field(np.random.default_rng(0), 12, 400, 300)
    found = metrics.pair_profile(x, against="distance", positions=places, edges=[0, 200, 500, 1500])
    r, distance = np.corrcoef(x.T), np.sqrt(((places[:, None] - places) ** 2).sum(axis=-1))
    inside: list[list[float]] = [[], [], []]
    for i, j in itertools.combinations(range(12), 2):
        inside[int(np.searchsorted([200, 500], distance[i, j], side="right"))].append(r[i, j])
    np.testing.assert_allclose(found.mean, [np.mean(values) for values in inside])
    assert found.pairs.tolist() == [len(values) for values in inside]
    slope, _ = np.polyfit(upper(distance), upper(r), 1)
    assert found.slope.estimate == pytest.approx(slope)
    assert found.mantel.estimate == pytest.approx(np.corrcoef(upper(distance), upper(r))[0, 1])
    np.testing.assert_allclose(np.sort(found.x), np.sort(upper(distance)))
    np.testing.assert_allclose(np.sort(found.r), np.sort(upper(r)))


def test_a_known_profile_is_found_and_independent_units_stay_within_their_floor() -> None:
    x, places = field(np.random.default_rng(1), 40, 4000, 300)
    found = metrics.pair_profile(x, against="distance", positions=places, groups=5)
    np.testing.assert_allclose(found.mean, 0.4 * np.exp(-((found.centre / 300) ** 2)), atol=0.06)
    assert found.mantel.p_value == 0.001 and found.slope.high < 0
    assert found.mean[0] > found.null_high[0] and found.mean[-1] < found.null_low[-1]
    assert found.mean[0] > 10 * found.floor[0]
    alone = metrics.pair_profile(np.random.default_rng(2).normal(size=(4000, 40)), against="distance", positions=places)
    np.testing.assert_allclose(alone.floor, 1.96 / np.sqrt(3999 * alone.pairs), rtol=0.02)
    assert (np.abs(alone.mean) < 2 * alone.floor).all()
    assert len(found.to_frame()) == 5 and found.axis == "distance (µm)"


def test_positions_of_the_recording_are_taken_and_those_without_are_left_out() -> None:
    x, places = field(np.random.default_rng(3), 12, 300, 300)
    places[3] = np.nan
    found = metrics.pair_profile(x, against="distance", positions=places, permutations=19)
    expected = metrics.pair_profile(
        np.delete(x, 3, axis=1), against="distance", positions=np.delete(places, 3, axis=0), permutations=19
    )
    np.testing.assert_allclose(found.mean, expected.mean)
    np.testing.assert_allclose(found.low, expected.low)
    assert found.warnings == ("1 units are left out: they never vary or have no distance",)
    source = np.random.default_rng(4)
    times = [np.unique(source.uniform(0, 60, 300)) for _ in range(6)]
    trains = SpikeTrains(times, 0, 60, positions=np.arange(12.0).reshape(6, 2))
    along = metrics.pair_profile(trains, 0.1, against="distance", permutations=19)
    assert along.x.max() == pytest.approx(np.sqrt(200))


def test_rates_of_spike_trains_and_pairs_outside_the_edges() -> None:
    source = np.random.default_rng(5)
    times = [np.unique(source.uniform(0, 100, 100 * rate)) for rate in (1, 2, 4, 8, 16)]
    found = metrics.pair_profile(SpikeTrains(times, 0, 100), 0.05, against="rate", edges=[2, 6, 20], permutations=19)
    expected = sorted(np.sqrt(a * b) for a, b in itertools.combinations([1, 2, 4, 8, 16], 2))
    np.testing.assert_allclose(np.sort(found.x), expected, rtol=0.01)
    assert found.pairs.sum() == sum(value >= 2 for value in expected)
    assert "1 pairs lie outside the edges" in found.warnings[0]
    assert found.axis == "geometric mean rate (Hz)"


def test_thinned_spikes_correlate_as_their_rate_says() -> None:
    # Thinning of one common process to rates a, b: coincidences in small bins give r = sqrt(a b) / rate.
    source = np.random.default_rng(6)
    common = np.unique(source.uniform(0, 200, 4_000))
    kept = np.linspace(0.05, 0.9, 10)
    trains = SpikeTrains([common[source.random(len(common)) < share] for share in kept], 0, 200)
    found = metrics.pair_profile(trains, 0.001, against="rate", permutations=99)
    assert found.slope.estimate == pytest.approx(1 / 20, rel=0.08)
    assert found.mantel.estimate > 0.98 and found.mantel.p_value == 0.01


def tuned(source: np.random.Generator, units: int, limit: float) -> Rates:
    """Eight orientations, 20 trials each; noise correlations `limit` times the signal correlations."""
    angles = source.uniform(0, np.pi, units)
    tuning = 2 * np.cos(2 * (np.arange(8)[:, None] * np.pi / 8 - angles))
    covariance = limit * np.cos(2 * (angles[:, None] - angles)) + (1 - limit) * np.eye(units)
    x = np.repeat(tuning, 20, axis=0) + source.multivariate_normal(np.zeros(units), covariance, 160)
    labels = np.repeat(np.arange(8), 20)
    order = source.permutation(160)
    return Rates(x[order], step=1.0, trials=Trials(np.arange(160.0), np.arange(1.0, 161), labels[order]))


def test_noise_against_signal_correlation() -> None:
    found = metrics.pair_profile(tuned(np.random.default_rng(7), 20, 0.4), against="signal")
    assert found.slope.estimate == pytest.approx(0.4, abs=0.06)
    assert found.slope.low < 0.4 < found.slope.high and found.mantel.p_value == 0.001
    np.testing.assert_allclose(found.x.min(), -1, atol=0.1)


def test_noise_that_has_nothing_to_do_with_the_signal() -> None:
    found = [
        metrics.pair_profile(tuned(np.random.default_rng(seed), 10, 0.0), against="signal", permutations=99, seed=seed)
        for seed in range(40)
    ]
    assert of_size([profile.slope.p_value <= 0.05 for profile in found])


def test_exchanges_of_five_units_against_all_of_them() -> None:
    x, places = field(np.random.default_rng(8), 5, 100, 300)
    r, distance = np.corrcoef(x.T), np.sqrt(((places[:, None] - places) ** 2).sum(axis=-1))
    every = [
        np.corrcoef(upper(distance), upper(r[np.ix_(order, order)]))[0, 1]
        for order in map(list, itertools.permutations(range(5)))
    ]
    found = metrics.pair_profile(x, against="distance", positions=places, groups=2, permutations=3999).mantel
    assert found.p_value == pytest.approx(np.mean(np.abs(every) >= abs(found.estimate) - 1e-9), abs=0.03)


def dyads(repetitions: int, units: int, shared: float, first: int = 0) -> np.ndarray:
    """Whether the intervals of three groups, and of the slope, cover: r = 0.1 - x / 10 + effects of both units."""
    found = []
    rows, columns = np.triu_indices(units, 1)
    for seed in range(first, first + repetitions):
        source = np.random.default_rng(seed)
        places, effect = source.uniform(0, 1, (units, 2)), shared * source.normal(size=units)
        x = np.sqrt(((places[rows] - places[columns]) ** 2).sum(axis=-1))
        r = 0.1 - x / 10 + effect[rows] + effect[columns] + 0.1 * source.normal(size=len(x))
        groups = Groups.of(x, [0, 0.3, 0.6, 1.5], 3)
        low, high = groups.over_units(r, units, 0.95)
        truth = np.append(groups.means(0.1 - x / 10), -0.1)
        found.append((low[:4] <= truth) & (truth <= high[:4]))
    return np.array(found)


@pytest.mark.parametrize("shared", [0.0, 0.1])
def test_intervals_over_units_cover(shared: float) -> None:
    for hits in dyads(150, 25, shared).T:
        assert covers(hits)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("units", [12, 25, 60])
def test_intervals_over_units_cover_at_each_number(units: int, shared: float) -> None:
    means = dyads(1000, units, shared).mean(axis=0)
    # Without effects of units it errs to the safe side, as the docstring of `over_units` says.
    assert (means >= 0.92).all() and (means <= (1.0 if shared == 0 else 0.98)).all(), means


def profiles(repetitions: int, units: int, first: int = 0) -> tuple[list[bool], list[bool]]:
    """Whether an exchange finds a slope that is not there, and whether the interval over time covers r = 0.2."""
    told, covered = [], []
    for seed in range(first, first + repetitions):
        source = np.random.default_rng(seed)
        x = 0.8**0.5 * source.normal(size=(640, units)) + 0.2**0.5 * source.normal(size=(640, 1))
        found = metrics.pair_profile(
            x,
            against="distance",
            positions=source.uniform(0, 1, units),
            permutations=99,
            over="time",
            groups=2,
            seed=seed,
        )
        told.append(found.slope.p_value <= 0.05)
        covered.append(found.low[0] <= 0.2 <= found.high[0])
    return told, covered


def test_the_size_of_exchanges_and_the_coverage_over_time() -> None:
    told, covered = profiles(40, 6)
    assert of_size(told)
    assert covers(covered)


@pytest.mark.slow
def test_the_size_of_exchanges_and_the_coverage_over_time_at_length() -> None:
    told, covered = profiles(1000, 12)
    assert 0.02 <= np.mean(told) <= 0.08
    assert 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"against": "depth"}, "against must be one of 'distance', 'rate', 'signal'"),
        ({"against": "distance"}, "the recording has none"),
        ({"against": "distance", "positions": np.zeros((3, 2))}, r"got shape \(3, 2\) for 6 units"),
        ({"against": "distance", "positions": np.zeros(6)}, "all have x = 0"),
        ({"against": "distance", "positions": range(6), "edges": [2, 1]}, "edges: got .*; allowed are two numbers"),
        ({"against": "distance", "positions": range(6), "edges": [50, 60]}, "no pair lies in 50 to 60"),
        ({"against": "rate"}, "some mean values are negative"),
        ({"against": "signal"}, "an array has no trials"),
        ({"against": "rate", "permutations": 5}, "permutations must be a whole number >= 19"),
        ({"against": "rate", "over": "trials"}, "over must be one of 'units', 'time'"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        metrics.pair_profile(np.random.default_rng(9).normal(-1, 1, (100, 6)), **arguments)


def test_too_few_units() -> None:
    x = np.random.default_rng(10).normal(size=(100, 6))
    x[:, :2] = 0
    with pytest.raises(InvalidValue, match="4 units have correlations and distance; at least 5"):
        metrics.pair_profile(x, against="distance", positions=range(6))
    with pytest.raises(InvalidValue, match="over: got 'time'"):
        metrics.pair_profile(tuned(np.random.default_rng(11), 6, 0.0), against="signal", over="time")
