"""Population coupling by loops, in closed form, and the size and coverage of its test and interval."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import coupling
from neuro_decorr.recording import Rates, SpikeTrains
from tests._frequency import covers, of_size


def test_by_loops() -> None:
    x = np.random.default_rng(0).poisson(2.0, (300, 4)) + np.random.default_rng(1).poisson(1.0, (300, 1))
    found = metrics.population_coupling(x, max_shift=10)
    for unit in range(4):
        rest = np.delete(x, unit, axis=1).sum(axis=1)
        assert found.correlation[unit] == pytest.approx(np.corrcoef(x[:, unit], rest)[0, 1])
        a, b = x[:, unit] - x[:, unit].mean(), rest - rest.mean()
        lags = np.arange(-10, 11)
        lagged = [np.mean([a[t] * b[t + lag] for t in range(10, 290)]) / a.std() / b.std() for lag in lags]
        null = np.delete(lagged, 10)
        assert found.slow[unit] == pytest.approx(null.mean())
        null -= np.polyval(np.polyfit(np.delete(lags, 10), null, 1), np.delete(lags, 10)) - null.mean()
        farther = np.sum(np.abs(null - null.mean()) >= abs(lagged[10] - null.mean()))
        assert found.p_value[unit] == pytest.approx((1 + farther) / 21)
        np.testing.assert_allclose([found.null_low[unit], found.null_high[unit]], np.quantile(null, [0.025, 0.975]))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(2).normal(size=(500, 3))
    whole = metrics.population_coupling(x, max_shift=12)
    monkeypatch.setattr(coupling, "_ENTRIES", 100)
    found = metrics.population_coupling(torch.from_numpy(x), max_shift=12)
    np.testing.assert_allclose(found.slow, whole.slow, atol=1e-14)


def test_one_factor_has_its_known_coupling() -> None:
    source = np.random.default_rng(3)
    weights = np.array([0.0, 0.5, 1.0, 2.0])
    x = source.normal(size=(20_000, 4)) + weights * source.normal(size=(20_000, 1))
    rest = weights.sum() - weights
    expected = weights * rest / np.sqrt((1 + weights**2) * (3 + rest**2))
    found = metrics.population_coupling(x)
    np.testing.assert_allclose(found.correlation, expected, atol=0.02)
    assert (found.p_value[1:] < 0.01).all() and (found.q_value[1:] < 0.02).all()
    assert found.mean[1] < expected.mean() < found.mean[2]


def test_the_excess_rate_is_the_rate_of_the_others_at_the_spikes_of_the_unit() -> None:
    source = np.random.default_rng(4)
    common = source.uniform(0, 100, 200)
    times = [np.unique(np.concatenate([common, source.uniform(0, 100, 300)])) for _ in range(3)]
    trains = SpikeTrains([*times, [50.0]], 0, 100, list("abcd"))
    found = metrics.population_coupling(trains, 0.01)
    counts = trains.counts(0.01).astype(float)
    for unit in range(4):
        rest = np.delete(counts, unit, axis=1).sum(axis=1) / 0.01
        at_spikes = (counts[:, unit] * rest).sum() / counts[:, unit].sum()
        assert found.excess_rate[unit] == pytest.approx(at_spikes - rest.mean())
    assert found.to_frame().loc["a", "correlation"] > 0.3
    assert "bins of 0.01 s" in found.facts


def test_what_varies_slowly_together_is_no_coupling_within_the_shifts() -> None:
    source = np.random.default_rng(5)
    slow = np.cumsum(source.normal(size=(5000, 1)), axis=0)
    x = source.normal(size=(5000, 5)) + slow / slow.std()
    found = metrics.population_coupling(x, max_shift=30)
    assert found.correlation.min() > 0.6
    np.testing.assert_allclose(found.slow, found.correlation, atol=0.06)
    assert (found.q_value > 0.05).all()


def test_silent_units_are_told() -> None:
    x = np.random.default_rng(6).normal(size=(300, 3))
    expected = metrics.population_coupling(x).correlation
    x = np.insert(x, 1, 5.0, axis=1)
    found = metrics.population_coupling(Rates(x, step=0.1))
    np.testing.assert_allclose(found.correlation[[0, 2, 3]], expected)
    assert np.isnan([found.correlation[1], found.p_value[1], found.low[1], found.slow[1]]).all()
    assert found.warnings == ("1 units never vary: they have no coupling",)


def first_units(repetitions: int, kind: str, r: float = 0.0, first: int = 0) -> tuple[list[bool], list[bool]]:
    """Whether one unit of each repetition is told to be coupled, and whether its interval covers."""
    told, covered = [], []
    truth = 3 * r / np.sqrt(3 + 6 * r)  # one unit and the sum of three others, all pairs r
    for seed in range(first, first + repetitions):
        source = np.random.default_rng(seed)
        x = (1 - r) ** 0.5 * source.normal(size=(1280, 4)) + r**0.5 * source.normal(size=(1280, 1))
        if kind == "drift":
            x += np.linspace(-3, 3, 1280)[:, None] * source.normal(size=4)
            x += 0.1 * np.cumsum(source.normal(size=(1280, 4)), axis=0)
        found = metrics.population_coupling(x, max_shift=40)
        told.append(found.p_value[0] <= 0.05)
        covered.append(found.low[0] <= truth <= found.high[0])
    return told, covered


@pytest.mark.parametrize("kind", ["white", "drift"])
def test_independent_units_whether_they_drift_or_not(kind: str) -> None:
    told, covered = first_units(50, kind)
    assert of_size(told)
    assert kind == "drift" or covers(covered)


def test_the_interval_covers() -> None:
    assert covers(first_units(50, "white", 0.3)[1])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "r"), [("white", 0.0), ("white", 0.1), ("white", 0.6), ("drift", 0.0)])
def test_size_and_coverage(kind: str, r: float) -> None:
    told, covered = first_units(1000, kind, r)
    if r == 0:
        assert 0.02 <= np.mean(told) <= 0.08
    if kind == "white":
        assert 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (np.zeros((50, 1)), {}, "1 unit"),
        (np.zeros((100, 3)), {}, "less than a quarter of the 100 samples"),
        (np.zeros((100, 3)), {"max_shift": 5}, "max_shift must be a whole number >= 10"),
        (np.zeros((100, 3)), {"max_shift": 20, "level": 2}, "level: got 2"),
        (np.full((100, 3), np.nan), {"max_shift": 20}, "NaN or infinite"),
    ],
)
def test_bad_input(x: np.ndarray, arguments: dict, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        metrics.population_coupling(x, **arguments)


def test_units_that_all_are_silent() -> None:
    with pytest.raises(InvalidValue, match="fewer than two units vary"):
        metrics.population_coupling(np.ones((300, 3)))
