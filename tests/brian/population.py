"""Neurons with shared input, before and after learning, compiled: python -m tests.brian.population FILE."""

from __future__ import annotations

import sys
import tempfile

import brian2
import numpy as np
from brian2 import Hz, NeuronGroup, SpikeMonitor, Synapses, ms, second

import neuro_decorr as nd


def main(file: str) -> None:
    """Calibrate for 50 s, learn for 200 s, hold everything for 100 s; save the spikes."""
    brian2.set_device("cpp_standalone", build_on_run=False)
    brian2.seed(1)
    brian2.defaultclock.dt = 0.5 * ms
    tau = 50 * ms
    shared = NeuronGroup(3, "ds/dt = -s/tau + xi*sqrt(2/tau) : 1", method="euler", namespace={"tau": tau})
    cells = NeuronGroup(
        50,
        "dv/dt = (16*mV + 4*mV*common + gi - v)/(20*ms) + 3*mV*xi*sqrt(2/(20*ms)) : volt (unless refractory)\n"
        "dgi/dt = -gi/(10*ms) : volt\ncommon : 1",
        threshold="v > 20*mV",
        reset="v = 0*mV",
        refractory=2 * ms,
        method="euler",
    )
    mixing = Synapses(shared, cells, "strength : 1\ncommon_post = strength*s_pre : 1 (summed)")
    mixing.connect()
    mixing.strength = "rand()"
    homeostasis = nd.brian.Homeostasis(calibration=50 * second, rate=1 * Hz)
    lateral = nd.brian.get(rate=1e-3, homeostasis=homeostasis).synapses(cells, drive="gi_post -= 10*w*mV")
    lateral.connect(condition="i != j")
    spikes = SpikeMonitor(cells)
    brian2.run(250 * second)
    nd.brian.freeze(lateral, homeostasis=True)
    brian2.run(100 * second)
    brian2.device.build(directory=tempfile.mkdtemp(), compile=True, run=True)
    weights = nd.brian.weights_to_matrix(lateral)
    bias = np.asarray(nd.brian.companion(lateral).bias_average)
    np.savez(file, times=np.asarray(spikes.t / second), neurons=np.asarray(spikes.i), weights=weights, bias=bias)


if __name__ == "__main__":
    main(*sys.argv[1:])
