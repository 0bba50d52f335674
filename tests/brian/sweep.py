"""Hyper-parameters that differ between the runs of one compiled program: a scenario of test_targets."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import brian2
import numpy as np
from brian2 import Network, SpikeMonitor, Synapses, get_device, ms
from brian2.core.variables import VariableView

import neuro_decorr as nd
from tests.brian.every_rule import population, quick
from tests.brian.on_target import Results

Chosen = Callable[[Synapses], list[tuple[VariableView, Any]]]

RUNS: dict[str, Chosen] = {
    "as it is": lambda _: [],
    "slower": lambda lateral: [(lateral.learning_rate, 0.002)],
    "bounded": lambda lateral: [(lateral.largest_weight, 0.31)],
    "shorter traces": lambda lateral: [(lateral.companions.target.trace_time, 10 * ms)],
    "frozen": lambda lateral: [(lateral.learning, 0)],
}


def circuit() -> tuple[Network, Synapses, SpikeMonitor]:
    """One population with lateral plasticity."""
    brian2.defaultclock.dt = 0.5 * ms
    cells = population()
    lateral = quick("lateral_covariance").synapses(cells, drive="gi_post -= w*mV")
    lateral.connect(condition="i != j")
    lateral.w = 0.3
    spikes = SpikeMonitor(cells)
    return Network(cells, lateral, spikes), lateral, spikes


def run() -> Callable[[], Results]:
    """The same circuit with some values changed: a network each, or on a standalone device one program for all."""
    found: Results = {}

    def keep(name: str, lateral: Synapses, spikes: SpikeMonitor) -> None:
        found[f"{name} weights"] = nd.brian.weights_to_matrix(lateral)
        found[f"{name} spikes"] = np.stack([np.asarray(spikes.t) * 1e3, np.asarray(spikes.i)])

    if not hasattr(get_device(), "has_been_run"):
        for name, chosen in RUNS.items():
            network, lateral, spikes = circuit()
            for view, value in chosen(lateral):
                view[:] = value
            network.run(120 * ms)
            keep(name, lateral, spikes)
        return lambda: found
    network, lateral, spikes = circuit()
    network.run(120 * ms)
    with tempfile.TemporaryDirectory() as directory:
        brian2.device.build(directory=directory, compile=True, run=False)
        for name, chosen in RUNS.items():
            brian2.device.run(run_args=dict(chosen(lateral)))
            keep(name, lateral, spikes)
    return lambda: found
