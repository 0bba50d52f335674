"""The weights of rate units take the course of the library's rule in float64."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
import torch
from brian2 import Network, StateMonitor, ms

import neuro_decorr as nd
from neuro_decorr.rules import transform
from tests.brian.rates.circuits import (
    HOLD,
    STEP,
    STIMULI,
    TAU,
    UNITS,
    brian_time,
    course,
    inputs,
    matrices,
    rate_units,
)

PARAMETERS = {
    "lateral": {"rate": 0.02},
    "anti_hebbian": {"rate": 0.02, "target": 0.7, "saturation": 1.5},
    "interneuron_local": {"rate": 0.1, "interneurons": 3, "damping": 2.0, "seed": 3},
}


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = STEP * ms


@pytest.mark.parametrize("name", PARAMETERS)
def test_weights_and_settled_activity_take_the_course_of_the_library(name: str) -> None:
    """The library gets the stimuli alone, and settles exactly; Brian2 holds each for 80 time constants."""
    stimuli = inputs()
    rule = nd.brian.get(name, **PARAMETERS[name])
    group = rate_units(np.vstack([stimuli, stimuli[:1]]))
    synapses = rule.synapses(group, output="x", inhibition="inhibition", inputs="z", hold=HOLD * ms)
    synapses.connect()
    weights = StateMonitor(synapses, "w", record=True, dt=HOLD * ms, when="after_start")
    settled = StateMonitor(group, "x", record=True, dt=HOLD * ms, when="before_start")
    Network(group, synapses, weights, settled).run(brian_time(STIMULI))
    found, states = matrices(weights)[1:], course(rule.library, stimuli)
    assert len(found) == len(states[1:]) == STIMULI
    for stimulus, row in enumerate(torch.tensor(stimuli)):
        after = states[stimulus + 1]
        if name == "interneuron_local":
            expected = after["synapses"].numpy()
        else:  # w[pre, post] is M[post, pre]
            expected = np.linalg.inv(after["matrix"].numpy()).T - np.eye(UNITS)
        np.testing.assert_allclose(found[stimulus], expected, rtol=0, atol=1e-9)
        activity = transform(states[stimulus], row).numpy()
        np.testing.assert_allclose(settled.x[:, stimulus + 1], activity, rtol=0, atol=1e-9)
    assert np.abs(found[-1] - found[0]).max() > 0.1


@pytest.mark.parametrize("name", ["lateral", "anti_hebbian"])
def test_activity_that_is_not_settled_teaches_what_it_is(name: str) -> None:
    """Held for 1.6 time constants, against a loop over Euler steps, stimuli and synapses."""
    hold, stimuli, rate = 2 * STEP, inputs(1), 0.02
    rule = nd.brian.get(name, rate=rate, **({"saturation": 2.0} if name == "anti_hebbian" else {}))
    group = rate_units(np.vstack([stimuli, stimuli[:1]]), hold=hold)
    synapses = rule.synapses(group, output="x", inhibition="inhibition", inputs="z", hold=hold * ms, least_hold=1.6)
    synapses.connect()
    start = 0.1 * np.random.default_rng(2).normal(size=(UNITS, UNITS))
    nd.brian.set_weights(synapses, start)
    Network(group, synapses).run(brian_time(STIMULI, hold))
    weights, x = start.T.copy(), np.zeros(UNITS)
    for z in stimuli:
        for _ in range(2):
            x = x + STEP / TAU * (z - x - weights @ x)
        gain = np.sqrt(np.sum(z**2) / np.sum(x**2))
        before = weights.copy()
        for i in range(UNITS):
            for j in range(UNITS):
                if name == "lateral":
                    weights[i, j] = ((i == j) + before[i, j] + rate * z[i] * x[j]) / gain - (i == j)
                else:
                    weights[i, j] += rate * (np.clip(x[i], -2, 2) * np.clip(x[j], -2, 2) - (i == j))
    np.testing.assert_allclose(nd.brian.weights_to_matrix(synapses).T, weights, rtol=0, atol=1e-12)


def test_interneurons_are_recruited_and_synapses_are_bounded_as_in_the_library() -> None:
    stimuli = inputs(4)
    rule = nd.brian.get("interneuron_local", rate=0.3, interneurons=4, recruit=0.4, fewest=1, damping=2.0)
    group = rate_units(np.vstack([stimuli, stimuli[:1]]), hold=10 * STEP)
    synapses = rule.synapses(group, output="x", inhibition="inhibition", inputs="z", hold=10 * STEP * ms)
    synapses.connect()
    nd.brian.set_weights(synapses, 1.5 * rule.library.initial_state(UNITS, dtype=torch.float64)["synapses"].numpy())
    interneurons = synapses.companions.target
    gains = StateMonitor(
        interneurons, ["gain", "variance", "power"], record=True, dt=10 * STEP * ms, when="after_start"
    )
    Network(group, synapses, gains).run(brian_time(STIMULI, 10 * STEP))
    states = course(rule.library, stimuli, synapses=1.5)
    for stimulus, state in enumerate(states[1:], start=1):
        np.testing.assert_allclose(gains.variance[:, stimulus], state["variance"].numpy(), atol=1e-12)
        np.testing.assert_allclose(gains.power[:, stimulus], float(state["power"]), atol=1e-12)
        relative = state["variance"].numpy() / (2.0 * float(state["power"]))
        inhibits = (relative > 0.4) | (np.arange(4) < 1)
        np.testing.assert_allclose(gains.gain[:, stimulus], inhibits * (np.sqrt(1 + relative) - 1), atol=1e-12)
    np.testing.assert_allclose(nd.brian.weights_to_matrix(synapses), states[-1]["synapses"].numpy(), atol=1e-12)
    assert (gains.gain[:, 5:] == 0).any() and (gains.gain[0, 2:] > 0).all()
