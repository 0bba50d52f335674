"""What is frozen stays, what is thawed learns, whatever was set before; homeostasis within its bounds."""

from __future__ import annotations

from typing import Any

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, SpikeMonitor, Synapses, ms, second

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.brian.every_rule import quick, spiking_rules


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 1 * ms
    brian2.seed(1)


def poisson(count: int = 5, rate: float = 0.05, name: str = "cells*") -> NeuronGroup:
    """Neurons that spike at random, whatever reaches g."""
    return NeuronGroup(
        count, "dg/dt = -g/(5*ms) : 1", threshold=f"rand() < {rate}", method="euler", name=name, namespace={}
    )


def lateral(rule: nd.brian.SpikingRule, neurons: NeuronGroup, **options: Any) -> Synapses:
    synapses = rule.synapses(neurons, drive="g_post -= w", **options)
    synapses.connect(condition="i != j")
    return synapses


@pytest.mark.parametrize("name", sorted(set(spiking_rules()) - {"feedback_inhibition"}))
def test_frozen_weights_outside_of_the_bounds_stay(name: str) -> None:
    neurons = poisson()
    synapses = lateral(quick(name), neurons)
    outside = np.full((5, 5), 250.0)
    outside[0] = -0.5
    nd.brian.set_weights(synapses, outside)
    nd.brian.freeze(synapses)
    network, spikes = Network(neurons, synapses), SpikeMonitor(neurons)
    network.add(spikes)
    network.run(200 * ms)
    assert spikes.count[:].min() > 0 and set(synapses.w[:]) == {-0.5, 250.0}
    nd.brian.thaw(synapses)
    network.run(200 * ms)
    assert synapses.w[:].min() >= 0 and synapses.w[:].max() <= quick(name).largest_weight


def test_what_the_user_sets_is_not_what_freeze_and_thaw_set() -> None:
    """A value of `run_args` stands in the compiled program where it starts; thaw comes after it."""
    neurons = poisson()
    synapses = lateral(nd.brian.get("vogels", rate=0.1), neurons)
    synapses.learning = 0
    nd.brian.freeze(synapses)
    network = Network(neurons, synapses)
    network.run(50 * ms)
    nd.brian.thaw(synapses)
    network.run(200 * ms)
    assert not synapses.w[:].any()
    synapses.learning = 1
    network.run(200 * ms)
    assert synapses.w[:].any()


@pytest.mark.slow
def test_thawed_after_the_end_of_a_schedule_they_learn_again() -> None:
    """And not before it: a pause in the middle does not change when all is held."""
    schedule = nd.brian.Schedule(learning=100 * ms, annealing=50 * ms, consolidation=50 * ms)
    homeostasis = nd.brian.Homeostasis(target_rate=50 * Hz)
    times = {"trace_time": 20 * ms, "mean_time": 80 * ms, "schedule": schedule}
    rule = nd.brian.get(rate=0.05, homeostasis=homeostasis, gain=None, **times)
    neurons = poisson()
    synapses = lateral(rule, neurons)
    companion, network = synapses.companions.target, Network(neurons, synapses)
    network.run(50 * ms)
    nd.brian.freeze(synapses)
    network.run(30 * ms)
    nd.brian.thaw(synapses)
    network.run(rule.learnt - 80 * ms)

    def state() -> tuple[np.ndarray, np.ndarray]:
        return synapses.w[:].copy(), companion.bias_rate[:].copy()

    held = state()
    assert held[0].any()
    network.run(200 * ms)
    assert all(np.array_equal(*pair) for pair in zip(held, state(), strict=True))
    nd.brian.thaw(synapses)
    network.run(200 * ms)
    assert not any(np.array_equal(*pair) for pair in zip(held, state(), strict=True))
    assert companion.pace[:] == 1
    nd.brian.freeze(synapses, homeostasis=True)
    held = state()
    network.run(200 * ms)
    assert all(np.array_equal(*pair) for pair in zip(held, state(), strict=True))


def test_several_synapses_of_a_pair_have_no_matrix() -> None:
    neurons = poisson()
    synapses = nd.brian.get().synapses(neurons, drive="g_post -= w")
    synapses.connect(condition="i == 2", n=3)
    with pytest.raises(InvalidValue, match="3 synapses go from neuron 2 to neuron 0") as caught:
        nd.brian.weights_to_matrix(synapses)
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidValue, match="a matrix holds one number per pair"):
        nd.brian.set_weights(synapses, np.ones((5, 5)))


def integrator(seconds: float, **parameters: Any) -> np.ndarray:
    """Rates in every second: three of them with an input, some without, two with it again."""
    lit = brian2.TimedArray([1.0] * 3 + [0.0] * int(seconds) + [1.0] * 2, dt=1 * second)
    neurons = NeuronGroup(
        20,
        "dv/dt = (22*mV*lit(t) + g - v)/(20*ms) : volt (unless refractory)\ndg/dt = -g/(10*ms) : volt",
        threshold="v > 20*mV",
        reset="v = 0*mV",
        refractory=2 * ms,
        method="euler",
        namespace={"lit": lit},
    )
    neurons.v = "i*mV"
    target = nd.brian.Homeostasis(target_rate=20 * Hz, **parameters)
    synapses = nd.brian.get(homeostasis=target, gain=None).synapses(neurons, drive="g_post -= w*mV")
    synapses.connect(condition="i != j")
    nd.brian.freeze(synapses)
    spikes = SpikeMonitor(neurons)
    Network(neurons, synapses, spikes).run((5 + seconds) * second)
    rates = np.histogram(spikes.t / second, np.arange(6 + seconds))[0] / 20
    bias = synapses.companions.target.bias_rate[:]
    assert np.all(np.abs(bias) <= target.largest_bias * 20 * Hz)
    return rates


@pytest.mark.slow
def test_the_bias_is_bounded_while_a_neuron_has_no_input() -> None:
    """Ten seconds without input would wind it up to 2000 spikes a second; bounded it stands for 5 times the target."""
    rates = integrator(10, largest_bias=5.0)
    assert rates[2] == pytest.approx(20, abs=2) and not rates[3:13].any()
    # At the bound of 100 spikes of 1 mV a second the membrane's drive is 22 + 100 * 10e-3 mV.
    fastest = 1000 / (2 + 20 * np.log(23 / 3))
    assert rates[13] <= fastest + 1
    assert integrator(10, largest_bias=1e6)[13] > 1.5 * fastest


def test_every_neuron_has_a_target_of_its_own() -> None:
    """Also those of a part of a group; the rates are reached, and the foldiak rule compares with each one's."""
    neurons = NeuronGroup(
        5,
        "dv/dt = (22*mV + g - v)/(10*ms) : volt\ndg/dt = -g/(5*ms) : volt",
        threshold="v > 20*mV",
        reset="v = 0*mV",
        method="exact",
    )
    targets = [30.0, 40.0, 50.0] * Hz
    rule = nd.brian.get("foldiak", homeostasis=nd.brian.Homeostasis(target_rate=targets, rate=200 * Hz))
    assert rule == nd.brian.get("foldiak", homeostasis=nd.brian.Homeostasis(target_rate=targets, rate=200 * Hz))
    synapses = rule.synapses(neurons[1:4], drive="g_post -= w*mV")
    synapses.connect(condition="i != j")
    nd.brian.freeze(synapses)
    spikes = SpikeMonitor(neurons)
    network = Network(neurons, synapses, spikes)
    network.run(1 * second)
    settled = spikes.count[:].copy()
    network.run(1 * second)
    np.testing.assert_allclose((spikes.count[:] - settled)[1:4], targets / Hz, atol=1)
    expected = targets / Hz * 0.5e-3 / np.tanh(0.5 / 50)
    np.testing.assert_allclose(synapses.companions.target.expected[1:4], expected, rtol=1e-12)
    with pytest.raises(InvalidValue, match="one rate for each of the 5 neurons of the target group, got 3"):
        rule.synapses(neurons, drive="g_post -= w*mV")
    with pytest.raises(InvalidValue, match="target_rate must be one finite quantity"):
        nd.brian.Homeostasis(target_rate=[1.0, -1.0] * Hz)
    with pytest.raises(InvalidValue, match="needs units of Hz"):
        nd.brian.Homeostasis(target_rate=[1.0, 2.0])


def test_target_rates_of_other_neurons_are_not_taken_for_zero() -> None:
    """`foldiak` compares the source with its target rates too, which an array for the target does not hold."""
    homeostasis = nd.brian.Homeostasis(target_rate=[30.0, 40.0, 50.0] * Hz)
    rule, cells, others = nd.brian.get("foldiak", homeostasis=homeostasis), poisson(), poisson(3)
    for source in (others, cells, cells[:3], cells[3:]):
        with pytest.raises(InvalidValue, match="also needs target rates of other neurons, in the source") as caught:
            rule.synapses(source, cells[1:4], drive="g_post -= w")
        assert "\n" not in str(caught.value)
    within = rule.synapses(cells[2:4], cells[1:4], drive="g_post -= w")
    within.connect()
    expected = np.array([40.0, 50.0]) * 0.5e-3 / np.tanh(0.5 / 50)
    np.testing.assert_allclose(within.source_expected[:, 2], expected, rtol=1e-12)
    between = nd.brian.get("lateral_covariance", homeostasis=homeostasis).synapses(
        others, cells[1:4], drive="g_post -= w"
    )
    np.testing.assert_array_equal(between.companions.target.target_rate / Hz, [0, 30, 40, 50, 0])


def test_foldiak_begins_with_the_neurons_own_rates() -> None:
    """By default, after counting them."""
    homeostasis = nd.brian.get("foldiak").homeostasis
    assert homeostasis.target_rate is None and homeostasis.calibration == 100 * second


def test_a_variable_of_the_users_may_be_called_source() -> None:
    group = NeuronGroup(4, "dg/dt = -g/(5*ms) : 1\nsource : 1", threshold="rand() < 0.1", method="euler")
    synapses = lateral(quick("lateral_covariance"), group)
    Network(group, synapses).run(5 * ms)
    assert len(synapses.companions.target) == 4


def summing(target: NeuronGroup, name: str) -> Synapses:
    made = Synapses(target, target, f"{name}_post = 1*mV : volt (summed)", name="others")
    made.connect(condition="i != j")
    return made


def test_a_drive_into_a_sum_is_refused() -> None:
    """After or before the other synapses are made: inhibition of any strength would do nothing."""
    group = NeuronGroup(
        4, "dv/dt = (current - v)/(10*ms) : volt\ncurrent : volt", threshold="v > 1*mV", reset="v = 0*mV"
    )
    rule = nd.brian.get("vogels")
    synapses = rule.synapses(group[1:3], drive="current_post -= w*mV")
    synapses.connect()
    others = summing(group, "current")
    with pytest.raises(InvalidValue, match="'others' overwrite at every time step"):
        rule.synapses(group, drive="current_post -= w*mV")
    with pytest.raises(Exception, match="preparing an object") as caught:
        Network(group, others, synapses).run(1 * ms)
    assert "(summed)" in str(caught.value.__cause__)
    allowed = rule.synapses(group, drive="v_post -= w*mV")
    allowed.connect()
    Network(group, others, allowed).run(1 * ms)


def test_a_drive_into_what_never_decays_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def told(equations: str, reset: str = "v = 0") -> str:
        group = NeuronGroup(2, f"v : 1\n{equations}", threshold="v > 1", reset=reset, method="euler")
        caplog.clear()
        nd.brian.get("vogels").synapses(group, drive="kept_post -= w")
        return " ".join(record.getMessage() for record in caplog.records if "_drive" in record.name)

    assert "'kept' of group" in told("kept : 1") and "for good" in caplog.text
    assert not told("dkept/dt = -kept/(5*ms) : 1")
    assert not told("kept : 1", reset="kept = 0")
