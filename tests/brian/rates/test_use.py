"""The user's side of rate rules: any names, units and subgroups, freezing, matrices, printing, errors of one line."""

from __future__ import annotations

from typing import Any

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, Synapses, TimedArray, ms, mV, run, second

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, NeuroDecorrError
from tests.brian.rates.circuits import STEP, brian_time, inputs, rate_units

RULES = ("lateral", "anti_hebbian", "interneuron_local")
HOLD = 10 * STEP  # ms, eight time constants


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = STEP * ms


def rule(name: str) -> nd.brian.RateRule:
    more = {"interneurons": 2} if name == "interneuron_local" else {}
    return nd.brian.get(name, rate=0.02, **more)


def lateral(group: NeuronGroup, name: str, /, **options: Any) -> Synapses:
    said = {"output": "x", "inhibition": "inhibition", "inputs": "z", "hold": HOLD * ms, **options}
    return rule(name).synapses(group, **said)


@pytest.mark.parametrize("name", RULES)
def test_a_plain_run_finds_everything_and_the_group_stays_as_it_is(name: str) -> None:
    group = rate_units(inputs(), hold=HOLD)
    equations, contained = str(group.equations), list(group.contained_objects)
    synapses = lateral(group, name)
    synapses.connect()
    assert type(synapses) is Synapses
    run(4 * HOLD * ms)
    assert np.ptp(synapses.w[:]) > 0 and np.ptp(group.inhibition[:]) > 0
    assert str(group.equations) == equations and list(group.contained_objects) == contained


@pytest.mark.parametrize("name", RULES)
def test_frozen_weights_stay_bit_by_bit_and_thawed_ones_learn_again(name: str) -> None:
    group = rate_units(inputs(), hold=HOLD)
    synapses = lateral(group, name)
    synapses.connect()
    run(5 * HOLD * ms)
    nd.brian.freeze(synapses)
    weights, averages = synapses.w[:].copy(), None
    if name == "interneuron_local":
        averages = synapses.companions.target.variance[:].copy()
    run(5 * HOLD * ms)
    assert np.array_equal(synapses.w[:], weights)
    if averages is not None:
        assert np.array_equal(synapses.companions.target.variance[:], averages)
    nd.brian.thaw(synapses)
    run(2 * HOLD * ms)
    assert np.abs(synapses.w[:] - weights).max() > 1e-4


@pytest.mark.parametrize("name", RULES)
def test_weights_go_in_and_out_and_come_back_after_restore(name: str) -> None:
    group = rate_units(inputs(), hold=HOLD)
    synapses = lateral(group, name)
    synapses.connect(condition="i != j + 1")
    start = 0.2 * np.random.default_rng(5).normal(size=(len(synapses.source), len(synapses.target)))
    nd.brian.set_weights(synapses, start)
    found = nd.brian.weights_to_matrix(synapses)
    assert np.array_equal(found, np.where(np.isnan(found), np.nan, start), equal_nan=True) and np.isnan(found).any()
    network = Network(group, synapses)
    network.run(3 * HOLD * ms)
    network.store()
    network.run(3 * HOLD * ms)
    expected = synapses.w[:].copy()
    network.restore()
    network.run(3 * HOLD * ms)
    np.testing.assert_array_equal(synapses.w[:], expected)


@pytest.mark.parametrize("name", RULES)
def test_units_names_and_subgroups_do_not_matter(name: str) -> None:
    """Three of five units, in Hz, with 20 Hz as 1: the same weights as without units and neighbours."""
    stimuli = inputs()
    group = rate_units(stimuli[:, 1:4], hold=HOLD)
    plain = lateral(group, name)
    plain.connect()
    Network(group, plain).run(brian_time(20, HOLD))
    stimulus = TimedArray(20 * stimuli * Hz, dt=HOLD * ms)
    larger = NeuronGroup(
        5,
        "dr/dt = (current - r)/(10*ms) : Hz\ncurrent = drive - lateral_input : Hz\ndrive = stimulus(t, i) : Hz\n"
        "lateral_input : Hz",
        method="euler",
        namespace={"stimulus": stimulus},
    )
    synapses = lateral(
        larger[1:4], name, output="r", inhibition="lateral_input", inputs="drive", scale=20 * Hz, name="laterals"
    )
    synapses.connect()
    Network(larger, synapses).run(brian_time(20, HOLD))
    np.testing.assert_allclose(
        nd.brian.weights_to_matrix(synapses), nd.brian.weights_to_matrix(plain), rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(larger.r[1:4] / (20 * Hz), group.x[:], rtol=0, atol=1e-12)
    assert np.array_equal(larger.lateral_input[[0, 4]] / Hz, [0, 0])


@pytest.mark.parametrize("name", RULES)
def test_a_stimulus_that_was_under_way_teaches_nothing(name: str) -> None:
    group = rate_units(inputs(), hold=HOLD)
    network = Network(group)
    network.run(3.5 * HOLD * ms)
    synapses = lateral(group, name)
    synapses.connect()
    start = np.full((len(synapses.source), len(synapses.target)), 0.1)
    nd.brian.set_weights(synapses, start)
    network.add(synapses)
    network.run(HOLD * ms)  # past the end of the fourth
    np.testing.assert_array_equal(nd.brian.weights_to_matrix(synapses), start)
    network.run(HOLD * ms)  # past the end of the fifth
    assert np.abs(nd.brian.weights_to_matrix(synapses) - start).max() > 1e-6


@pytest.mark.parametrize("name", RULES)
def test_silence_moves_nothing_to_where_it_could_not_come_back_from(name: str) -> None:
    stimuli = np.vstack([np.zeros((3, 5)), inputs()[:5], np.zeros((2, 5)), inputs()[:5]])
    group = rate_units(stimuli, hold=HOLD)
    synapses = lateral(group, name)
    synapses.connect()
    run(brian_time(len(stimuli) - 1, HOLD))
    assert np.isfinite(synapses.w[:]).all() and np.isfinite(group.x[:]).all()


def test_the_printed_strings_build_the_same_synapses() -> None:
    """The anti-Hebbian rule pasted by hand into plain Brian2 gives the same weights."""
    made = nd.brian.get("anti_hebbian", rate=0.02)
    for name in RULES:
        text = str(rule(name))
        assert rule(name).model in text and rule(name).on_stimulus in text and "learning = 1.0" in text
    ready_group = rate_units(inputs(), hold=HOLD)
    ready = made.synapses(ready_group, output="x", inhibition="inhibition", hold=HOLD * ms)
    ready.connect()
    Network(ready_group, ready).run(brian_time(20, HOLD))
    group = rate_units(inputs(), hold=HOLD, name="pasted")
    printed = str(made).split("\n# ")
    parts = {part.split("\n", 1)[0]: part.split("\n", 1)[1].strip() for part in printed[1:]}
    units = NeuronGroup(5, parts["companion of the units"])
    units.seen_output = brian2.linked_var(group, "x")
    units.unit_activity, units.stimulus_time = 1, HOLD * ms
    units.run_regularly(parts["companion, at the end of a time step"], when="end")
    synapses = Synapses(group, group, parts["model of the synapses"].replace("output_pre", "x_pre"))
    synapses.connect()
    for line in parts["parameters of the synapses"].splitlines():
        parameter, value = line.split(" = ")
        setattr(synapses, parameter, float(value))
    synapses.whole_stimulus = brian2.linked_var(units, "whole")
    synapses.source_output = brian2.linked_var(units, "output", index="_synaptic_pre")
    synapses.target_output = brian2.linked_var(units, "output", index="_synaptic_post")
    synapses.run_regularly(parts["synapses, at the end of every stimulus"], dt=HOLD * ms, when="start", order=-8)
    Network(group, units, synapses).run(brian_time(20, HOLD))
    assert np.ptp(ready.w[:]) > 0
    np.testing.assert_allclose(synapses.w[:], ready.w[:], rtol=1e-12)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"output": "y"}, "no variable of group 'rates' for output 'y'"),
        ({"inhibition": "inhibitio"}, "did you mean 'inhibition'"),
        ({"inputs": "zz"}, "for inputs 'zz'"),
        ({"inputs": ""}, "learns from the drive of each unit too"),
        ({"inhibition": "x"}, "declare 'x : 1'"),
        ({"inhibition": "volts"}, "must have the units of the output 'x'"),
        ({"scale": 10 * Hz}, "the activity that counts as 1"),
        ({"scale": 0}, "one finite activity above zero"),
        ({"output": "volts", "inhibition": "volts", "inputs": "volts"}, r"such as scale=10\*volt"),
        ({"hold": 84 * ms}, "use 80. ms"),
        ({"hold": 8 * ms, "least_hold": 0}, "at least 2 time steps"),
        ({"hold": 1 * mV}, "must be one finite duration above zero"),
        ({"hold": 40 * ms}, "here 50. ms, got hold=40. ms"),
        ({"time_constant": 20 * ms}, "here 100. ms, got hold=80. ms"),
        ({"time_constant": -1 * ms}, "time_constant must be one finite duration"),
        ({"least_hold": -1}, "a number of time constants"),
        ({"delay": 1 * ms}, "rate rules have no delay"),
        ({"on_pre": "x_post = 0"}, "on_pre of the synapses come from the rule"),
    ],
)
def test_bad_places(said: dict[str, Any], message: str) -> None:
    stimuli = inputs()
    group = NeuronGroup(
        5,
        "dx/dt = (-x + z - inhibition)/tau : 1\nz = stimulus(t, i) : 1\ninhibition : 1\nvolts : volt",
        method="euler",
        name="rates",
        namespace={"stimulus": TimedArray(stimuli, dt=HOLD * ms), "tau": 10 * ms},
    )
    with pytest.raises(NeuroDecorrError, match=message) as caught:
        lateral(group, "lateral", **said)
    assert "\n" not in str(caught.value)


def test_time_constants_are_found_where_they_are() -> None:
    tau = 20 * ms  # as run() finds it in the frame of the caller
    local = NeuronGroup(2, "dx/dt = (-x + z - inhibition)/tau : 1\nz : 1\ninhibition : 1", method="euler")
    with pytest.raises(InvalidValue, match=r"here 100\. ms, got hold=80\. ms"):
        rule("lateral").synapses(local, output="x", inhibition="inhibition", inputs="z", hold=HOLD * ms)
    own = NeuronGroup(2, "dx/dt = (tanh(z - inhibition) - x)/own : 1\nz : 1\nown : second\ninhibition : 1")
    own.own = [5, 20] * ms
    with pytest.raises(InvalidValue, match=r"here 100\. ms"):
        rule("lateral").synapses(own, output="x", inhibition="inhibition", inputs="z", hold=HOLD * ms)
    rectified = NeuronGroup(
        2, "dv/dt = (z - inhibition - v)/tau : 1\nx = clip(v, 0, inf) : 1\nz : 1\ninhibition : 1", method="euler"
    )
    said = {"output": "x", "inhibition": "inhibition", "inputs": "z", "hold": HOLD * ms}
    with pytest.raises(InvalidValue, match="give it, such as time_constant=10"):
        rule("anti_hebbian").synapses(rectified, **said)
    assert rule("anti_hebbian").synapses(rectified, time_constant=tau / 2, **said).name
    del tau


def test_companions_hold_what_the_units_showed_or_are_the_interneurons() -> None:
    """After a stimulus, and for the whole group, of which the synapses connect a part."""
    stimuli = inputs()
    group = rate_units(stimuli, hold=HOLD)
    pairs, circuit = (
        lateral(group[1:], "lateral", name="pairs"),
        lateral(group[:3], "interneuron_local", name="circuit"),
    )
    pairs.connect()
    circuit.connect()
    brian2.Network(group, pairs).run(HOLD * ms)
    assert pairs.companions.source is pairs.companions.target
    np.testing.assert_allclose(pairs.companions.target.inputs, stimuli[0])
    np.testing.assert_allclose(pairs.companions.target.output, group.x)
    assert circuit.companions.target is circuit.target and circuit.companions.source == circuit.source.source
    assert {"gain", "variance", "power"} <= set(circuit.companions.target.variables)


def test_other_refusals() -> None:
    group = rate_units(inputs(), hold=HOLD)
    with pytest.raises(InvalidValue, match="work on a NeuronGroup of rate units, got str"):
        lateral("rates", "lateral")
    with pytest.raises(InvalidValue, match="rate must be a finite number > 0"):
        nd.brian.get("lateral", rate=-1.0)
    with pytest.raises(InvalidValue, match="saturation must be a number > 1"):
        nd.brian.get("anti_hebbian", saturation=0.5)
    with pytest.raises(InvalidValue, match="20 interneurons respond one after the other"):
        nd.brian.get("interneuron_local", interneurons=20).synapses(
            group, output="x", inhibition="inhibition", inputs="z", hold=HOLD * ms
        )
    named = NeuronGroup(2, "dx/dt = -(x + w)/second : 1\nw : 1\nz : 1")
    with pytest.raises(InvalidValue, match="have names that the synapses of rule 'lateral' need: w; rename"):
        rule("lateral").synapses(named, output="x", inhibition="w", inputs="z", hold=10 * second)


DRIVEN = "(z - inhibition + 1)"


@pytest.mark.parametrize("answer", [f"clip({DRIVEN}, 0, 1000)", "tanh(z - inhibition)", f"{DRIVEN}*int({DRIVEN} > 0)"])
def test_units_that_rectify_or_saturate(answer: str) -> None:
    """`lateral` refuses them; `anti_hebbian` decorrelates what its weights leave of other stimuli."""
    stimuli = np.random.default_rng(0).normal(size=(700, 6)) @ (np.eye(6) + 0.4)
    group = rate_units(stimuli, hold=HOLD, answer=answer)
    with pytest.raises(InvalidValue, match="'lateral' needs units that respond linearly") as caught:
        lateral(group, "lateral", time_constant=10 * ms)
    assert "\n" not in str(caught.value)
    synapses = nd.brian.get("anti_hebbian", rate=0.02).synapses(
        group, output="x", inhibition="inhibition", hold=HOLD * ms, time_constant=10 * ms
    )
    synapses.connect()
    settled = brian2.StateMonitor(group, "x", record=True, dt=HOLD * ms, when="before_start")
    Network(group, synapses, settled).run(700 * HOLD * ms)
    before, after = (
        np.abs(np.corrcoef(samples)[~np.eye(6, dtype=bool)]).mean() for samples in (stimuli.T, settled.x[:, 400:])
    )
    assert before > 0.4 and after < before / 2


@pytest.mark.parametrize("name", RULES)
def test_new_weights_of_a_subgroup_act_at_once(name: str) -> None:
    """Whatever the names of the objects, by which Brian2 orders what has the same place in a time step."""
    found = []
    for first in (0, 1):
        stimuli = inputs()[:, : 3 + first]
        group = rate_units(stimuli, hold=HOLD, name=f"a_{name}_{first}")
        part = group if first == 0 else group[:3]
        synapses = lateral(part, name, name=f"z_{name}_{first}")
        synapses.connect()
        course = brian2.StateMonitor(group, "x", record=[0, 1, 2])
        Network(group, synapses, course).run(brian_time(6, HOLD))
        found.append(np.asarray(course.x))
    assert np.ptp(found[0]) > 0
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-12)
