"""Names that the user's neurons have already: a weight of another name, or one line that says what clashes."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
from brian2 import Equations, Hz, NeuronGroup, ms, run, second, start_scope, volt

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, UnknownName
from neuro_decorr.rules._registry import FOR_SPIKES


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 1 * ms


def neurons(*declarations: str) -> NeuronGroup:
    """A population that spikes regularly and has some variables more."""
    group = NeuronGroup(
        5,
        "\n".join(
            ("dv/dt = (drive - v + gi)/(10*ms) : volt", "dgi/dt = -gi/(5*ms) : volt", "drive : volt", *declarations)
        ),
        threshold="v > 20*mV",
        reset="v = 0*mV",
        method="euler",
        name="cells",
    )
    group.drive = "30*mV + 3*i*mV"
    return group


def rule() -> nd.brian.SpikingRule:
    return nd.brian.get(rate=1e-3, homeostasis=nd.brian.Homeostasis(target_rate=30 * Hz), gain=None)


def test_neurons_may_have_every_name_of_the_companion() -> None:
    """A variable of the user's neurons is never taken for one of the companion's, whatever its value."""
    expected = neurons()
    plain = rule().synapses(expected, drive="gi_post -= w*mV")
    plain.connect(condition="i != j")
    run(100 * ms)
    weights, voltages = plain.w[:].copy(), expected.v[:] / volt
    brian2.start_scope()
    companion = plain.companions.target
    linked = {"trace", "mean", "elapsed"} & set(plain.variables)
    names = [
        n for n in companion.variables if not n.startswith("_") and n not in {"i", "N", "t", "dt", "t_in_timesteps"}
    ]
    names = [name for name in names if name not in linked and name not in plain.variables]
    assert {"trace", "mean", "bias", "bias_rate", "homeostasis", "held", "target_rate", "trace_time"} <= set(names)
    group = neurons(*(f"{name} : 1" for name in names))
    for name in names:
        setattr(group, name, 1000.0)
    named = rule().synapses(group, drive="gi_post -= w*mV")
    named.connect(condition="i != j")
    run(100 * ms)
    assert np.ptp(weights) > 0
    np.testing.assert_array_equal(named.w[:], weights)
    np.testing.assert_array_equal(group.v[:] / volt, voltages)
    assert all(np.all(getattr(group, name)[:] == 1000.0) for name in names)


@pytest.mark.parametrize(
    "learner",
    [rule(), nd.brian.get("feedback_inhibition", interneurons=5, homeostasis=None)],
    ids=["pairs", "interneurons"],
)
def test_neurons_with_a_w_of_their_own(learner: nd.brian.SpikingRule) -> None:
    """As those of the adaptive exponential model: the weight takes another name, and learns the same."""
    found = {}
    for weight, declarations in (("w", ()), ("w_lateral", ("dw/dt = -w/(1*second) : volt",))):
        start_scope()
        group = neurons(*declarations)
        synapses = learner.synapses(group, drive=f"gi_post -= {weight}*mV", weight=weight)
        synapses.connect(condition="i != j")
        nd.brian.set_weights(synapses, np.full((5, 5), 0.2), variable=weight)
        run(30 * ms)
        nd.brian.freeze(synapses)
        frozen = nd.brian.weights_to_matrix(synapses, variable=weight)
        run(30 * ms)
        np.testing.assert_array_equal(nd.brian.weights_to_matrix(synapses, variable=weight), frozen)
        nd.brian.thaw(synapses)
        run(30 * ms)
        found[weight] = nd.brian.weights_to_matrix(synapses, variable=weight)
        assert not np.array_equal(found[weight], frozen, equal_nan=True)
    np.testing.assert_array_equal(found["w_lateral"], found["w"])


@pytest.mark.parametrize("side", ["source", "target"])
def test_the_weight_of_a_taken_name(side: str) -> None:
    taken = neurons("w : amp")
    free = NeuronGroup(3, "v : volt", threshold="v > 1*volt", name="others")
    groups = (taken, free) if side == "source" else (free, taken)
    with pytest.raises(InvalidValue, match=r"'cells' has a variable 'w', .*weight='w_lateral'") as caught:
        rule().synapses(*groups, drive="v_post -= w*mV")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(Equations(rule().model).names - {"w"}))
def test_another_taken_name(name: str) -> None:
    with pytest.raises(InvalidValue, match=f"'cells' has a variable '{name}', .*such as 'my_{name}'") as caught:
        rule().synapses(neurons(f"{name} : 1"), drive="gi_post -= w*mV")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weight", ["learning", "w_post", "2w", "_w", ""])
def test_impossible_names_of_the_weight(weight: str) -> None:
    with pytest.raises(InvalidValue, match="weight"):
        rule().synapses(neurons(), drive="gi_post -= w*mV", weight=weight)


def test_names_of_the_surroundings_do_not_reach_the_rule() -> None:
    """Constants around the call of run() are the user's; the rule's own names are variables and come first."""
    trace_time, mean, learning_rate = 3 * second, 5.0, 7.0  # used by nothing
    group = neurons()
    synapses = rule().synapses(group, drive="gi_post -= w*mV")
    synapses.connect(condition="i != j")
    run(100 * ms)
    assert (trace_time, mean, learning_rate) == (3 * second, 5.0, 7.0)
    assert 0 < np.ptp(synapses.w[:]) < 0.1


def test_a_rule_of_the_other_registry_is_named_with_its_registry() -> None:
    assert set(FOR_SPIKES) == set(nd.brian.names()) - set(nd.rules.names())
    for name in FOR_SPIKES:
        with pytest.raises(UnknownName, match=f"'{name}' is a rule of nd.brian"):
            nd.rules.get(name)
    for name in set(nd.rules.names()) - set(nd.brian.names()):
        with pytest.raises(UnknownName, match=f"'{name}' is a rule of nd.rules"):
            nd.brian.get(name)
    with pytest.raises(UnknownName, match="for spikes is 'feedback_inhibition'"):
        nd.brian.get("interneuron")
    with pytest.raises(UnknownName, match="did you mean 'lateral_covariance'"):
        nd.brian.get("lateral_covarance")
