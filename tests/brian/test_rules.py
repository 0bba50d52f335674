"""Rules on given spikes against a float64 loop, on the numpy target: weights, traces, bias."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, SpikeGeneratorGroup, StateMonitor, Synapses, ms, second

import neuro_decorr as nd

STEP = 1.0  # ms
NEURONS, STEPS = 6, 400


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = STEP * ms


def spikes(seed: int = 0, probability: float = 0.05) -> np.ndarray:
    """Which neuron spikes at which step: shape (STEPS, NEURONS)."""
    return np.random.default_rng(seed).random((STEPS, NEURONS)) < probability


def relay(trains: np.ndarray) -> tuple[SpikeGeneratorGroup, NeuronGroup, Synapses]:
    """Neurons that spike exactly when told, in the step after, with a variable that inhibition reaches."""
    times, indices = np.nonzero(trains)
    source = SpikeGeneratorGroup(NEURONS, indices, times * STEP * ms)
    neurons = NeuronGroup(NEURONS, "told : 1\ng : volt", threshold="told > 0.5", reset="told = 0")
    telling = Synapses(source, neurons, on_pre="told_post = 1")
    telling.connect(j="i")
    telling.pre.when = "end"  # after the reset of this step
    return source, neurons, telling


def reference(name: str, trains: np.ndarray, late_pre: bool = False, **values: float) -> np.ndarray:
    """The published statements in a loop over steps and pairs; weights[pre, post]; times in ms."""
    rate, trace_time = values["rate"], values["trace_time"]
    weights = np.full((NEURONS, NEURONS), 0.1)
    trace, mean = np.zeros(NEURONS), np.zeros(NEURONS)
    kept = np.exp(-STEP / trace_time)
    window = STEP / 2 / np.tanh(STEP / 2 / trace_time)  # of the trace, in steps
    for step in range(STEPS):
        warm = np.clip(step * STEP, trace_time, values["mean_time"])
        mean = mean + STEP * (trace * (1 + kept) / 2 - mean) / warm  # of what is read before and after the spikes
        trace = trace * kept
        fired = trains[step]
        seen = {"pre": trace + (fired if late_pre else 0), "post": trace + (0 if late_pre else fired)}

        def change(side: str, neuron: int, weight: float, seen: dict = seen, mean: np.ndarray = mean) -> float:
            read = seen[side][neuron]
            if name == "lateral_covariance":
                return read - mean[neuron]
            if name == "foldiak":
                return read - values["target_rate"] * window / 1e3
            if name == "correlation_measuring":
                return read - mean[neuron] * (1 + weight)
            return read - (2 * values["target_rate"] * window / 1e3 if side == "pre" else 0)

        for side in ("post", "pre") if late_pre else ("pre", "post"):
            for pre, post in np.ndindex(NEURONS, NEURONS):
                spiking, other = (pre, post) if side == "pre" else (post, pre)
                if pre != post and fired[spiking]:
                    step_ = rate * change(side, other, weights[pre, post])
                    weights[pre, post] = np.clip(weights[pre, post] + step_, 0, values["largest"])
        trace = trace + fired
    np.fill_diagonal(weights, np.nan)
    return weights


CASES = {
    "lateral_covariance": {"mean_time": 200 * ms, "homeostasis": None},
    "foldiak": {"homeostasis": nd.brian.Homeostasis(target_rate=40 * Hz)},
    "vogels": {"target_rate": 30 * Hz, "largest_weight": 1.0},
    "correlation_measuring": {"mean_time": 200 * ms, "largest_weight": 1.0},
}


def test_every_rule_is_tested() -> None:
    spiking = {name for name in nd.brian.names() if isinstance(nd.brian.get(name), nd.brian.SpikingRule)}
    assert set(CASES) == spiking - {"feedback_inhibition"}  # in a test of its own


@pytest.mark.parametrize("same_step", ["pre_first", "post_first"])
@pytest.mark.parametrize("name", CASES)
def test_weights_are_those_of_the_loop(name: str, same_step: str) -> None:
    trains = spikes()
    source, neurons, telling = relay(trains[:])
    rule = nd.brian.get(name, rate=0.02, trace_time=20 * ms, same_step=same_step, **CASES[name])
    synapses = rule.synapses(neurons, drive="g_post -= w*mV", name=f"tested_{name}")
    synapses.connect(condition="i != j")
    synapses.w = 0.1
    network = Network(source, neurons, telling, synapses)
    network.run(STEPS * STEP * ms)
    # A neuron is told in a step's slot of synapses, after its thresholds: it spikes one step later.
    late = np.vstack([np.zeros((1, NEURONS), dtype=bool), trains[:-1]])
    values = {"mean_time": 200.0, "target_rate": {"foldiak": 40.0}.get(name, 30.0), "largest": 1.0}
    expected = reference(name, late, same_step == "post_first", rate=0.02, trace_time=20.0, **values)
    found = nd.brian.weights_to_matrix(synapses)
    assert np.nanstd(expected) > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_bias_integrates_the_difference_from_the_target_and_reaches_the_drive() -> None:
    trains = spikes(1)
    source, neurons, telling = relay(trains)
    homeostasis = nd.brian.Homeostasis(target_rate=20 * Hz, rate=3 * Hz)
    rule = nd.brian.get("lateral_covariance", rate=1e-9, homeostasis=homeostasis, gain=None)
    synapses = rule.synapses(neurons, drive="g_post -= w*mV")
    synapses.connect(condition="i != j")
    network = Network(source, neurons, telling, synapses)
    network.run(STEPS * STEP * ms)
    counts = trains[:-1].sum(axis=0)
    expected = 3 * (20 * STEPS * STEP / 1e3 - counts)
    np.testing.assert_allclose(synapses.companions.target.bias_rate / Hz, expected, rtol=1e-9)
    # The injected amount is the sum over steps of bias * dt * mV, with the bias as it was when each step began.
    bias, injected = np.zeros(NEURONS), np.zeros(NEURONS)
    fired = np.vstack([np.zeros((1, NEURONS), dtype=bool), trains[:-1]])
    for step in range(STEPS):
        injected += bias * STEP / 1e3
        bias += 3 * 20 * STEP / 1e3 - 3 * fired[step]
    np.testing.assert_allclose(np.asarray(neurons.g) * 1e3, injected, rtol=0, atol=1e-4)


def test_independent_neurons_learn_nothing_on_average() -> None:
    """What synapses read of a trace is, on average over a regular train, its mean, before its spikes and after."""
    trains = np.zeros((STEPS, NEURONS), dtype=bool)
    trains[::10] = True
    source, neurons, telling = relay(trains)
    rule = nd.brian.get(homeostasis=None, trace_time=20 * ms, mean_time=80 * ms)
    synapses = rule.synapses(neurons, drive="g_post -= w*mV")
    synapses.connect(condition="i != j")
    reads = [
        StateMonitor(synapses.companions.target, ["trace", "deviation"], record=[0], when="synapses", order=order)
        for order in (-1, 1)
    ]
    network = Network(source, neurons, telling, synapses, reads)
    network.run(STEPS * STEP * ms)
    whole = slice(STEPS - 100, STEPS)  # ten periods, five averaging times after the start
    trace, deviation = (np.mean([getattr(read, name)[0, whole] for read in reads]) for name in ("trace", "deviation"))
    assert trace == pytest.approx(0.1 * 20, rel=1e-3)
    assert abs(deviation) < 0.01 * trace


def test_own_rates_are_counted_before_anything_is_learnt() -> None:
    trains = spikes(2, 0.2)
    source, neurons, telling = relay(trains)
    homeostasis = nd.brian.Homeostasis(calibration=300 * ms)
    synapses = nd.brian.get(homeostasis=homeostasis, rate=0.1, gain=None).synapses(neurons, drive="g_post -= w*mV")
    synapses.connect(condition="i != j")
    synapses.w = 0.1
    network = Network(source, neurons, telling, synapses)
    network.run(300 * ms)
    assert np.all(synapses.w[:] == 0.1) and np.all(synapses.companions.target.bias_rate == 0 * Hz)
    network.run(100 * ms)
    assert np.ptp(synapses.w[:]) > 0
    expected = trains[:299].sum(axis=0) / 0.3
    np.testing.assert_allclose(synapses.companions.target.target_rate / Hz, expected, rtol=1e-9)


def test_transmission_is_delayed_and_plasticity_is_not() -> None:
    trains = spikes(3)
    found, received = [], []
    for delay in (None, 100 * second):
        source, neurons, telling = relay(trains)
        rule = nd.brian.get(homeostasis=None, rate=0.02)
        synapses = rule.synapses(neurons, drive="g_post -= w*mV", delay=delay)
        synapses.connect(condition="i != j")
        Network(source, neurons, telling, synapses).run(STEPS * STEP * ms)
        found.append(nd.brian.weights_to_matrix(synapses))
        received.append(np.abs(neurons.g / (1e-3 * brian2.volt)).sum())
    np.testing.assert_array_equal(found[0], found[1])
    assert received[0] > 0 and received[1] == 0


def test_a_clock_moves_weights_by_the_product_of_both_deviations() -> None:
    trains = spikes(8)
    source, neurons, telling = relay(trains)
    times = {"trace_time": 20 * ms, "mean_time": 200 * ms}
    rule = nd.brian.get(moved_by="clock", rate=0.02, homeostasis=None, schedule=None, gain=None, **times)
    synapses = rule.synapses(neurons, drive="g_post -= w*mV")
    synapses.connect()
    synapses.w = 0.3
    Network(source, neurons, telling, synapses).run(STEPS * STEP * ms)
    expected, kept = np.full((NEURONS, NEURONS), 0.3), np.exp(-STEP / 20)
    trace, mean = np.zeros(NEURONS), np.zeros(NEURONS)
    for step in range(1, STEPS):
        trace = trace * kept
        mean = mean + (trace - mean) / np.clip(step * STEP, 20, 200)
        if step % 10 == 0:
            sampled = 10 * (1 - kept**2) / kept**2  # so that spikes of one step are one pair
            change = 0.02 * sampled * np.outer(trace - mean, trace - mean)
            expected = np.clip(expected + change, 0, 1)
        trace = trace + trains[step - 1]
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(nd.brian.weights_to_matrix(synapses), expected, rtol=1e-9, atol=1e-12)


def test_subgroups_learn_as_the_same_neurons_of_the_whole_do() -> None:
    trains = spikes(4)
    source, neurons, telling = relay(trains)
    rule = nd.brian.get(homeostasis=nd.brian.Homeostasis(target_rate=20 * Hz), rate=0.02, gain=None)
    whole = rule.synapses(neurons, drive="g_post -= w*mV", bias_drive="g_post += 0*bias*mV")
    part = rule.synapses(neurons[2:5], neurons[1:4], drive="g_post -= w*mV", bias_drive="g_post += bias*mV")
    whole.connect()
    part.connect()
    Network(source, neurons, telling, whole, part).run(STEPS * STEP * ms)
    matrices = [nd.brian.weights_to_matrix(synapses) for synapses in (whole, part)]
    assert matrices[1].shape == (3, 3) and np.ptp(matrices[1]) > 0
    np.testing.assert_allclose(matrices[1], matrices[0][2:5, 1:4], rtol=1e-12)


def test_two_populations() -> None:
    """Traces of each side come from its own spikes."""
    first, second_ = spikes(5), spikes(6)
    parts = [relay(first), relay(second_)]
    rule = nd.brian.get("vogels", rate=0.02, trace_time=20 * ms, largest_weight=100.0)
    synapses = rule.synapses(parts[0][1], parts[1][1], drive="g_post -= w*mV")
    synapses.connect(j="i")
    synapses.w = 50
    Network(*parts[0], *parts[1], synapses).run(STEPS * STEP * ms)
    expected = np.full(NEURONS, 50.0)
    for neuron in range(NEURONS):
        before = after = 0.0
        for step in range(1, STEPS):
            before, after = before * np.exp(-STEP / 20), after * np.exp(-STEP / 20)
            expected[neuron] += 0.02 * (after - 5 * 1e-3 / np.tanh(0.5 / 20)) * first[step - 1, neuron]
            before = before + first[step - 1, neuron]
            expected[neuron] += 0.02 * before * second_[step - 1, neuron]
            after = after + second_[step - 1, neuron]
    np.testing.assert_allclose(synapses.w[:], expected, rtol=1e-9)
