"""What every rule for pairs does on average, over time steps: rest, drift of independent and of coincident neurons."""

from __future__ import annotations

from typing import Any

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, Synapses, ms, second

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.brian.told import told

PAIRS, STEPS = 800, 2000
SPIKING, TOGETHER = 0.04, 0.02  # probabilities in a step: of a neuron, and of a pair where it has a common input
TRACE_TIME = 20.0  # ms

RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "lateral_covariance": ("lateral_covariance", {"homeostasis": None, "schedule": None}),
    "clock": ("lateral_covariance", {"homeostasis": None, "schedule": None, "moved_by": "clock"}),
    "vogels": ("vogels", {}),
    "foldiak": ("foldiak", {}),
    "correlation_measuring": ("correlation_measuring", {}),
}


pytestmark = pytest.mark.usefixtures("brian_on_numpy")


def trains(together: float, pairs: int = PAIRS, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """Two trains a pair, each spiking with the same probability in every step, both in one with that of `together`."""
    generator = np.random.default_rng(1)
    common = generator.random((steps, pairs)) < (together - SPIKING**2) / (1 - 2 * SPIKING + together)
    own = generator.random((2, steps, pairs)) < 1 - (1 - SPIKING) / (1 - common.mean())
    return tuple(common | own)


def learnt(kind: str, step: float, spikes: tuple[np.ndarray, np.ndarray], **options: Any) -> np.ndarray:
    """Changes of the weights of independent pairs of neurons at the target rate, in multiples of the rate."""
    brian2.defaultclock.dt = step * ms
    name, parameters = RULES[kind]
    parameters = {"rate": 1e-6, "trace_time": TRACE_TIME * ms, "smallest_weight": -1.0, **parameters, **options}
    target_rate = SPIKING / (step * ms)
    if name == "vogels":
        parameters["target_rate"] = target_rate
    elif name == "foldiak":
        parameters["homeostasis"] = nd.brian.Homeostasis(target_rate=target_rate)
    if name in {"lateral_covariance", "correlation_measuring"}:
        parameters["mean_time"] = 1000 * step * ms
    groups = [told(train, step=step) for train in spikes]
    synapses: Synapses = nd.brian.get(name, **parameters).synapses(*groups, drive="g_post -= w*mV")
    synapses.connect(j="i")
    kept = np.exp(-step / TRACE_TIME)
    for companion in (synapses.companions.source, synapses.companions.target):  # as after a long time
        companion.trace = SPIKING / (1 - kept)
        if "deviation" in companion.variables:
            companion.deviation = SPIKING * (1.0 if kind == "clock" else 0.5)  # read before the spikes of a step alone
        companion.elapsed = 1000 * second
    Network(*groups, synapses).run(len(spikes[0]) * step * ms)
    return synapses.w[:] / 1e-6


# A trace time is 20, 5 steps and one: what a step does wrong shows most where it is longest.
@pytest.mark.parametrize("step", [1.0, pytest.param(4.0, marks=pytest.mark.slow), 20.0])
@pytest.mark.parametrize("kind", RULES)
def test_independent_neurons_at_their_target_rates_rest(kind: str, step: float) -> None:
    """The mean over independent pairs is zero, to 4 of its standard errors: far less than what a spike of the same
    step, or the decay of the trace within a step, would add."""
    pairs, steps = 2 * PAIRS, STEPS // 2  # as precise, and a step costs the same for more pairs
    changes = learnt(kind, step, trains(SPIKING**2, pairs, steps))
    error = changes.std() / np.sqrt(pairs)
    assert abs(changes.mean()) < 4 * error < SPIKING**2 * steps


@pytest.mark.parametrize("same_step", ["pre_first", "post_first"])
@pytest.mark.parametrize("kind", RULES)
def test_spikes_of_one_step_are_one_pair(kind: str, same_step: str) -> None:
    """Trains that covary within a step alone move weights by the covariance of a step, once, whatever the order."""
    spikes = trains(TOGETHER)
    together = np.mean(spikes[0] & spikes[1]) - spikes[0].mean() * spikes[1].mean()
    assert together == pytest.approx(TOGETHER - SPIKING**2, rel=0.02)
    changes = learnt(kind, 1.0, spikes, same_step=same_step)
    error = changes.std() / np.sqrt(PAIRS)
    assert changes.mean() == pytest.approx(together * STEPS, abs=4 * error)
    assert error < 0.02 * together * STEPS


def test_a_measured_correlation_is_that_of_the_steps() -> None:
    """At rest w = <y x> / (<y> <x>) - 1, with the window of the trace: of trains that covary within a step alone,
    their covariance over their squared probability and the window in steps, twice."""
    spikes = trains(TOGETHER)
    weights = learnt("correlation_measuring", 1.0, spikes, rate=5e-2, mean_time=20_000 * ms) * 1e-6
    kept = np.exp(-1.0 / TRACE_TIME)
    expected = (TOGETHER / SPIKING**2 - 1) * (1 - kept) / (1 + kept)
    # After six time constants of the weight, 1/(2 rate p window), over 800 pairs.
    assert weights.mean() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("step", [pytest.param(2.0, marks=pytest.mark.slow), 4.0])
def test_vogels_brings_neurons_to_the_rate(step: float) -> None:
    """Poisson neurons whose rate falls with their inhibition, all of one slow input that no single spike moves: the
    published rest, at any step; with traces read after their decay it would be tau / (tau - dt) of it, 11 and 25 % off.
    """
    brian2.defaultclock.dt = step * ms
    brian2.seed(3)
    sources = NeuronGroup(400, "x : 1", threshold="rand() < 20*Hz*dt")
    neurons = NeuronGroup(
        300,
        "dg/dt = -g/(100*ms) : Hz\nfired = clip(40*Hz - g, 0*Hz, 100*Hz) : Hz",
        threshold="rand() < fired*dt",
        method="euler",
    )
    rule = nd.brian.get("vogels", rate=2e-2, trace_time=TRACE_TIME * ms, target_rate=10 * Hz)
    synapses = rule.synapses(sources, neurons, drive="g_post += w*Hz")
    synapses.connect(p=0.1)
    synapses.w = 0.35
    spikes = brian2.SpikeMonitor(neurons, record=False)
    network = Network(sources, neurons, synapses, spikes)
    network.run(4 * second)
    settled, duration = spikes.num_spikes, 10.0
    network.run(duration * second)
    rate = (spikes.num_spikes - settled) / len(neurons) / duration
    assert rate == pytest.approx(10, rel=0.04)


def test_a_trace_shorter_than_a_step_is_refused() -> None:
    brian2.defaultclock.dt = 1 * ms
    group = NeuronGroup(3, "dg/dt = -g/(5*ms) : 1", threshold="rand() < 0.1", name="cells")
    rule = nd.brian.get("vogels", trace_time=0.7 * ms)
    with pytest.raises(InvalidValue, match=r"trace_time must be at least a time step of group 'cells', 1\. ms"):
        rule.synapses(group, drive="g_post -= w")
    brian2.defaultclock.dt = 0.1 * ms
    synapses = rule.synapses(group, drive="g_post -= w")
    synapses.connect(condition="i != j")
    brian2.defaultclock.dt = 1 * ms  # after the synapses were made
    with pytest.raises(Exception, match="preparing an object") as caught:
        Network(group, synapses).run(1 * ms)
    assert isinstance(caught.value.__cause__, InvalidValue)
