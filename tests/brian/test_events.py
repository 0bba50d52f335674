"""From what neurons learn: spike trains alone, and events of the user's that count as spikes."""

from __future__ import annotations

from typing import Any

import brian2
import numpy as np
import pytest
from brian2 import (
    Hz,
    Network,
    NeuronGroup,
    PoissonGroup,
    SpikeGeneratorGroup,
    SpikeMonitor,
    TimedArray,
    ms,
    second,
)

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.brian.every_rule import quick
from tests.brian.told import NEURONS, STEP, STEPS, told, trains

pytestmark = pytest.mark.usefixtures("brian_on_numpy")


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = STEP * ms


def unbiased(name: str, **parameters: Any) -> nd.brian.SpikingRule:
    return quick(name, homeostasis=None, **parameters)


def generated(spikes: np.ndarray) -> SpikeGeneratorGroup:
    times, indices = np.nonzero(spikes)
    return SpikeGeneratorGroup(NEURONS, indices, times * STEP * ms)


def learnt(source: Any, target: Any = None, rule: nd.brian.SpikingRule | None = None, **options: Any) -> np.ndarray:
    synapses = (rule or unbiased("lateral_covariance")).synapses(source, target, **options)
    synapses.connect(condition="i != j")
    synapses.w = 0.2
    groups = [source] if target is None else [source, target]
    Network(*groups, synapses).run(STEPS * STEP * ms)
    return nd.brian.weights_to_matrix(synapses)


def test_spike_trains_alone_teach_what_neurons_of_these_spikes_do() -> None:
    spikes = trains(1)
    expected = learnt(told(spikes), drive="g_post -= w*mV")
    found = learnt(generated(spikes), drive=None)
    assert np.nanstd(found) > 1e-3
    np.testing.assert_array_equal(found, expected)


def test_trains_of_two_groups() -> None:
    rule = unbiased("vogels", same_step="post_first")
    first, second_ = trains(1), trains(2)
    expected = learnt(told(first), told(second_), rule, drive="g_post -= w*mV")
    np.testing.assert_array_equal(learnt(generated(first), generated(second_), rule, drive=None), expected)


def test_poisson_trains_may_learn() -> None:
    brian2.seed(1)
    group = PoissonGroup(5, 50 * Hz)
    synapses = unbiased("lateral_covariance").synapses(group, drive=None, name="only")
    synapses.connect(condition="i != j")
    Network(group, synapses).run(200 * ms)
    assert np.std(synapses.w[:]) > 0 and not hasattr(synapses, "pre")
    with pytest.raises(InvalidValue, match="drive=None: nothing is transmitted"):
        synapses.delay = 1 * ms


@pytest.mark.parametrize(
    ("parameters", "options", "message"),
    [
        ({}, {"drive": None}, "homeostasis .* nd.brian.get\\('lateral_covariance', homeostasis=None\\)"),
        ({"homeostasis": None, "variance": nd.brian.Variance()}, {"drive": None}, "variance=None"),
        ({"homeostasis": None}, {"drive": None, "delay": 1 * ms}, "nothing is transmitted"),
        ({"homeostasis": None}, {"drive": None, "bias_drive": "g_post += bias"}, "bias_drive needs a homeostasis"),
        ({"homeostasis": None}, {}, "give the statement .* such as drive='gi_post -= w\\*mV'.*drive=None"),
    ],
)
def test_without_a_drive_nothing_can_be_kept(parameters: dict[str, Any], options: dict[str, Any], message: str) -> None:
    group = generated(trains(0))
    with pytest.raises(InvalidValue, match=message) as caught:
        nd.brian.get(**parameters).synapses(group, **options)
    assert "\n" not in str(caught.value)


def bursting(bursts: np.ndarray, spikes: np.ndarray) -> NeuronGroup:
    """Neurons with two kinds of events, both as told."""
    return NeuronGroup(
        NEURONS,
        "g : volt",
        threshold="spiking(t, i) > 0.5",
        events={"burst": "bursting(t, i) > 0.5"},
        namespace={
            "spiking": TimedArray(spikes.astype(float), dt=STEP * ms),
            "bursting": TimedArray(bursts.astype(float), dt=STEP * ms),
        },
    )


@pytest.mark.parametrize("rule", ["lateral_covariance", "feedback_inhibition"])
def test_events_count_as_spikes(rule: str) -> None:
    """What is learnt from bursts, and kept of them, is what neurons learn whose spikes these are."""
    bursts, spikes = trains(3), trains(4)
    expected = learnt(told(bursts), rule=quick(rule), drive="g_post -= w*mV")
    found = learnt(bursting(bursts, spikes), rule=quick(rule), drive="g_post -= w*mV", on_event="burst")
    assert np.nanstd(found) > 1e-3
    np.testing.assert_array_equal(found, expected)


def test_each_side_has_its_event() -> None:
    """Bursts inhibit, and what follows are spikes: also within one group, which then has two companions."""
    bursts, spikes = trains(3), trains(4)
    expected = learnt(told(bursts), told(spikes), drive="g_post -= w*mV")
    events = {"pre": "burst", "post": "spike"}
    cells = bursting(bursts, spikes)
    synapses = unbiased("lateral_covariance").synapses(cells, drive="g_post -= w*mV", on_event=events)
    synapses.connect(condition="i != j")
    synapses.w = 0.2
    Network(cells, synapses).run(STEPS * STEP * ms)
    np.testing.assert_array_equal(nd.brian.weights_to_matrix(synapses), expected)
    assert synapses.companions.source != synapses.companions.target


def test_rates_are_kept_of_the_events() -> None:
    """Neurons that burst at every third spike or so reach the rate of bursts that is asked for, not of spikes."""
    brian2.seed(1)
    cells = NeuronGroup(
        20,
        """dv/dt = (22*mV + g - v)/(10*ms) : volt
           dg/dt = -g/(5*ms) : volt
           count : 1""",
        threshold="v > 20*mV",
        reset="v = 0*mV\ncount += 1",
        events={"burst": "count > 2.5"},
        method="exact",
    )
    cells.run_on_event("burst", "count = 0")
    cells.v = "i*mV"
    homeostasis = nd.brian.Homeostasis(target_rate=10 * Hz, rate=100 * Hz)
    rule = nd.brian.get(homeostasis=homeostasis, gain=None)
    synapses = rule.synapses(cells, drive="g_post -= w*mV", on_event="burst")
    synapses.connect(condition="i != j")
    nd.brian.freeze(synapses)
    spikes, events = SpikeMonitor(cells), brian2.EventMonitor(cells, "burst")
    network = Network(cells, synapses, spikes, events)
    network.run(1 * second)
    before = spikes.num_spikes, events.num_events
    network.run(1 * second)
    assert (events.num_events - before[1]) / 20 == pytest.approx(10, abs=1)
    assert (spikes.num_spikes - before[0]) / 20 == pytest.approx(30, abs=3)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ("burst", "'cells' has no event 'burst', .*it has: spike"),
        ({"pre": "burst"}, "'cells' has no event 'burst'"),
        ({"learning": "spike"}, "on_event must be the name of an event, or a dict with the names"),
        (3, "on_event must be the name of an event"),
    ],
)
def test_events_that_there_are_not(events: Any, message: str) -> None:
    cells = NeuronGroup(3, "g : volt", threshold="g > 1*volt", name="cells")
    with pytest.raises(InvalidValue, match=message) as caught:
        nd.brian.get().synapses(cells, drive="g_post -= w*mV", on_event=events)
    assert "\n" not in str(caught.value)
