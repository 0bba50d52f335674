"""Delays as everywhere in Brian2, of the transmission alone: given at once, or set one a synapse after connecting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import brian2
import numpy as np
import pytest
from brian2 import Network, StateMonitor, Synapses, get_device, ms, mV

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.brian.every_rule import quick
from tests.brian.on_target import Results, simulate
from tests.brian.told import NEURONS, STEP, STEPS, told, trains

pytestmark = pytest.mark.usefixtures("brian_on_numpy")


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = STEP * ms


def lateral(rule: str = "lateral_covariance", *, spikes: np.ndarray | None = None, **options: Any) -> Synapses:
    """Connected from neurons, as its attribute `cells`, on which nothing acts."""
    cells = told(trains(0) if spikes is None else spikes)
    synapses = quick(rule).synapses(cells, drive="g_post -= w*mV", **options)
    synapses.connect(condition="i != j")
    synapses.w = 0.2
    synapses.add_attribute("cells")
    synapses.cells = cells
    return synapses


def learnt(synapses: Synapses, *others: Any) -> np.ndarray:
    Network(synapses.cells, synapses, *others).run(STEPS * STEP * ms)
    return nd.brian.weights_to_matrix(synapses)


def test_delays_that_are_set_change_no_weight() -> None:
    """The plasticity has none; interneurons of `feedback_inhibition` hear the population at once too."""
    synapses = lateral("feedback_inhibition")
    synapses.delay = "(1 + i)*ms"
    np.testing.assert_array_equal(learnt(synapses), learnt(lateral("feedback_inhibition")))


def test_spikes_arrive_by_the_delays_that_were_set() -> None:
    """As a matrix of them says; a name in an expression is the one where it was written."""
    spikes = np.zeros((STEPS, NEURONS), dtype=bool)
    spikes[10, 0] = True
    apart = 3 * ms
    synapses = lateral(spikes=spikes)
    synapses.delay = "j*apart"
    synapses.delay[0, 5] = 20 * ms
    course = StateMonitor(synapses.cells, "g", record=True)
    learnt(synapses, course)
    arrived = (np.asarray(course.g) != 0).argmax(axis=1)
    np.testing.assert_array_equal(arrived[1:], 11 + np.array([3, 6, 9, 12, 20]))  # the value as a step begins
    assert apart == 3 * ms and np.array_equal(synapses.pre.delay[:], synapses.delay[:])


def test_one_pathway_transmits_and_learns_what_two_do() -> None:
    one, two = lateral(), lateral()
    two.delay_ = 0.0
    np.testing.assert_array_equal(learnt(two), learnt(one))
    assert one.cells.g[:].std() > 0
    np.testing.assert_allclose(two.cells.g[:], one.cells.g[:], rtol=1e-12)
    assert not one.learning_pre.active and two.learning_pre.active


def test_one_delay_for_all_is_given_at_once_and_may_change() -> None:
    synapses = lateral("vogels", delay=2 * ms)  # which has no bias, that arrives without a delay
    assert synapses.delay == 2 * ms
    synapses.delay = 1000 * ms
    learnt(synapses)
    assert not synapses.cells.g[:].any()
    for delay in ("2*ms*rand()", [1, 2] * ms, 3 * mV, 2):
        with pytest.raises(InvalidValue, match=r"after connecting, by synapses.delay = '2\*ms\*rand\(\)'"):
            lateral(delay=delay)


def delayed() -> Callable[[], Results]:
    """Delays that are set after the first run, and before it; and some synapses that are fixed."""
    brian2.defaultclock.dt = STEP * ms
    early, late = lateral(model="learning : 1"), lateral("vogels")
    early.learning = "int(j < 3)"
    early.delay = "(1 + (i + j) % 3)*ms"
    network = Network(early.cells, early, late.cells, late)
    network.run(STEPS // 3 * STEP * ms)
    late.delay = "(1 + (i + j) % 3)*ms"
    network.run(STEPS // 2 * STEP * ms)
    assert not hasattr(get_device(), "has_been_run") or not get_device().has_been_run

    def results() -> Results:
        found = {"early": early, "late": late}
        weights = {f"{name} weights": nd.brian.weights_to_matrix(synapses) for name, synapses in found.items()}
        return weights | {f"{name} received": np.asarray(synapses.cells.g) for name, synapses in found.items()}

    return results


@pytest.mark.slow
@pytest.mark.standalone
@pytest.mark.parametrize("target", ["cython", "cpp_standalone"])
def test_delays_on_every_target(target: str, tmp_path: Path) -> None:
    expected, found = delayed()(), simulate("tests.brian.test_delays:delayed", target, tmp_path)
    assert set(found) == set(expected) and all(values.std() > 0 for values in expected.values() if values.ndim == 1)
    assert np.nanstd(found["early weights"][:, :3]) > 0 and set(found["early weights"][0, 3:]) == {0.2}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, err_msg=name)
