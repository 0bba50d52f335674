"""The spiking population: inputs against the closed form of their mixing, and copies that share the inhibition."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
from brian2 import Network, StateMonitor, TimedArray, ms, mV, second

from models.correlated_population import SOURCE_TIME, correlated_population, course, held_out, mixing, set_mixing, yoked
from neuro_decorr.errors import InvalidValue

KINDS = ["positive", "mixed", "opposed", "antagonists"]


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 2 * ms


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_correlate_as_the_rows_of_the_mixing_do(kind: str) -> None:
    """Of a whitened course exactly: the covariance of the inputs is the matrix times its transpose."""
    matrix = mixing(kind, 12, seed=3, sources=3)
    drawn = course(0.4 * second, 2 * ms, seed=5, sources=3)
    population = correlated_population(12, TimedArray(drawn, dt=2 * ms))
    set_mixing(population, 4 * mV * matrix)
    monitor = StateMonitor(population, "common", record=True)
    Network(population, monitor).run(0.4 * second)
    found = np.cov(np.asarray(monitor.common) / 1e-3, bias=True)
    np.testing.assert_allclose(found, 16 * matrix @ matrix.T, atol=1e-9)


def test_sources_have_the_correlation_time_that_they_say() -> None:
    drawn = course(2000 * second, 2 * ms, seed=1, sources=2)
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), np.eye(2), atol=1e-9)
    for lag in (5, 25, 50):
        found = np.mean(drawn[lag:] * drawn[:-lag])
        assert found == pytest.approx(float(np.exp(-lag * 2 * ms / SOURCE_TIME)), abs=0.03)  # 20,000 times


def test_the_kinds_of_mixing_are_what_they_say() -> None:
    overlap = {kind: (rows := mixing(kind, 40, seed=2)) @ rows.T for kind in KINDS}
    off = ~np.eye(40, dtype=bool)
    assert overlap["positive"][off].min() > 0
    assert overlap["mixed"][off].min() < -0.5 and overlap["mixed"][off].max() > 0.5
    assert overlap["opposed"][:20, :20].min() > 0 and overlap["opposed"][:20, 20:].max() < 0
    antagonists = overlap["antagonists"]
    assert np.all(antagonists[np.arange(0, 10, 2), np.arange(1, 10, 2)] == -1)
    assert np.sum(np.abs(antagonists[off])) == 10
    with pytest.raises(InvalidValue, match="allowed are 'positive'"):
        mixing("negative", 10, seed=0)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="5 antagonist pairs need at least 10"):
        mixing("antagonists", 8, seed=0)


def test_the_test_input_comes_again_and_was_not_there_between() -> None:
    made = held_out(1 * second, [2 * second, 1 * second], 2 * ms, seed=0)
    assert made.shape == (2500, 5)
    assert np.array_equal(made[:500], made[-500:])
    assert not np.array_equal(made[:500], held_out(1 * second, [2 * second], 2 * ms, seed=1)[:500])
    for part in (made[500:1500], made[1500:2000]):
        assert abs(np.corrcoef(part[:500].ravel(), made[:500].ravel())[0, 1]) < 0.3


def test_a_copy_gets_the_inhibition_of_the_original_and_gives_none() -> None:
    brian2.seed(0)
    sources = TimedArray(course(1 * second, 2 * ms, seed=0), dt=2 * ms)
    population = correlated_population(6, sources, name="original")
    population.drive = 25 * mV
    population.inhibition = "-10*i*mV"
    set_mixing(population, 4 * mV * mixing("positive", 6, seed=0))
    copy = yoked(population, sources, name="same")
    later = yoked(population, sources, lead=100 * ms, name="later")
    groups = (population, copy, later)
    monitors = [StateMonitor(group, ["common", "v"], record=True) for group in groups]
    Network(*groups, *monitors).run(300 * ms)
    original, same, other = (np.asarray(monitor.common) for monitor in monitors)
    np.testing.assert_allclose(same, original, rtol=1e-12)
    np.testing.assert_allclose(other[:, 50:], original[:, :-50], rtol=1e-12)
    assert not np.array_equal(monitors[0].v, monitors[1].v), "noise of its own"
    with pytest.raises(ValueError, match="linked"):
        copy.inhibition = 0 * mV
