"""Spiking interneurons: their charge and weights against a float64 loop, their use, their errors."""

from __future__ import annotations

from pathlib import Path

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, SpikeGeneratorGroup, SpikeMonitor, StateMonitor, ms, second

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.brian.on_target import simulate

NEURONS, INTERNEURONS, STEPS = 6, 3, 500
RATE, TRACE_TIME, MEAN_TIME, THRESHOLD, EXCESS, SPONTANEOUS = 0.02, 20.0, 200.0, 1.5, 0.4, 0.03  # times in ms


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 1 * ms


def rule(**parameters: object) -> nd.brian.SpikingRule:
    return nd.brian.get(
        "feedback_inhibition",
        **{
            "rate": RATE,
            "interneurons": INTERNEURONS,
            "threshold": THRESHOLD,
            "excess": EXCESS,
            "spontaneous_rate": SPONTANEOUS / ms,
            "trace_time": TRACE_TIME * ms,
            "mean_time": MEAN_TIME * ms,
            "homeostasis": None,
            **parameters,
        },
    )


def trains(seed: int = 0) -> np.ndarray:
    """Which neuron spikes at which step: two groups of three that spike together."""
    generator = np.random.default_rng(seed)
    together = np.repeat(generator.random((STEPS, 2)) < 0.03, 3, axis=1)
    return together | (generator.random((STEPS, NEURONS)) < 0.02)


def loop(spikes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The published statements over steps and pairs; weights[interneuron, neuron], and who spiked when."""
    weights, fired = weights.copy(), []
    trace, mean = np.zeros(NEURONS), np.zeros(NEURONS)
    charge = THRESHOLD * (np.arange(INTERNEURONS) + 0.618) / INTERNEURONS
    for step in range(STEPS):
        warm, kept = np.clip(step, TRACE_TIME, MEAN_TIME), np.exp(-1 / TRACE_TIME)
        mean = mean + (trace * (1 + kept) / 2 - mean) / warm  # of what the synapses read: half of a spike, on average
        trace = trace * kept + spikes[step] / 2
        charge = charge + THRESHOLD * SPONTANEOUS
        for k in range(INTERNEURONS):
            for j in np.flatnonzero(spikes[step]):
                charge[k] += weights[k, j]
                own = ((1 + EXCESS) * (trace[j] - mean[j]) + EXCESS / 2) * weights[k, j] / THRESHOLD
                weights[k, j] = np.clip(weights[k, j] - RATE * own, 0, 1)
        above = np.flatnonzero(charge >= THRESHOLD)
        for k in above:
            fired.append((step, int(k)))
            for j in range(NEURONS):
                weights[k, j] = np.clip(weights[k, j] + RATE * (trace[j] - mean[j]), 0, 1)
        charge[above] -= THRESHOLD
        trace = trace + spikes[step] / 2
    return weights, fired


class Received:
    """A group that takes inhibition and spikes when told, so that the interneurons' output can be read."""

    def __init__(self, spikes: np.ndarray) -> None:
        times, indices = np.nonzero(spikes)
        self.source = SpikeGeneratorGroup(NEURONS, indices, times * ms)
        self.neurons = NeuronGroup(NEURONS, "told : 1\ng : 1", threshold="told > 0.5", reset="told = 0")
        self.telling = brian2.Synapses(self.source, self.neurons, on_pre="told_post = 1")
        self.telling.connect(j="i")
        self.telling.pre.when = "end"  # it spikes in the next step
        self.all = (self.source, self.neurons, self.telling)


def test_weights_and_spikes_are_those_of_the_loop() -> None:
    spikes = trains()
    population = Received(spikes)
    synapses = rule().synapses(population.neurons, drive="g_post -= w")
    synapses.connect()
    start = 0.2 + 0.1 * np.sin(np.arange(INTERNEURONS * NEURONS)).reshape(INTERNEURONS, NEURONS)
    nd.brian.set_weights(synapses, start)
    monitor = SpikeMonitor(synapses.source)
    Network(*population.all, synapses, monitor).run(STEPS * ms)
    late = np.vstack([np.zeros((1, NEURONS), dtype=bool), spikes[:-1]])
    expected, fired = loop(late, start)
    assert len(fired) > 60 and np.abs(expected - start).max() > 0.1 and (expected > 0).mean() > 0.5
    np.testing.assert_allclose(nd.brian.weights_to_matrix(synapses), expected, rtol=1e-9, atol=1e-12)
    assert sorted(zip(np.rint(monitor.t / ms).astype(int), monitor.i, strict=True)) == fired


def test_an_interneuron_counts_the_weighted_spikes_to_within_one() -> None:
    spikes = trains(1)
    population = Received(spikes)
    synapses = rule(rate=1e-12).synapses(population.neurons, drive="g_post -= w")
    synapses.connect()
    weights = 0.5 * np.random.default_rng(2).random((INTERNEURONS, NEURONS))  # at most one spike a step is due
    nd.brian.set_weights(synapses, weights)
    monitor = SpikeMonitor(synapses.source)
    Network(*population.all, synapses, monitor).run(STEPS * ms)
    heard = weights @ spikes[:-1].sum(axis=0) / THRESHOLD + SPONTANEOUS * STEPS
    heard += (np.arange(INTERNEURONS) + 0.618) / INTERNEURONS  # the charge of the start
    assert heard.min() > 20
    assert np.all((heard - 1.5 < monitor.count[:]) & (monitor.count[:] <= heard))
    np.testing.assert_allclose(population.neurons.g, -weights.T @ monitor.count, rtol=1e-7)


def test_weights_grow_from_nothing_for_those_that_spike_together_and_not_for_the_others() -> None:
    """The average change is rate (C - V - ...) w: a positive common mode has the largest eigenvalue."""
    generator = np.random.default_rng(0)
    together = generator.random((4000, 1)) < 0.04
    spikes = generator.random((4000, NEURONS)) < 0.02
    spikes[:, :3] |= together
    times, indices = np.nonzero(spikes)
    group = SpikeGeneratorGroup(NEURONS, indices, times * ms)
    receiving = NeuronGroup(NEURONS, "g : 1\nx : 1", threshold="x > 0.5", reset="x = 0")
    telling = brian2.Synapses(group, receiving, on_pre="x_post = 1")
    telling.connect(j="i")
    synapses = rule(rate=0.03, threshold=1.0, excess=0.05).synapses(receiving, drive="g_post -= w")
    synapses.connect()
    assert not np.any(synapses.w[:])
    Network(group, receiving, telling, synapses).run(4000 * ms)
    weights = nd.brian.weights_to_matrix(synapses)
    assert weights[:, :3].mean() > 0.3
    assert weights[:, 3:].mean() < weights[:, :3].mean() / 2


def test_the_users_lines() -> None:
    """Magic run, a subgroup, homeostasis, freezing, and what is printed."""
    neurons = NeuronGroup(
        8, "dv/dt = (drive - v + g)/(10*ms) : 1\ndg/dt = -g/(5*ms) : 1\ndrive : 1", threshold="v > 1", reset="v = 0"
    )
    neurons.drive = "1.5 + 0.1*i"
    equations = str(neurons.equations)
    made = rule(homeostasis=nd.brian.Homeostasis(target_rate=60 * Hz))
    lateral = made.synapses(neurons[2:], drive="g_post -= 0.1*w", delay=1 * ms, name="common")
    lateral.connect()
    monitor = StateMonitor(lateral.source, "charge", record=True)
    brian2.run(200 * ms)
    assert isinstance(lateral, brian2.Synapses) and len(lateral) == 6 * INTERNEURONS
    assert np.ptp(lateral.w[:]) > 0 and np.ptp(lateral.companions.target.bias_rate / Hz) > 0
    assert np.ptp(monitor.charge) > 0 and str(neurons.equations) == equations
    nd.brian.freeze(lateral)
    weights, charge = lateral.w[:].copy(), lateral.source.charge[:].copy()
    brian2.run(100 * ms)
    assert np.array_equal(lateral.w[:], weights) and not np.array_equal(lateral.source.charge[:], charge)
    for text in (made.equations, made.model, made.on_pre, made.on_post, made.traces, "3 interneurons"):
        assert text in str(made)


def test_refusals() -> None:
    neurons, other = (NeuronGroup(4, "v : 1", threshold="v > 1", reset="v = 0") for _ in range(2))
    for parameters, message in [
        ({"interneurons": 0}, "whole number >= 1"),
        ({"interneurons": 2.0}, "whole number >= 1"),
        ({"threshold": 0.0}, "finite number > 0"),
        ({"excess": 0.0}, "finite number > 0"),
        ({"spontaneous_rate": 5 * second}, "needs units of Hz"),
        ({"smallest_weight": -1.0}, "Dale's law"),
    ]:
        with pytest.raises(InvalidValue, match=message):
            rule(**parameters)
    with pytest.raises(InvalidValue, match="give one group"):
        rule().synapses(neurons, other, drive="v_post -= w")
    lateral = rule().synapses(neurons, drive="v_post -= w")
    with pytest.raises(InvalidValue, match="presynaptic neurons have no companion"):
        _ = lateral.companions.source
    with pytest.raises(InvalidValue, match="must be a group"):
        rule().synapses("neurons", drive="v_post -= w")


def common_modes(counts: np.ndarray, modes: int) -> tuple[np.ndarray, np.ndarray]:
    """The leading eigenvalues and eigenvectors of the covariance of counts less the variances of the neurons."""
    covariance = np.cov(counts.astype(float).T)
    values, vectors = np.linalg.eigh(covariance - np.diag(np.diag(covariance)))
    return values[::-1][:modes], vectors[:, ::-1][:, :modes]


@pytest.mark.slow
@pytest.mark.standalone
def test_a_population_learns_its_common_modes_and_cancels_them(tmp_path: Path) -> None:
    """Two sources, two modes: the weights span them (Oja), and held-out input has lost most of them."""
    found = simulate("tests.brian.common_modes:run", "cpp_standalone", tmp_path)
    counts = [found["before"], found["after"]]
    values, modes = common_modes(counts[0], 2)
    weights = found["weights"]
    assert weights.min() >= 0  # Dale's law
    _, strength, span = np.linalg.svd(weights, full_matrices=False)
    cosines = np.linalg.svd(span[:2] @ modes, compute_uv=False)
    assert cosines.min() > 0.8  # of random directions: about sqrt(2 / 60)
    assert strength[1] > 1.5 * strength[2]
    covariance = np.cov(counts[1].astype(float).T)
    left = np.diag(modes.T @ (covariance - np.diag(np.diag(covariance))) @ modes)
    # At rest kappa (V + tau rho / 2) of traces is left, in counts kappa (V + mean): weak modes come to it from above.
    rest = nd.brian.get("feedback_inhibition").excess * (np.diag(covariance).mean() + counts[1].mean())
    assert values[0] > 10 * rest and values[1] > 2 * rest and np.all(left < 1.5 * rest)
    assert counts[1].mean() == pytest.approx(counts[0].mean(), rel=0.1)
