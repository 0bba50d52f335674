"""Comparisons at equal numbers of samples and at matched rates, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.comparison import _difference, _factor, _periods, _Side
from neuro_decorr.recording import Rates, SpikeTrains, Trials
from tests._frequency import covers


def poisson(rate: float, duration: float, units: int = 12, seed: int = 0, **options) -> SpikeTrains:
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.uniform(0, duration, rng.poisson(rate * duration))) for _ in range(units)]
    return SpikeTrains(times, 0, duration, **options)


def common(seed: int, rate: float, r: float, duration: float = 100.0, units: int = 12) -> SpikeTrains:
    """Poisson trains that each take a share r of the spikes of one mother train: the correlation is r."""
    rng = np.random.default_rng(seed)
    mother = np.sort(rng.uniform(0, duration, rng.poisson(rate / r * duration)))
    return SpikeTrains([mother[rng.random(len(mother)) < r] for _ in range(units)], 0, duration)


@pytest.mark.parametrize(
    ("pieces", "length", "expected"),
    [
        (100, 100, [(0, 100)]),
        (104, 100, [(0, 100)]),
        (190, 100, [(0, 100), (90, 190)]),
        (300, 100, [(0, 100), (100, 200), (200, 300)]),
        (1500, 100, [(200 * k, 200 * k + 100) for k in range(8)]),
    ],
)
def test_periods_cover_as_much_as_can_be(pieces: int, length: int, expected: list[tuple[int, int]]) -> None:
    assert _periods(pieces, length) == expected
    # The variance of means over these periods, of white noise, over that of one period.
    weights = np.zeros(pieces)
    for first, last in expected:
        weights[first:last] += 1 / len(expected) / length
    assert _factor(pieces, length) == pytest.approx(np.square(weights).sum() * length)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [((48, 80), (56, 70), 0.0524, 0.3339), ((3, 10), (9, 10), 0.1705, 0.8090), ((0, 10), (10, 10), 0.6075, 1.0)],
)
def test_the_interval_of_a_difference_is_that_of_newcombe(first, second, low: float, high: float) -> None:
    """Newcombe (1998), Statist. Med. 17: 873, table II, method 10: that of two shares from both intervals of Wilson."""
    sides = []
    for hits, runs in (first, second):
        own = scipy.stats.binomtest(hits, runs).proportion_ci(method="wilson")
        sides.append(_Side(own.low, hits / runs, own.high))
    assert _difference(*sides) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_of_a_difference_follows_from_those_of_both_summaries() -> None:
    first, second = correlated(0, 0.3), correlated(1, 0.02)
    found = metrics.comparison(first, second)
    own, other = metrics.summary(first), metrics.summary(second)
    for name in ("mean_variance", "mean_correlation", "mean_absolute_correlation", "leading_fraction", "whiteness"):
        a, b, row = own[name], other[name], found[name]
        down, up = (b.estimate - b.low) ** 2 + (a.high - a.estimate) ** 2, (b.high - b.estimate) ** 2
        up += (a.estimate - a.low) ** 2
        assert row.difference - row.low == pytest.approx(down**0.5, rel=1e-6), name
        assert row.high - row.difference == pytest.approx(up**0.5, rel=1e-6), name


def correlated(seed: int, r: float, samples: int = 400, units: int = 10) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (1 - r) ** 0.5 * rng.normal(size=(samples, units)) + r**0.5 * rng.normal(size=(samples, 1))


TRUE_CHANGES = ("mean_correlation", "mean_squared_correlation", "participation_ratio", "leading_fraction")


@pytest.mark.parametrize(
    ("runs", "samples"),
    [
        (5, (400, 400)),
        pytest.param(400, (400, 400), marks=pytest.mark.slow),
        pytest.param(200, (400, 1200), marks=pytest.mark.slow),
    ],
)
def test_intervals_of_a_true_difference_cover(runs: int, samples: tuple[int, int]) -> None:
    found = [
        metrics.comparison(correlated(2 * k, 0.3, samples[0]), correlated(2 * k + 1, 0.05, samples[1]))
        for k in range(runs)
    ]
    for name in TRUE_CHANGES:
        rows = [one[name] for one in found]
        # The mean correlation has a truth; others have that of their mean over repetitions at this number of samples.
        truth = -0.25 if name == "mean_correlation" else np.mean([row.difference for row in rows])
        assert covers([row.low <= truth <= row.high for row in rows]), name


def test_unequal_lengths_are_measured_at_equal_numbers_of_samples() -> None:
    first, second = poisson(8, 30), poisson(8, 60, seed=1)
    found = metrics.comparison(first, second, 0.05)
    assert (found.samples, found.periods) == (600, (1, 2))
    halves = [second.window(30 * k, 30 * k + 30) for k in range(2)]
    parts = [metrics.summary(part, bin=0.05, intervals=False) for part in halves]
    whole = metrics.summary(first, bin=0.05, intervals=False)
    for name in ("mean_rate", "mean_variance", "mean_absolute_correlation", "whiteness", "mean_cv2"):
        row = found[name]
        assert row.first == pytest.approx(whole[name].estimate, rel=1e-6), name
        low, high = (edge([part[name].estimate for part in parts]) for edge in (min, max))
        # CV2 of a window lacks the intervals that reach over its edges, a few per cent of a per cent.
        assert low * 0.999 <= row.second <= high * 1.001, name
        assert row.difference == pytest.approx(row.second - row.first)
        assert row.low < row.difference < row.high
    for name in ("mean_absolute_correlation", "participation_ratio", "whiteness"):
        # That of whiteness has the measured variances, whose scatter over 12 units moves it by 7 % (one deviation).
        assert found[name].first_floor == pytest.approx(found[name].second_floor, rel=0.2)  # 1.41 at unequal numbers
    back = metrics.comparison(second, first, 0.05)
    assert back["mean_rate"].difference == pytest.approx(-found["mean_rate"].difference)
    assert back.periods == (2, 1)


def test_thinned_spikes_lower_correlations_but_not_at_matched_rates() -> None:
    full, other = common(0, 8.0, 0.1), common(2, 8.0, 0.1)
    rng = np.random.default_rng(1)
    thinned = SpikeTrains([times[rng.random(len(times)) < 0.2] for times in other.times], 0, 100)
    found = metrics.comparison(full, thinned, 0.05)
    for name in ("mean_correlation", "mean_absolute_correlation", "mean_squared_correlation"):
        assert found.rows[name].high < 0, name
        assert found.matched[name].low < 0 < found.matched[name].high, name
    assert found["mean_rate"].ratio == pytest.approx(0.2, rel=0.05)
    assert found.matched["mean_rate"].ratio == pytest.approx(1, abs=0.05)
    for name in ("mean_fano_factor", "mean_cv2"):  # of a Poisson process both are one, whatever its rate
        assert found[name].low < 0 < found[name].high
    assert found.rates is not None and found.geometric_rates is not None
    np.testing.assert_allclose(found.rates[0], full.rate, rtol=1e-2)
    np.testing.assert_allclose(found.geometric_rates[1, 0], math.sqrt(thinned.rate[0] * thinned.rate[1]), rtol=1e-2)
    assert found.correlations.shape == found.geometric_rates.shape == (2, 66)


def test_a_true_change_is_found_and_paired() -> None:
    found = metrics.comparison(common(0, 8.0, 0.2), common(1, 8.0, 0.05), 0.05)
    row = found["mean_correlation"]
    assert row.low < -0.15 < row.high < 0
    assert found.paired is not None and found.paired.high < 0
    table = found.to_frame()
    assert table["measure"].iloc[-1] == "mean_correlation (paired)"
    assert set(table["rates"]) == {"as recorded", "matched"}
    assert table["difference"].iloc[-1] == found.paired.mean


def test_what_is_no_count_has_no_matched_rates() -> None:
    rng = np.random.default_rng(0)
    first, second = (Rates(rng.normal(size=(400, 4)), step=0.1) for _ in range(2))
    found = metrics.comparison(first, second)
    assert found.matched == {} and found.rates is None and found.geometric_rates is None
    assert str(metrics.comparison(first.values, second.values).rows) == str(found.rows)  # NaN equals no NaN


def test_counts_of_arrays_are_thinned_too() -> None:
    rng = np.random.default_rng(0)
    found = metrics.comparison(rng.poisson(2.0, (500, 3)), rng.poisson(1.0, (500, 3)))
    assert found["mean_variance"].ratio == pytest.approx(0.5, rel=0.15)
    assert found.matched["mean_variance"].ratio == pytest.approx(1, rel=0.2)


def test_trials_are_compared_with_trials() -> None:
    trials = Trials.every(1.0, 40)
    first, second = poisson(10, 40, trials=trials), poisson(10, 40, seed=1, trials=trials)
    found = metrics.comparison(first, second, 0.1, over="trials")
    assert found.samples == 400
    assert found["mean_correlation"].low < 0 < found["mean_correlation"].high


def test_units_that_one_recording_lacks_are_left_out_and_told() -> None:
    first = poisson(8, 60, units=4)
    second = SpikeTrains([*poisson(8, 60, units=3, seed=1).times, []], 0, 60)
    found = metrics.comparison(first, second, 0.1)
    assert found.units == ("0", "1", "2")
    assert found.warnings[0] == "1 units never vary in one of both: left out"
    fewer = metrics.comparison(first, second.select(["2", "0", "1"]), 0.1)
    assert fewer.units == ("0", "1", "2")
    assert "1 units are in one recording only" in fewer.warnings[0]
    assert fewer["mean_correlation"].second == pytest.approx(found["mean_correlation"].second)


def test_slow_changes_have_no_interval_and_a_warning() -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 4, 2_000)[:, None]
    found = metrics.comparison(rng.normal(size=(2_000, 4)) + ramp, rng.normal(size=(2_000, 4)))
    assert math.isnan(found["mean_correlation"].low)
    assert found["mean_correlation"].difference < -0.3
    assert "too slowly" in found.warnings[0]


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        (np.ones((50, 3)), np.ones((50, 4)), {}, "got 4 units, the first has 3"),
        (np.ones((50, 3)), np.ones((50, 3)), {}, "0 units vary in both"),
        (poisson(8, 60), np.ones((50, 12)), {"bin": 0.1}, "got an array, the first is SpikeTrains"),
        (poisson(8, 60), Rates(np.ones((600, 12)), 0.1), {"bin": 0.1}, "got Rates, the first is SpikeTrains"),
        (Rates(np.ones((600, 12)), 0.1), poisson(8, 60), {"bin": 0.1}, "got SpikeTrains, the first is Rates"),
        (poisson(8, 60), poisson(8, 60).select(["3"]), {"bin": 0.1}, "1 units of one label"),
        (np.eye(30), np.eye(30), {"level": 2}, "level: got 2"),
        (np.eye(30), np.eye(30), {"block": -1}, "block must be"),
    ],
)
def test_bad_arguments(first, second, options: dict, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        metrics.comparison(first, second, **options)
