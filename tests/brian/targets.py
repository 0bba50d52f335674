"""One small population on one target of Brian2, for comparison: python -m tests.brian.targets TARGET FILE."""

from __future__ import annotations

import sys
import tempfile

import brian2
import numpy as np
from brian2 import Hz, NeuronGroup, SpikeMonitor, ms

import neuro_decorr as nd


def main(target: str, file: str) -> None:
    """Run with learning, frozen, and learning again; save spikes and weights."""
    standalone = target == "cpp_standalone"
    if standalone:
        brian2.set_device("cpp_standalone", build_on_run=False, directory=tempfile.mkdtemp())
    else:
        brian2.prefs.codegen.target = target
    brian2.defaultclock.dt = 1 * ms
    cells = NeuronGroup(
        8,
        "dv/dt = (drive - v + gi)/(10*ms) : volt\ndgi/dt = -gi/(5*ms) : volt\ndrive : volt",
        threshold="v > 20*mV",
        reset="v = 0*mV",
        method="euler",
    )
    cells.drive = "25*mV + 4*sin(i)*mV"
    schedule = nd.brian.Schedule(baseline=20 * ms, learning=300 * ms, annealing=150 * ms, consolidation=50 * ms)
    rule = nd.brian.get(rate=1e-3, homeostasis=nd.brian.Homeostasis(calibration=50 * ms), schedule=schedule)
    synapses = rule.synapses(cells, cells[1:6], drive="gi_post -= w*mV", delay=2 * ms)
    synapses.connect(condition="i != j + 1")
    nd.brian.set_weights(synapses, 0.3 + 0.01 * np.arange(40).reshape(8, 5))
    spikes = SpikeMonitor(cells)
    weights = brian2.StateMonitor(synapses, "w", record=np.arange(35), dt=100 * ms)  # all, counted by hand
    network = brian2.Network(cells, synapses, spikes, weights)
    network.run(200 * ms)
    nd.brian.freeze(synapses)
    network.run(200 * ms)
    nd.brian.thaw(synapses)
    network.run(200 * ms)
    if standalone:
        brian2.device.build(directory=tempfile.mkdtemp(), compile=True, run=True)
    matrix = nd.brian.weights_to_matrix(synapses)
    bias = nd.brian.companion(synapses).bias_rate / Hz
    np.savez(file, times=spikes.t / ms, neurons=spikes.i, course=weights.w, matrix=matrix, bias=bias)


if __name__ == "__main__":
    main(*sys.argv[1:])
