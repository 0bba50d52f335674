"""Whose neurons: subgroups, several populations and rules, heterogeneous connections, given spikes throughout."""

from __future__ import annotations

from typing import Any

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, Synapses, ms, um

import neuro_decorr as nd
from tests.brian.every_rule import quick, spiking_rules
from tests.brian.told import NEURONS, STEP, STEPS, told, trains

DRIVE = "g_post -= w*mV"


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = STEP * ms


def learn(*objects: Any) -> None:
    Network(*objects).run(STEPS * STEP * ms)


def lateral(
    source: NeuronGroup, target: NeuronGroup | None = None, rule: str = "lateral_covariance", **connections: Any
) -> Synapses:
    synapses = quick(rule).synapses(source, target, drive=DRIVE)
    synapses.connect(**connections)
    synapses.w = 0.2
    return synapses


@pytest.mark.parametrize("rule", spiking_rules())
def test_a_subgroup_learns_as_a_group_of_its_neurons(rule: str) -> None:
    spikes = trains(0)
    group, alone = told(spikes), told(spikes[:, 2:5])
    part, whole = lateral(group[2:5], rule=rule), lateral(alone, rule=rule)
    learn(group, alone, part, whole)
    matrices = [nd.brian.weights_to_matrix(synapses) for synapses in (part, whole)]
    assert np.ptp(matrices[0]) > 0
    np.testing.assert_array_equal(matrices[0], matrices[1])


def test_subgroups_of_two_groups() -> None:
    """None starts at its group's first neuron, one is a part of a part: they learn as within the whole groups."""
    before, after = told(trains(0)), told(trains(1))
    whole, part = lateral(before, after), lateral(before[1:][1:4], after[3:6])
    learn(before, after, whole, part)
    matrices = [nd.brian.weights_to_matrix(synapses) for synapses in (whole, part)]
    assert np.ptp(matrices[1]) > 0
    np.testing.assert_array_equal(matrices[1], matrices[0][2:5, 3:6])


def test_several_rules_on_one_population_learn_as_each_alone() -> None:
    def run(*rules: str) -> dict[str, np.ndarray]:
        neurons = told(trains(2))
        synapses = {rule: lateral(neurons, rule=rule, condition="i != j") for rule in rules}
        learn(neurons, *synapses.values())
        return {rule: nd.brian.weights_to_matrix(found) for rule, found in synapses.items()}

    rules = ("lateral_covariance", "vogels", "feedback_inhibition")
    together = run(*rules)
    for rule in rules:
        assert np.nanstd(together[rule]) > 0
        np.testing.assert_array_equal(together[rule], run(rule)[rule])


POSITIONS = np.array([0.0, 10.0, 15.0, 40.0, 42.0, 90.0])
MASK = np.random.default_rng(3).random((NEURONS, NEURONS)) < 0.4
CONNECTIONS = {
    "probability": ({"condition": "i != j", "p": 0.5}, None),
    "distance": (
        {"condition": "i != j and abs(x_pre - x_post) < 30*um"},
        (np.abs(POSITIONS[:, np.newaxis] - POSITIONS) < 30) & ~np.eye(NEURONS, dtype=bool),
    ),
    "probability of distance": ({"condition": "i != j", "p": "exp(-abs(x_pre - x_post)/(30*um))"}, None),
    "a given mask": ({"i": MASK.nonzero()[0], "j": MASK.nonzero()[1]}, MASK),
}


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_a_synapse_learns_the_same_whatever_others_there_are(kind: str) -> None:
    connections, expected = CONNECTIONS[kind]
    neurons = told(trains(4), "x : metre (constant)")
    neurons.x = POSITIONS * um
    brian2.seed(5)
    everywhere, some = lateral(neurons), lateral(neurons, **connections)
    learn(neurons, everywhere, some)
    full, found = nd.brian.weights_to_matrix(everywhere), nd.brian.weights_to_matrix(some)
    there = np.isfinite(found)
    assert 4 < there.sum() < 32 and np.ptp(found[there]) > 0
    if expected is not None:
        np.testing.assert_array_equal(there, expected)
    np.testing.assert_array_equal(found[there], full[there])


def test_the_users_group_is_not_changed() -> None:
    neurons = told(trains(6))
    kept = [list(neurons.variables), str(neurons.equations), dict(neurons.events), dict(neurons.namespace)]
    kept += [list(neurons.contained_objects), dict(neurons.event_codes)]
    quick("lateral_covariance").synapses(neurons[1:4], neurons, drive=DRIVE).connect()
    now = [list(neurons.variables), str(neurons.equations), dict(neurons.events), dict(neurons.namespace)]
    assert [*now, list(neurons.contained_objects), dict(neurons.event_codes)] == kept


def test_homeostasis_without_plasticity() -> None:
    """Frozen from the start: not a weight leaves zero, and the neurons come to the target all the same."""

    def rates(target: Any) -> tuple[np.ndarray, Synapses]:
        neurons = NeuronGroup(
            4,
            "dv/dt = (drive + gi - v)/(10*ms) : volt\ndgi/dt = -gi/(5*ms) : volt\ndrive : volt",
            threshold="v > 20*mV",
            reset="v = 0*mV",
            method="exact",
        )
        neurons.drive = "(22 + 2*i)*mV"
        homeostasis = nd.brian.Homeostasis(target_rate=target, rate=200 * Hz)
        synapses = nd.brian.get(homeostasis=homeostasis, gain=None).synapses(neurons, drive="gi_post -= w*mV")
        synapses.connect(condition="i != j")
        nd.brian.freeze(synapses)
        spikes = brian2.SpikeMonitor(neurons)
        network = Network(neurons, synapses, spikes)
        network.run(500 * ms)
        settled = spikes.count[:].copy()
        network.run(500 * ms)
        return spikes.count[:] - settled, synapses

    for target in (30, 50):
        found, synapses = rates(target * Hz)
        np.testing.assert_allclose(found, target / 2, atol=1)  # in half a second
        assert not synapses.w[:].any()


def test_the_companions_of_both_sides() -> None:
    before, after = told(trains(7)), told(trains(8)[:, :4])
    between, within = lateral(before, after), lateral(after, condition="i != j")
    assert isinstance(between.companions, nd.brian.Companions)
    sides = [between.companions.source, between.companions.target]
    assert [len(group) for group in sides] == [NEURONS, 4]
    learn(before, after, between, within)
    assert [group.trace[:].sum() > 0 for group in sides] == [True, True]
    assert within.companions.source is within.companions.target
    for source, target in ((after, after[1:3]), (after[1:3], after), (after[:2], after[1:])):
        part = lateral(source, target)
        assert part.companions.source is part.companions.target and len(part.companions.target) == 4
