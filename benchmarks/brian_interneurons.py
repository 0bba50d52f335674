"""Decorrelation by k spiking interneurons, N k synapses, against all-to-all lateral inhibition, N (N - 1) synapses.

The population of the protocol `spiking_decorrelation`: N leaky integrate-and-fire neurons with five shared sources,
correlated positively or with both signs, and noise of their own. Test before (200 s, nothing learns); each neuron's
rate counted (100 s); learning, annealing, homeostasis alone; test after with weights and bias held. Both tests have the
same shared input, which the learning never saw. Printed: mean absolute correlation of spike counts (bins of 50 ms)
before and after, its floor for independent neurons, the ratio of rates, spikes of an interneuron, synapses, and the
time of the whole compiled run per simulated second, compilation not counted.

Usage: python benchmarks/brian_interneurons.py [--neurons N] [--interneurons K ...] [--mixing KIND ...] [--seed S]
       [--test S] [--learning S] [--out FILE.csv]
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from pathlib import Path
from typing import Any

import brian2
import numpy as np
from brian2 import Hz, Network, SpikeMonitor, TimedArray, mV, second

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

import neuro_decorr as nd
from benchmarks._measure import show
from models.correlated_population import Mixing, correlated_population, held_out, mixing, set_mixing
from neuro_decorr import metrics
from neuro_decorr.recording import SpikeTrains, from_brian

BIN, STEP, CALIBRATION, SOURCES = 0.05, 0.002, 100.0, 5  # s


def rule(interneurons: int, given: argparse.Namespace) -> nd.brian.SpikingRule:
    """All-to-all for 0 interneurons; both in the same course."""
    schedule = nd.brian.Schedule(
        baseline=given.test * second,
        learning=given.learning * 2 / 3 * second,
        annealing=given.learning / 3 * second,
        consolidation=80 * second,
    )
    homeostasis = nd.brian.Homeostasis(calibration=CALIBRATION * second, rate=1 * Hz)
    options: dict[str, Any]
    name, options = "feedback_inhibition", {"interneurons": interneurons, "rate": 2e-2}
    if interneurons == 0:
        name, options = "lateral_covariance", {"rate": 1e-2, "gain": None}
    made: nd.brian.SpikingRule = nd.brian.get(name, schedule=schedule, homeostasis=homeostasis, **options)
    return made


def measure(interneurons: int, kind: Mixing, given: argparse.Namespace) -> dict[str, str]:
    """Time one population in a separate process, since a standalone device cannot be unset."""
    directory = tempfile.mkdtemp()
    brian2.set_device("cpp_standalone", build_on_run=False)
    brian2.prefs.devices.cpp_standalone.extra_make_args_unix = ["-j2", "-s"]
    brian2.seed(given.seed)
    brian2.defaultclock.dt = 0.5 * brian2.ms
    made = rule(interneurons, given)
    learnt, stop = float(made.learnt), float(made.learnt) + given.test
    phases = [(learnt - given.test) * second]
    input_ = held_out(given.test * second, phases, STEP * second, given.seed, SOURCES)
    cells = correlated_population(given.neurons, TimedArray(input_, dt=STEP * second))
    cells.drive = 17 * mV
    set_mixing(cells, 3 * mV * mixing(kind, given.neurons, given.seed, SOURCES))
    lateral = made.synapses(cells, drive="inhibition_post -= 10*w*mV")
    lateral.connect(condition="i != j" if interneurons == 0 else None)
    spikes = SpikeMonitor(cells)
    counted = SpikeMonitor(lateral.source, record=False)
    Network(cells, lateral, spikes, counted).run(stop * second)
    brian2.device.build(directory=directory, compile=True, run=True)

    trains = from_brian(spikes, stop=stop)
    assert isinstance(trains, SpikeTrains)
    before, after = trains.window(0, given.test), trains.window(learnt, stop)
    found = [metrics.mean_absolute_correlation(period.counts(BIN)) for period in (before, after)]
    kept = np.mean(np.abs(after.rate / before.rate - 1) < 0.1)
    inhibition = "" if interneurons == 0 else f"{np.asarray(counted.count).mean() / stop:.0f} Hz"
    return {
        "mixing": kind,
        "inhibition": "all-to-all" if interneurons == 0 else f"{interneurons} interneurons",
        "synapses": str(len(lateral)),
        "abs r before": f"{found[0]:.3f}",
        "abs r after": f"{found[1]:.4f}",
        "floor": f"{metrics.sampling_floor(len(after.counts(BIN))).mean_absolute:.4f}",
        "rate after/before": f"{after.rate.mean() / before.rate.mean():.3f}",
        "within 10 %": f"{kept:.0%}",
        "interneurons fire": inhibition,
        "ms a simulated s": f"{1e3 * brian2.device._last_run_time / stop:.1f}",
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=100)
    parser.add_argument("--interneurons", type=int, nargs="*", default=[8, 16])
    parser.add_argument("--mixing", nargs="+", default=["positive", "mixed"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--test", type=float, default=200.0, help="duration of each test (s)")
    parser.add_argument("--learning", type=float, default=480.0, help="duration of learning and annealing (s)")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = []
    for kind in given.mixing:
        for interneurons in (0, *given.interneurons):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows.append(pool.apply(measure, (interneurons, kind, given)))
            print(rows[-1], flush=True)
    show(rows, given.out)


if __name__ == "__main__":
    main()
