"""The user's side: magic run, freezing, matrices, printing, and errors of one line before the run."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
from brian2 import Hz, NeuronGroup, PoissonGroup, Synapses, ms, mV, run, start_scope

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, NeuroDecorrError, UnknownName


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 1 * ms


def neurons(count: int = 5) -> NeuronGroup:
    """A user's model, which spikes regularly, each neuron at a rate of its own."""
    group = NeuronGroup(
        count,
        "dv/dt = (drive - v + gi)/(10*ms) : volt\ndgi/dt = -gi/(5*ms) : volt\ndrive : volt",
        threshold="v > 20*mV",
        reset="v = 0*mV",
        method="euler",
        name="cells",
    )
    group.drive = "30*mV + 3*i*mV"
    return group


def test_two_lines_and_a_plain_run() -> None:
    """Only the synapses are in the frame of run(); the companions are found through them."""
    group = neurons()
    equations = str(group.equations)
    homeostasis = nd.brian.Homeostasis(target_rate=30 * Hz)
    synapses = nd.brian.get(homeostasis=homeostasis, rate=0.001, gain=None).synapses(group, drive="gi_post -= w*mV")
    synapses.connect(condition="i != j")
    assert isinstance(synapses, Synapses)
    run(300 * ms)
    assert np.ptp(synapses.w[:]) > 0 and np.ptp(synapses.companions.target.bias_rate / Hz) > 0
    assert str(group.equations) == equations


def test_freeze_and_thaw() -> None:
    group = neurons()
    synapses = nd.brian.get(homeostasis=nd.brian.Homeostasis(target_rate=30 * Hz), rate=0.001, gain=None).synapses(
        group, drive="gi_post -= w*mV"
    )
    synapses.connect(condition="i != j")
    companion = synapses.companions.target
    run(100 * ms)
    nd.brian.freeze(synapses)
    weights, bias = synapses.w[:].copy(), companion.bias_rate[:].copy()
    run(100 * ms)
    assert np.array_equal(synapses.w[:], weights) and not np.array_equal(companion.bias_rate[:], bias)
    nd.brian.freeze(synapses, homeostasis=True)
    bias = companion.bias_rate[:].copy()
    run(100 * ms)
    assert np.array_equal(synapses.w[:], weights) and np.array_equal(companion.bias_rate[:], bias)
    np.testing.assert_allclose(companion.bias[:], companion.bias_average * ms)
    nd.brian.thaw(synapses)
    run(100 * ms)
    assert not np.array_equal(synapses.w[:], weights) and not np.array_equal(companion.bias_rate[:], bias)


def test_matrices_go_in_and_out() -> None:
    group = neurons()
    synapses = nd.brian.get().synapses(group, group[1:4], drive="gi_post -= w*mV")
    synapses.connect(condition="i != j + 1", p=0.7)
    matrix = np.random.default_rng(0).random((5, 3))
    nd.brian.set_weights(synapses, matrix)
    found = nd.brian.weights_to_matrix(synapses)
    assert np.isnan(found).any() and not np.isnan(found).all()
    for i, j, weight in zip(synapses.i, synapses.j, synapses.w, strict=True):
        assert weight == matrix[i, j] == found[i, j]
    nd.brian.set_weights(synapses, found)
    with pytest.raises(InvalidValue, match=r"shape \(source neurons, target neurons\) \(5, 3\)"):
        nd.brian.set_weights(synapses, np.ones((3, 5)))
    with pytest.raises(InvalidValue, match="must be finite"):
        nd.brian.set_weights(synapses, np.full((5, 3), np.nan))
    with pytest.raises(InvalidValue, match="no variable 'weight'"):
        nd.brian.weights_to_matrix(synapses, "weight")


def test_store_and_restore() -> None:
    group = neurons()
    rule = nd.brian.get(homeostasis=nd.brian.Homeostasis(target_rate=30 * Hz), rate=0.001, gain=None)
    synapses = rule.synapses(group, drive="gi_post -= w*mV")
    synapses.connect(condition="i != j")
    network = brian2.Network(group, synapses)
    network.run(100 * ms)
    network.store()
    network.run(100 * ms)
    expected = synapses.w[:].copy()
    network.restore()
    network.run(100 * ms)
    np.testing.assert_array_equal(synapses.w[:], expected)


def test_the_printed_strings_build_the_same_synapses() -> None:
    """Pasted by hand into plain Brian2, they give the same weights."""
    rule = nd.brian.get("lateral_covariance", rate=0.001, homeostasis=None, mean_time=100 * ms)
    for text in (rule.model, rule.on_pre, rule.on_post, rule.traces, *rule.on_spike.values(), rule.on_step):
        assert text in str(rule)
    ready_group = neurons()
    ready = rule.synapses(ready_group, drive="gi_post -= w*mV")
    ready.connect(condition="i != j")
    brian2.Network(ready_group, ready).run(200 * ms)
    start_scope()
    pasted_group = NeuronGroup(
        5,
        ready_group.equations,
        threshold="v > 20*mV",
        reset="v = 0*mV",
        method="euler",
    )
    pasted_group.drive = "30*mV + 3*i*mV"
    traces = NeuronGroup(5, rule.traces, method="euler")
    traces.run_regularly(rule.on_step, when="end")
    for name, value in rule.trace_values.items():
        setattr(traces, name, value)
    pasted = Synapses(
        pasted_group,
        pasted_group,
        rule.model,
        on_pre={"transmission": "gi_post -= w*mV", "plasticity": rule.on_pre},
        on_post=rule.on_post,
    )
    pasted.connect(condition="i != j")
    for name, value in rule.namespace.items():
        setattr(pasted, name, value)
    for side, index in (("source", "_synaptic_pre"), ("target", "_synaptic_post")):
        for name in rule.seen:
            setattr(pasted, f"{side}_{name}", brian2.linked_var(traces, name, index=index))
    pasted.pace = brian2.linked_var(traces, "pace")
    pasted.transmission.order = -2
    filling = Synapses(pasted_group, traces, on_pre=rule.on_spike[0])
    filling.connect(j="i")
    filling.pre.order = 0
    brian2.Network(pasted_group, traces, pasted, filling).run(200 * ms)
    assert np.ptp(ready.w[:]) > 0
    np.testing.assert_allclose(pasted.w[:], ready.w[:], rtol=1e-12)


@pytest.mark.parametrize(
    ("drive", "message"),
    [
        ("", "drive is missing: give the statement .* such as drive='gi_post -= w"),
        ("gi_post -= 1*mV", "must use the weight w"),
        ("g_post -= w*mV", "did you mean 'gi'"),
        ("gi_post -= w*speed_pre", "no variable of group 'cells'"),
        ("gi_post -= w*nA", "units of drive"),
        ("gi_post -= w", "multiply it by the unit"),
        ("gi -= w*mV", "named with _post"),
        ("inhibit w", "is no statement"),
    ],
)
def test_bad_drives(drive: str | None, message: str) -> None:
    with pytest.raises(NeuroDecorrError, match=message) as caught:
        nd.brian.get().synapses(neurons(), drive=drive)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("lateral_covariance", {"trace_time": -5 * ms}, "trace_time must be one finite quantity, positive"),
        ("lateral_covariance", {"trace_time": 5 * mV}, "needs units of"),
        ("lateral_covariance", {"trace_time": 0.05}, "needs units of"),
        ("lateral_covariance", {"mean_time": 10 * ms}, "above 50"),
        ("lateral_covariance", {"rate": 0.0}, r"finite number > 0, got 0\.0 \(without units\)"),
        ("lateral_covariance", {"largest_weight": -1.0}, "finite number > 0"),
        ("lateral_covariance", {"moved_by": "postsynaptic"}, "moved_by must be 'spikes' or 'clock'"),
        ("vogels", {"same_step": "both"}, "same_step must be 'pre_first' or 'post_first', got 'both'"),
        ("lateral_covariance", {"homeostasis": 10 * Hz}, "must be nd.brian.Homeostasis"),
        ("lateral_covariance", {"tau": 5 * ms}, "no parameter 'tau'; allowed: rate"),
        ("vogels", {"target_rate": 0 * Hz}, "target_rate must be one finite quantity, positive"),
        ("foldiak", {"homeostasis": None}, "got None"),
    ],
)
def test_bad_parameters(name: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValue, match=message) as caught:
        nd.brian.get(name, **parameters)
    assert "\n" not in str(caught.value)


def test_other_refusals() -> None:
    with pytest.raises(UnknownName, match="did you mean 'vogels'"):
        nd.brian.get("vogel")
    with pytest.raises(InvalidValue, match="target_rate must be one finite quantity"):
        nd.brian.Homeostasis(target_rate=0 * Hz)
    silent = NeuronGroup(3, "v : volt", name="silent")
    with pytest.raises(InvalidValue, match="'silent' emits no spikes"):
        nd.brian.get().synapses(silent, drive="v_post -= w*mV")
    with pytest.raises(InvalidValue, match="must be a group of Brian2, got str"):
        nd.brian.get().synapses("cells", drive="v_post -= w*mV")
    with pytest.raises(InvalidValue, match="on_pre of the synapses come from the rule"):
        nd.brian.get().synapses(neurons(), drive="gi_post -= w*mV", on_pre="gi_post = 0*mV")
    with pytest.raises(InvalidValue, match="bias_drive needs a homeostasis"):
        nd.brian.get(homeostasis=None).synapses(neurons(), drive="gi_post -= w*mV", bias_drive="gi_post += bias*mV")
    plain = Synapses(PoissonGroup(2, 5 * Hz), PoissonGroup(2, 5 * Hz), "w : 1")
    with pytest.raises(InvalidValue, match="synapses must come from"):
        nd.brian.freeze(plain)
    unbiased = nd.brian.get(homeostasis=None).synapses(neurons(), drive="gi_post -= w*mV")
    with pytest.raises(InvalidValue, match="no homeostasis to hold"):
        nd.brian.freeze(unbiased, homeostasis=True)
