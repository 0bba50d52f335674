"""Equations of the user's in the synapses: some fixed and some that learn, third factors, labels, normalisation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import brian2
import numpy as np
import pytest
from brian2 import Equations, Network, NeuronGroup, Synapses, TimedArray, get_device, linked_var, ms, second

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.brian.every_rule import quick
from tests.brian.on_target import Results, simulate
from tests.brian.told import NEURONS, STEP, STEPS, told, trains

DRIVE = "g_post -= w*mV"
pytestmark = pytest.mark.usefixtures("brian_on_numpy")


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = STEP * ms


def lateral(rule: str = "lateral_covariance", more: str = "", **options: Any) -> tuple[NeuronGroup, Synapses]:
    """Connected, of weight 0.2."""
    neurons = told(trains(0), more)
    synapses = quick(rule).synapses(neurons, drive=DRIVE, **options)
    synapses.connect(condition="i != j")
    synapses.w = 0.2
    return neurons, synapses


def learn(neurons: NeuronGroup, synapses: Synapses, steps: int = STEPS) -> np.ndarray:
    Network(neurons, synapses).run(steps * STEP * ms)
    return nd.brian.weights_to_matrix(synapses)


@pytest.mark.parametrize("rule", ["lateral_covariance", "feedback_inhibition"])
def test_some_synapses_are_fixed_and_the_others_learn_as_without_them(rule: str) -> None:
    expected = learn(*lateral(rule))
    neurons, synapses = lateral(rule, model="learning : 1")
    synapses.learning = "int(j < 3)"
    found = learn(neurons, synapses)
    assert np.all(found[:, 3:][np.isfinite(found[:, 3:])] == 0.2)
    if rule != "feedback_inhibition":  # its interneurons hear the weights, those that are fixed too
        np.testing.assert_array_equal(found[:, :3], expected[:, :3])
    assert np.nanstd(found[:, :3]) > 0


def test_what_is_fixed_stays_outside_of_the_bounds_and_frozen_is_all() -> None:
    neurons, synapses = lateral(model="learning : 1")
    synapses.w["j == 0"] = 7.0
    synapses.learning = "int(j > 0)"
    network = Network(neurons, synapses)
    network.run(60 * ms)
    assert set(synapses.w["j == 0"]) == {7.0} and np.std(synapses.w["j > 0"]) > 0
    nd.brian.freeze(synapses)
    held = synapses.w[:].copy()
    network.run(30 * ms)
    np.testing.assert_array_equal(synapses.w[:], held)
    nd.brian.thaw(synapses)
    network.run(30 * ms)
    assert set(synapses.w["j == 0"]) == {7.0} and not np.array_equal(synapses.w[:], held)


def test_parameters_one_a_synapse() -> None:
    """Rates and bounds too: those of one synapse act as shared ones do on all of them."""
    neurons, synapses = lateral(model=Equations("learning_rate : 1\nlargest_weight : 1"))
    synapses.learning_rate = "0.01*int(j < 3)"
    synapses.largest_weight = "1 - 0.85*int(j == 0)"
    found = learn(neurons, synapses)
    assert np.nanmax(found[:, 0]) == pytest.approx(0.15, rel=1e-12)
    np.testing.assert_array_equal(found[:, 1:3], learn(*lateral())[:, 1:3])
    assert np.all(found[:, 3:][np.isfinite(found[:, 3:])] == 0.2)


def test_learning_that_nobody_set_is_told(caplog: pytest.LogCaptureFixture) -> None:
    neurons, synapses = lateral(model="learning : 1", name="mine")
    learn(neurons, synapses)
    assert "no synapse of 'mine' learns" in caplog.text and np.all(synapses.w[:] == 0.2)


GATES = {
    "in time": "learning = gate(t) : 1 (shared)",
    "of each neuron": "learning = factor_post : 1",
    "linked": "learning : 1 (linked, shared)",
}


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    """What the rule learns by itself."""
    target, brian2.prefs.codegen.target = brian2.prefs.codegen.target, "numpy"
    step, brian2.defaultclock.dt = brian2.defaultclock.dt, STEP * ms
    found = learn(*lateral())
    brian2.prefs.codegen.target, brian2.defaultclock.dt = target, step
    return found


@pytest.mark.parametrize("gate", GATES)
def test_a_third_factor_of_zero_learns_nothing_and_of_one_what_the_rule_learns(gate: str, plain: np.ndarray) -> None:
    found = {}
    for level in (0.0, 1.0):
        modulator = NeuronGroup(1, "level : 1 (shared)")
        modulator.level = level
        namespace = {"gate": TimedArray([level], dt=1 * second)}
        neurons, synapses = lateral(more="factor : 1", model=GATES[gate], namespace=namespace)
        neurons.factor = level
        if gate == "linked":
            synapses.learning = linked_var(modulator, "level")
        Network(modulator, neurons, synapses).run(STEPS * STEP * ms)
        found[level] = nd.brian.weights_to_matrix(synapses)
    assert np.all(found[0.0][np.isfinite(found[0.0])] == 0.2)
    np.testing.assert_array_equal(found[1.0], plain)


def test_a_negative_third_factor_learns_the_opposite() -> None:
    """Away from the bounds the first step of every weight has the other sign."""
    changes = []
    for level in (1.0, -1.0):
        neurons, synapses = lateral(rule="vogels", model="learning : 1 (shared)")
        assert synapses.learning == 1  # a shared one has the value of the rule
        synapses.w = 50
        synapses.learning = level
        changes.append(learn(neurons, synapses) - 50)
    assert np.nanmin(np.abs(changes[0])) > 0
    np.testing.assert_allclose(changes[1], -changes[0], rtol=1e-9)


def test_labels_and_delays_of_the_users_equations() -> None:
    """They are plain variables, to select synapses, and may follow equations of their own."""
    neurons, synapses = lateral(model="label : integer (constant)\ndage/dt = 1 : second (clock-driven)")
    synapses.label = "(i + j) % 2"
    synapses.w["label == 1"] = 0.4
    learn(neurons, synapses, 10)
    np.testing.assert_allclose(synapses.age / ms, 10)
    assert np.mean(synapses.w["label == 1"]) > np.mean(synapses.w["label == 0"]) + 0.1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("w : 1", "model declares 'w', a variable of the rule 'lateral_covariance'"),
        ("target_deviation : 1", "may declare, .*, are learning, learning_rate, smallest_weight, largest_weight"),
        ("learning : Hz", "write 'learning : 1'"),
        ("g : volt", "group 'cells' has a variable 'g'"),
        ("not equations", "model must be equations, such as model='label : 1'"),
    ],
)
def test_equations_that_clash(model: str, message: str) -> None:
    neurons = NeuronGroup(3, "g : volt", threshold="g > 1*volt", name="cells")
    with pytest.raises(InvalidValue, match=message) as caught:
        nd.brian.get().synapses(neurons, drive=DRIVE, model=model)
    assert "\n" not in str(caught.value)


def normalised() -> Callable[[], Results]:
    """The recipe of docs/brian.md: what comes in to each neuron is brought to a sum, twenty times in 100 ms."""
    brian2.defaultclock.dt = STEP * ms
    neurons = told(trains(3, 0.2), "incoming : 1")
    rule = nd.brian.get(rate=0.02, trace_time=20 * ms, mean_time=100 * ms, homeostasis=None)
    synapses = rule.synapses(neurons, drive=DRIVE)
    synapses.connect(condition="i != j")
    synapses.w = "0.1 + 0.02*i"
    neurons.run_regularly("incoming = 0", dt=5 * ms, when="end", order=1)
    synapses.run_regularly("incoming_post += w", dt=5 * ms, when="end", order=2)
    synapses.run_regularly("w = w*1.5/clip(incoming_post, 1e-9, inf)", dt=5 * ms, when="end", order=3)
    network = Network(neurons, synapses)
    network.run(96 * ms)  # the last step of which normalises
    if not hasattr(get_device(), "has_been_run"):
        assert np.std(synapses.w[:]) > 0.01
    return lambda: {"weights": nd.brian.weights_to_matrix(synapses)}


def test_incoming_weights_keep_their_sum() -> None:
    found = normalised()()["weights"]
    np.testing.assert_allclose(np.nansum(found, axis=0), 1.5, rtol=1e-12)
    assert np.nanstd(found) > 0.01  # and are not those of the start, nor all the same
    started = np.where(np.isfinite(found), 0.1 + 0.02 * np.arange(NEURONS)[:, None], np.nan)
    assert np.nanmax(np.abs(found - started * 1.5 / np.nansum(started, axis=0))) > 0.05


@pytest.mark.slow
@pytest.mark.standalone
@pytest.mark.parametrize("target", ["cython", "cpp_standalone"])
def test_incoming_weights_keep_their_sum_on_every_target(target: str, tmp_path: Path) -> None:
    found = simulate("tests.brian.test_equations:normalised", target, tmp_path)
    np.testing.assert_allclose(found["weights"], normalised()()["weights"], rtol=1e-9)
