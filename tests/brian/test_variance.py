"""Variance targets: the weight of a neuron onto itself against a float64 loop; the target is reached."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, SpikeGeneratorGroup, SpikeMonitor, Synapses, ms, second

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue

NEURONS, STEPS = 4, 400
TRACE_TIME, MEAN_TIME, DISPERSION, RATE = 20.0, 100.0, 0.6, 0.03  # times in ms, rate in 1/ms


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 1 * ms


def test_the_weight_onto_itself_is_that_of_the_loop_and_reaches_the_drive() -> None:
    spikes = np.random.default_rng(0).random((STEPS, NEURONS)) < [0.02, 0.05, 0.1, 0.2]
    times, indices = np.nonzero(spikes)
    source = SpikeGeneratorGroup(NEURONS, indices, times * ms)
    neurons = NeuronGroup(NEURONS, "told : 1\ng : 1", threshold="told > 0.5", reset="told = 0")
    telling = Synapses(source, neurons, on_pre="told_post = 1")
    telling.connect(j="i")
    telling.pre.when = "end"  # it spikes in the next step
    variance = nd.brian.Variance(dispersion=DISPERSION, rate=RATE / ms, smallest_weight=-0.5, largest_weight=0.8)
    rule = nd.brian.get(
        rate=1e-12, homeostasis=None, variance=variance, trace_time=TRACE_TIME * ms, mean_time=MEAN_TIME * ms
    )
    synapses = rule.synapses(neurons, drive="g_post -= w")
    synapses.connect(condition="i != j")
    network = Network(source, neurons, telling, synapses)
    network.run(STEPS * ms)
    found = synapses.companions.target.self_weight[:].copy()

    late = np.vstack([np.zeros((1, NEURONS), dtype=bool), spikes[:-1]])
    trace, mean, weight, received = (np.zeros(NEURONS) for _ in range(4))
    lowest, highest, kept = weight, weight, np.exp(-1 / TRACE_TIME)
    for step in range(STEPS):
        seen = trace * (1 + kept) / 2  # of what synapses read in this step, before its spikes and after them
        weight = weight + RATE * ((seen - mean) ** 2 - DISPERSION * mean / 2)
        mean = mean + (seen - mean) / np.clip(step, TRACE_TIME, MEAN_TIME)
        trace = trace * kept
        received = received - weight * late[step]
        weight = np.clip(weight, -0.5, 0.8)
        trace = trace + late[step]
        lowest, highest = np.minimum(lowest, weight), np.maximum(highest, weight)
    assert np.ptp(found) > 0.1 and lowest.min() < 0 < highest.max()
    np.testing.assert_allclose(found, weight, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(neurons.g, received, rtol=0, atol=1e-6)  # and lateral weights of 1e-12

    nd.brian.freeze(synapses)
    network.run(20 * ms)
    assert np.array_equal(synapses.companions.target.self_weight[:], found)
    nd.brian.thaw(synapses)
    network.run(20 * ms)
    assert not np.array_equal(synapses.companions.target.self_weight[:], found)


def test_refusals() -> None:
    with pytest.raises(InvalidValue, match="needs the mean of the traces"):
        nd.brian.get("vogels", variance=nd.brian.Variance())
    with pytest.raises(InvalidValue, match=r"must be nd.brian.Variance\(...\) or None"):
        nd.brian.get(variance=0.5)
    with pytest.raises(InvalidValue, match="dispersion must be a finite number > 0"):
        nd.brian.Variance(dispersion=0.0)
    with pytest.raises(InvalidValue, match="needs units of Hz"):
        nd.brian.Variance(rate=1 * second)
    with pytest.raises(InvalidValue, match="largest_weight must be a finite number > 0"):
        nd.brian.Variance(smallest_weight=0.0, largest_weight=0.0)


def dispersion(target: float | None) -> np.ndarray:
    """Fano factors relative to a Poisson train's, of traces, of independent neurons after 50 s of learning."""
    neurons = NeuronGroup(
        30,
        "dv/dt = (17*mV + gi - v)/(20*ms) + 4*mV*xi*sqrt(2/(20*ms)) : volt (unless refractory)\n"
        "dgi/dt = -gi/(10*ms) : volt",
        threshold="v > 20*mV",
        reset="v = 0*mV",
        refractory=2 * ms,
        method="euler",
    )
    variance = None if target is None else nd.brian.Variance(dispersion=target, rate=5 * Hz)
    homeostasis = nd.brian.Homeostasis(target_rate=12 * Hz, rate=3 * Hz)
    rule = nd.brian.get(rate=1e-12, variance=variance, homeostasis=homeostasis, gain=None)
    synapses = rule.synapses(neurons, drive="gi_post -= 10*w*mV")
    synapses.connect(condition="i == j + 1")
    spikes = SpikeMonitor(neurons)
    brian2.seed(1)
    network = Network(neurons, synapses, spikes)
    network.run(50 * second)
    assert spikes.num_spikes > 10_000
    found = []
    for train in spikes.spike_trains().values():
        fired = np.bincount(np.rint(train / ms).astype(int), minlength=50_000)
        trace, course = 0.0, np.empty(50_000)
        for step in range(50_000):
            trace = trace * (1 - 1 / 50) + fired[step]
            course[step] = trace
        held = course[20_000:]
        found.append(held.var() / (held.mean() / 2))
    return np.array(found)


@pytest.mark.slow
def test_a_population_reaches_its_target_and_without_it_does_not() -> None:
    """The variance of the traces, computed from the spikes, after 20 s of learning; independent neurons."""
    without = dispersion(None).mean()
    assert 0.45 < without < 0.6
    for target in (0.4, 1.0):
        assert dispersion(target).mean() == pytest.approx(target, abs=0.05)
        assert abs(without - target) > 0.1
