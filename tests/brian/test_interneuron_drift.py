"""What the rule of interneurons does on average, over time steps: the equation of its docstring, term by term."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
from brian2 import Network, ms, second

import neuro_decorr as nd
from tests.brian.told import told

PAIRS, STEPS = 500, 1500  # of neurons that one interneuron hears; half of them covary
SPIKING, TOGETHER = 0.04, 0.02  # probabilities in a step: of a neuron, and of both of a pair that covaries
TRACE_TIME, THRESHOLD, EXCESS = 20.0, 1.5, 0.5  # the first in ms
WEIGHTS = np.array([0.3, 0.5])

pytestmark = pytest.mark.usefixtures("brian_on_numpy")


def trains() -> np.ndarray:
    """Shape (STEPS, PAIRS, 2): the second half of the pairs has a common input, which makes them spike in one step."""
    generator = np.random.default_rng(1)
    common = (TOGETHER - SPIKING**2) / (1 - 2 * SPIKING + TOGETHER)
    shared = generator.random((STEPS, PAIRS, 1)) < np.where(np.arange(PAIRS) < PAIRS // 2, 0, common)[:, None]
    own = generator.random((STEPS, PAIRS, 2)) < SPIKING
    own[:, PAIRS // 2 :] = generator.random((STEPS, PAIRS // 2, 2)) < 1 - (1 - SPIKING) / (1 - common)
    return shared | own


@pytest.mark.parametrize("step", [*(pytest.param(step, marks=pytest.mark.slow) for step in (0.05, 0.5, 4.0)), 0.1, 1.0])
def test_weights_drift_by_the_common_less_the_private_variance(step: float) -> None:
    """rate / threshold (C - V - excess V') w / tau, with what these trains have: of spikes that covary within a step
    alone C / tau is half their covariance, V / tau half the variance of a spike, and V' has half its rate more."""
    brian2.defaultclock.dt = step * ms
    spikes = trains()
    group = told(spikes.reshape(STEPS, 2 * PAIRS), step=step)
    rule = nd.brian.get(
        "feedback_inhibition",
        rate=1e-6,
        interneurons=PAIRS,
        threshold=THRESHOLD,
        excess=EXCESS,
        trace_time=TRACE_TIME * ms,
        mean_time=1e6 * step * ms,
        spontaneous_rate=1e-6 * brian2.Hz,
        homeostasis=None,
    )
    synapses = rule.synapses(group, drive="g_post -= w*mV")
    synapses.connect(condition="j // 2 == i")
    start = np.tile(WEIGHTS, PAIRS)
    synapses.w = start
    companion = synapses.companions.target
    companion.trace = SPIKING / (1 - np.exp(-step / TRACE_TIME))  # as after a long time
    companion.deviation = SPIKING / 2
    companion.elapsed = 1000 * second
    Network(group, synapses).run(STEPS * step * ms)
    changes = ((synapses.w[:] - start) / 1e-6 * THRESHOLD / STEPS).reshape(PAIRS, 2)
    private = EXCESS * (SPIKING * (1 - SPIKING) / 2 + SPIKING / 2) * WEIGHTS
    for pairs, covariance in ((slice(PAIRS // 2), 0.0), (slice(PAIRS // 2, None), TOGETHER - SPIKING**2)):
        drift, error = changes[pairs].mean(axis=0), changes[pairs].std(axis=0) / np.sqrt(PAIRS / 2)
        expected = covariance / 2 * WEIGHTS[::-1] - private
        assert np.all(np.abs(drift - expected) < 4 * error), (drift, expected, error)
        assert np.all(error < (0.04 if step >= 1 else 0.3) * private)  # of 30 trace times or many more, and of a few
