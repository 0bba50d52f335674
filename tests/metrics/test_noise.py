"""Noise correlations by condition and between conditions: by loops, with known truths, coverage and size."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue, UnknownName
from neuro_decorr.metrics.residuals import residuals
from neuro_decorr.recording import Rates, SpikeTrains, Trials, from_times
from tests._frequency import covers, of_size


def trials(x: np.ndarray, labels: list[str]) -> Rates:
    """Trials of a second of as many steps as `x` of shape (trials, steps, units) has."""
    count, steps, units = x.shape
    windows = Trials(np.arange(count), np.arange(count) + 1.0, labels)
    return Rates(x.reshape(-1, units), step=1 / steps, trials=windows)


def correlated(source: np.random.Generator, count: int, r: float, steps: int = 1, units: int = 6) -> np.ndarray:
    common = source.normal(size=(count, steps, 1))
    return (1 - r) ** 0.5 * source.normal(size=(count, steps, units)) + r**0.5 * common


def upper(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


@pytest.mark.parametrize("steps", [1, 4])
def test_by_loops(steps: int) -> None:
    source = np.random.default_rng(0)
    x, labels = source.normal(size=(40, steps, 5)) ** 3, source.permutation(["a"] * 15 + ["b"] * 25).tolist()
    x[:, :, 0] += 5 * source.normal(size=steps)  # a PSTH
    found = metrics.noise_correlations(trials(x, labels), None if steps == 1 else 1 / steps)
    pooled = 0
    for name in ("a", "b"):
        own = x[np.array(labels) == name]
        rest = (own - own.mean(axis=0)).reshape(-1, 5)
        pooled = pooled + rest.T @ rest
        expected = np.corrcoef(rest.T)
        np.testing.assert_allclose(found.matrices[name], expected)
        assert found.rows[name].mean == pytest.approx(upper(expected).mean())
        assert found.rows[name].mean_absolute == pytest.approx(np.abs(upper(expected)).mean())
        assert found.rows[name].mean_rate == pytest.approx(own.mean())
    scale = np.sqrt(np.diagonal(pooled))
    np.testing.assert_allclose(found.matrices["all conditions"], pooled / scale / scale[:, None])


def test_leaving_out_trials_is_computing_without_them() -> None:
    source = np.random.default_rng(1)
    x, labels = source.poisson(3.0, size=(20, 3, 4)).astype(float), list("ab" * 10)
    estimate, without = residuals(trials(x, labels), 1 / 3, None)["all conditions"].measures()
    for k in (0, 7, 19):
        left = trials(np.delete(x, k, axis=0), labels[:k] + labels[k + 1 :])
        np.testing.assert_allclose(without[k], residuals(left, 1 / 3, None)["all conditions"].measures()[0])
    fano = [np.mean([x[i::2, :, u].var(axis=0, ddof=1).mean() for i in (0, 1)]) / x[:, :, u].mean() for u in range(4)]
    assert estimate[3] == pytest.approx(np.mean(fano))


def stimulated(seed: int) -> SpikeTrains:
    """Independent units with one PSTH, in 60 trials of one condition."""
    source = np.random.default_rng(seed)
    rate = 5 + 25 * np.exp(-((np.arange(0, 1, 0.005) - 0.3) ** 2) / 2 / 0.05**2)
    spikes = source.random((60, 200, 6)) < rate[:, None] * 0.005
    times = [np.flatnonzero(spikes[:, :, unit].ravel()) * 0.005 + 0.001 for unit in range(6)]
    return from_times(times, 0, 60, trials=Trials.every(1.0, 60, conditions=["grating"] * 60))


def test_independent_units_under_one_stimulus_have_no_noise_correlation() -> None:
    assert upper(np.corrcoef(stimulated(0).counts(0.05).T)).mean() > 0.15  # with the PSTH
    found = [metrics.noise_correlations(stimulated(seed), 0.05).rows["grating"] for seed in range(30)]
    assert of_size([row.p_value <= 0.05 for row in found])
    assert covers([row.low <= 0 <= row.high for row in found])
    assert np.mean([row.mean_absolute / row.floor_absolute for row in found]) == pytest.approx(1, abs=0.05)
    assert found[0].mean_rate == pytest.approx(stimulated(0).rate.mean())


@pytest.mark.parametrize("count", [2 + 1, 5])
def test_few_trials_of_many_conditions_do_not_draw_it_to_zero(count: int) -> None:
    source = np.random.default_rng(3)
    x = correlated(source, 200 * count, 0.5, units=3) + 3 * np.repeat(source.normal(size=(200, 1, 3)), count, axis=0)
    found = metrics.noise_correlations(trials(x, np.repeat(np.arange(200).astype(str), count).tolist())).rows[
        "all conditions"
    ]
    assert found.mean == pytest.approx(0.5, abs=0.06)
    assert found.low < 0.5 < found.high


def test_few_trials_give_no_interval_and_say_so() -> None:
    x = np.random.default_rng(4).normal(size=(18, 1, 3))
    found = metrics.noise_correlations(trials(x, ["few"] * 6 + ["many"] * 12))
    assert np.isnan(found.rows["few"].low) and np.isfinite(found.rows["many"].low)
    assert found.warnings == ("no interval with fewer than 10 trials: few",)
    assert "6 of 'few', 12 of 'many'" in found.facts
    assert list(found.to_frame().index) == ["few", "many", "all conditions"]


def test_a_silent_unit_is_left_out() -> None:
    x = correlated(np.random.default_rng(5), 40, 0.4)
    expected = metrics.noise_correlations(trials(x, ["a"] * 40)).rows["a"]
    x = np.concatenate([x, np.full((40, 1, 1), 2.0)], axis=2)
    found = metrics.noise_correlations(trials(x, ["a"] * 40))
    assert found.rows["a"][1:9] == pytest.approx(expected[1:9])
    assert np.isnan(found.matrices["a"][-1]).all()


def rows(repetitions: int, count: int, r: float, drift: float = 0.0, first: int = 0) -> list:
    found = []
    for seed in range(first, first + repetitions):
        source = np.random.default_rng(seed)
        x = correlated(source, count, r) + drift * np.cumsum(source.normal(size=(count, 1, 6)), axis=0)
        found.append(metrics.noise_correlations(trials(x, ["a"] * count)).rows["a"])
    return found


@pytest.mark.parametrize("r", [0.0, 0.3])
def test_the_interval_covers(r: float) -> None:
    assert covers([row.low <= r <= row.high for row in rows(70, 40, r)])


@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_independent_units_whether_they_drift_over_trials_or_not(drift: float) -> None:
    assert of_size([row.p_value <= 0.05 for row in rows(70, 40, 0.0, drift)])


@pytest.mark.slow
@pytest.mark.parametrize("count", [12, 40, 150])
@pytest.mark.parametrize("r", [0.0, 0.1, 0.5])
def test_the_interval_covers_at_each_number_of_trials(count: int, r: float) -> None:
    assert 0.92 <= np.mean([row.low <= r <= row.high for row in rows(1000, count, r)]) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("drift", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("count", [12, 60])
def test_the_size_at_each_number_of_trials(count: int, drift: float) -> None:
    assert 0.02 <= np.mean([row.p_value <= 0.05 for row in rows(1000, count, 0.0, drift)]) <= 0.08


def compared(repetitions: int, counts: tuple[int, int], r: tuple[float, float], first: int = 0) -> list:
    found = []
    for seed in range(first, first + repetitions):
        source = np.random.default_rng(seed)
        x = np.concatenate([correlated(source, count, own) for count, own in zip(counts, r, strict=True)])
        labels = ["a"] * counts[0] + ["b"] * counts[1]
        found.append(metrics.noise_comparison(trials(x, labels), "a", "b").rows)
    return found


def test_two_conditions_with_the_same_correlation_and_unequal_numbers_of_trials() -> None:
    found = compared(60, (30, 60), (0.2, 0.2))
    assert of_size([table["mean_correlation"].p_value <= 0.05 for table in found])
    assert of_size([table["mean_rate"].p_value <= 0.05 for table in found])
    squared = np.array([table["mean_squared_above_floor"].difference for table in found])
    assert abs(squared.mean()) < 4 * squared.std() / 60**0.5


def test_a_difference_is_found_with_its_size() -> None:
    found = compared(50, (60, 60), (0.1, 0.4))
    assert covers([table["mean_correlation"].low <= 0.3 <= table["mean_correlation"].high for table in found])
    assert np.mean([table["mean_correlation"].p_value <= 0.05 for table in found]) > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("r", [(0.0, 0.0), (0.3, 0.3), (0.1, 0.4)])
@pytest.mark.parametrize("counts", [(15, 15), (20, 100), (80, 80)])
def test_coverage_and_size_of_comparisons(counts: tuple[int, int], r: tuple[float, float]) -> None:
    found = [table["mean_correlation"] for table in compared(600, counts, r)]
    assert 0.92 <= np.mean([row.low <= r[1] - r[0] <= row.high for row in found]) <= 0.985  # Welch is conservative
    if r[0] == r[1]:
        assert 0.015 <= np.mean([row.p_value <= 0.05 for row in found]) <= 0.08


def test_a_higher_rate_is_told() -> None:
    source = np.random.default_rng(6)
    spikes = [np.sort(source.uniform(0, 60, 300)) for _ in range(4)]
    spikes = [np.unique(np.concatenate([unit, source.uniform(30, 60, 300)])) for unit in spikes]
    recording = SpikeTrains(spikes, 0, 60, trials=Trials.every(1.0, 60, conditions=["a"] * 30 + ["b"] * 30))
    found = metrics.noise_comparison(recording, "a", "b")
    assert found.rows["mean_rate"].first == pytest.approx(5, rel=0.2)
    assert found.rows["mean_rate"].second == pytest.approx(15, rel=0.2)
    assert found.rows["mean_fano_factor"].second == pytest.approx(1, rel=0.3)
    assert "the mean rate differs too" in found.warnings[0]
    assert list(found.to_frame().columns) == ["first", "second", "difference", "low", "high", "p_value"]


def test_results_are_one_line_without_their_matrices() -> None:
    recording = trials(correlated(np.random.default_rng(8), 60, 0.3), list("ab" * 30))
    found, change = metrics.noise_correlations(recording), metrics.noise_comparison(recording, "a", "b")
    row, shift = found.rows["a"], change.rows["mean_correlation"]
    assert f"(6 units, 'a': {row.mean:.3g} [{row.low:.3g}, {row.high:.3g}], 'b': " in repr(found)
    assert f"difference {shift.difference:.3g} [{shift.low:.3g}, {shift.high:.3g}]" in repr(change)
    many = metrics.noise_correlations(trials(correlated(np.random.default_rng(8), 60, 0.3), list("abcdef" * 10)))
    assert "(6 units, 2 more, 'c': " in repr(many)
    for one in (found, change, many):
        assert "\n" not in repr(one) and "array" not in repr(one) and len(repr(one)) < 300


def test_bad_input() -> None:
    x = np.random.default_rng(7).normal(size=(20, 1, 3))
    good = trials(x, ["a"] * 15 + ["b"] * 5)
    with pytest.raises(InvalidValue, match=r'trials: the recording has none; .* load\(..., trial_table="trials.csv"\)'):
        metrics.noise_correlations(Rates(x[:, 0], step=1.0))
    for strange in (x[:, 0], "phy"):
        with pytest.raises(InvalidValue, match=r"recording: got (ndarray|str); give .* signal_noise_correlation\("):
            metrics.noise_correlations(strange)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="bin: got '1s'; allowed is a positive number of seconds"):
        metrics.noise_correlations(good, "1s")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="'c'"):
        metrics.noise_correlations(good, conditions=["c"])
    with pytest.raises(InvalidValue, match="condition 'b': got 5 trials; a comparison needs at least 10"):
        metrics.noise_comparison(good, "a", "b")
    with pytest.raises(InvalidValue, match="give another condition"):
        metrics.noise_comparison(good, "a", "a")
    with pytest.raises(InvalidValue, match="condition 'c': got 2 trials"):
        metrics.noise_correlations(trials(x, ["a"] * 18 + ["c"] * 2))
    with pytest.raises(InvalidValue, match="1 unit"):
        metrics.noise_correlations(trials(x[:, :, :1], ["a"] * 20))
    with pytest.raises(InvalidValue, match="fewer than two units vary"):
        metrics.noise_correlations(trials(0 * x, ["a"] * 20))
    uneven = Rates(x[:, 0], step=1.0, trials=Trials([0, 3], [3, 5]))
    with pytest.raises(InvalidValue, match="2 to 3 bins"):
        metrics.noise_correlations(uneven, 1.0)


def test_one_name_is_one_condition() -> None:
    recording = trials(correlated(np.random.default_rng(9), 40, 0.3), ["horizontal", "vertical"] * 20)
    found = metrics.noise_correlations(recording, conditions="horizontal")
    assert found.rows == metrics.noise_correlations(recording, conditions=["horizontal"]).rows


def test_trials_whose_condition_was_not_named_are_a_warning() -> None:
    times = [np.sort(np.random.default_rng(seed).uniform(0, 40, 400)) for seed in range(3)]
    note = "which column of the trials is the condition? Name one of side, contrast; none is used"
    recording = SpikeTrains(times, 0, 40, trials=Trials.every(1.0, 40), notes=[note, "something else"])
    assert metrics.noise_correlations(recording).warnings == (note,)


def test_trials_of_unequal_lengths_are_told_a_bin_that_works() -> None:
    source = np.random.default_rng(10)
    times = [np.sort(source.uniform(0, 80, 800)) for _ in range(3)]
    starts = 2.0 * np.arange(40)
    recording = SpikeTrains(times, 0, 80, trials=Trials(starts, starts + 1 + 0.016 * source.random(40), ["a"] * 40))
    for bin in (None, 0.01):
        with pytest.raises(InvalidValue, match=r"bin=1(\.\d+)?, which is once per trial") as caught:
            metrics.noise_correlations(recording, bin)
    width = float(str(caught.value).split("bin=")[1].split(",")[0])
    assert f"bins of {width:g} s" in metrics.noise_correlations(recording, width).facts
    other = Trials(starts, starts + np.tile([1.0, 1.5], 20), ["short", "long"] * 20)
    unequal = SpikeTrains(times, 0, 80, trials=other)
    counts, _ = SpikeTrains(times, 0, 80, trials=other.select(["long"])).trial_counts()
    row = metrics.noise_correlations(unequal, conditions=["long"]).rows["long"]
    assert row.mean == pytest.approx(upper(np.corrcoef(counts.astype(float).T)).mean())
    assert row.mean_rate == pytest.approx(counts.mean() / 1.5)
