"""The two lines of the README with their defaults, on populations of six kinds of neurons and several sizes.

Five shared slow sources and noise of each neuron. The run: 100 s in which rates are counted (also the test before),
then the gain of the drive is measured, learning, annealing and consolidation until 400 s, and 100 s with weights and
bias held, with the shared input of the first 100 s, which the learning never saw. Printed: mean absolute correlation of
spike counts (bins of 50 ms) before and after, that of independent neurons (floor), what `synapses.report()` says, the
population's rate after over before, and the gain that was measured.

Usage: python benchmarks/brian_two_lines.py [--model NAME ...] [--neurons N ...] [--seed S] [--out FILE.csv]
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from pathlib import Path

import brian2
import numpy as np
from brian2 import Network, SpikeMonitor, TimedArray, second

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import show
from benchmarks._populations import POPULATIONS, SOURCES, STEPS
from models.correlated_population import held_out
from neuro_decorr import metrics
from neuro_decorr.recording import SpikeTrains, from_brian

BIN, STEP, TEST, LEARNT = 0.05, 0.002, 100.0, 400.0  # s


def measure(model: str, neurons: int, seed: int) -> dict[str, str]:
    """Time one population in a separate process, since a standalone device cannot be unset."""
    directory = tempfile.mkdtemp()
    brian2.set_device("cpp_standalone", build_on_run=False)
    brian2.prefs.devices.cpp_standalone.extra_make_args_unix = ["-j2", "-s"]
    brian2.seed(seed)
    brian2.defaultclock.dt = STEPS.get(model, 0.5) * brian2.ms
    input_ = held_out(TEST * second, [(LEARNT - TEST) * second], STEP * second, seed, SOURCES)
    cells, drives = POPULATIONS[model](neurons, seed, TimedArray(input_, dt=STEP * second))
    lateral = nd.brian.get("lateral_covariance").synapses(cells, **drives)
    lateral.connect(condition="i != j")
    spikes = SpikeMonitor(cells)
    Network(cells, lateral, spikes).run((LEARNT + TEST) * second)
    brian2.device.build(directory=directory, compile=True, run=True)

    trains = from_brian(spikes, stop=LEARNT + TEST)
    assert isinstance(trains, SpikeTrains)
    before, after = trains.window(0, TEST), trains.window(LEARNT, LEARNT + TEST)
    found = [metrics.mean_absolute_correlation(period.counts(BIN)) for period in (before, after)]
    floor = metrics.sampling_floor(len(after.counts(BIN))).mean_absolute
    report = lateral.report()
    print(report, flush=True)
    return {
        "model": model,
        "neurons": str(neurons),
        "Hz": f"{before.rate.mean():.1f}",
        "abs r before": f"{found[0]:.3f}",
        "after": f"{found[1]:.4f}",
        "floor": f"{floor:.4f}",
        "after/floor": f"{found[1] / floor:.2f}",
        "report": f"{report.now.times_floor:.2f}",
        "verdict": report.verdict,
        "rate after/before": f"{after.rate.mean() / before.rate.mean():.3f}",
        "within 10 %": f"{np.mean(np.abs(after.rate / before.rate - 1) < 0.1):.0%}",
        "gain": f"{report.gain:.2g}",
        "largest weight": f"{np.max(np.asarray(lateral.w)):.2f}",
        "ms a simulated s": f"{1e3 * brian2.device._last_run_time / (LEARNT + TEST):.0f}",
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=list(POPULATIONS), choices=list(POPULATIONS))
    parser.add_argument("--neurons", type=int, nargs="+", default=[20, 100, 400])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = []
    for model in given.model:
        for neurons in given.neurons:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows.append(pool.apply(measure, (model, neurons, given.seed)))
            print(rows[-1], flush=True)
    show(rows, given.out)


if __name__ == "__main__":
    main()
