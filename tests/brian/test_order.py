"""What happens when within a time step, and what a stored network goes on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brian2
import numpy as np
import pytest
from brian2 import Network, SpikeMonitor, StateMonitor, ms, scheduling_summary, volt

import neuro_decorr as nd
from tests.brian.every_rule import population, quick, spiking_rules
from tests.brian.told import STEP, STEPS, told, trains


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = STEP * ms


ORDERS: list[dict[str, Any]] = [{"delay": 0 * ms}, {"order": 3}, {"delay": 0 * ms, "order": -5}]


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in spiking_rules()), *(("lateral_covariance", options) for options in ORDERS)],
    ids=str,
)
def test_a_spike_transmits_the_weight_that_there_was_before_it(name: str, options: dict[str, Any]) -> None:
    """The monitor sees the weights when a step starts, or when interneurons spike, which first hear the neurons: their
    sum over spikes is what has arrived."""
    neurons = told(trains(0, 0.1))
    rule = quick(name, rate=0.05)
    bias = {} if rule.homeostasis is None else {"bias_drive": "g_post += 0*bias*mV"}
    synapses = rule.synapses(neurons, drive="g_post -= w*mV", **bias, **options)
    synapses.connect(condition="i != j")
    synapses.w = 0.3
    answer = {"when": "synapses", "order": 0} if name == "feedback_inhibition" else {}
    course, spikes = StateMonitor(synapses, "w", record=True, **answer), SpikeMonitor(synapses.source)
    Network(neurons, synapses, course, spikes).run(STEPS * STEP * ms)
    fired = np.zeros((len(synapses.source), STEPS))
    fired[spikes.i, np.round(spikes.t / (STEP * ms)).astype(int)] = 1
    arrived = np.zeros(len(neurons))
    np.add.at(arrived, np.asarray(synapses.j), (course.w * fired[np.asarray(synapses.i)]).sum(axis=1))
    assert np.ptp(course.w) > 0.05 and fired.sum() > 10
    np.testing.assert_allclose(neurons.g / (-1e-3 * volt), arrived, rtol=1e-12)


def test_the_order_within_a_time_step() -> None:
    """Bias, traces, thresholds, transmission, learning before and after the spikes enter the traces, then resets."""
    cells = population()
    synapses = quick("lateral_covariance").synapses(cells, drive="gi_post -= w*mV", delay=1 * ms, name="lateral")
    synapses.connect(condition="i != j")
    network = Network(cells, synapses)
    network.run(1 * ms)
    order = [entry.name for entry in scheduling_summary(network).entries]
    expected = [
        "lateral_bias_injection",
        "lateral_target_traces_stateupdater",
        f"{cells.name}_spike_thresholder",
        "lateral_pre",
        "lateral_learning_pre",
        "lateral_target_spikes_at_0",
        "lateral_learning_post",
        f"{cells.name}_spike_resetter",
        "lateral_target_traces_time",
    ]
    assert [name for name in order if name in expected] == expected


@pytest.mark.parametrize("name", ["lateral_covariance", "vogels"])  # with a homeostasis and without
def test_a_restored_network_goes_on_as_it_did(name: str, tmp_path: Path) -> None:
    """From memory and from a file: with spikes on their way, traces, bias, and what was frozen."""
    cells = population()
    synapses = quick(name).synapses(cells, drive="gi_post -= w*mV", delay=7 * ms)
    synapses.connect(condition="i != j")
    synapses.w = 0.5
    spikes = SpikeMonitor(cells)
    network = Network(cells, synapses, spikes)
    network.run(101 * ms)
    network.store()
    network.store(filename=str(tmp_path / "stored"))

    def go_on() -> list[np.ndarray]:
        network.run(100 * ms)
        companion = synapses.companions.target
        state = [companion.get_states(units=False)[key] for key in sorted(companion.get_states(units=False))]
        return [np.asarray(spikes.t), np.asarray(spikes.i), synapses.w[:].copy(), *map(np.copy, state)]

    first = go_on()
    assert np.ptp(first[2]) > 0 and (first[0] > 0.101).sum() > 10
    nd.brian.freeze(synapses)  # and forgotten by restoring
    for arguments in ({}, {"filename": str(tmp_path / "stored")}):
        network.restore(**arguments)
        for found, expected in zip(go_on(), first, strict=True):
            np.testing.assert_array_equal(found, expected)
