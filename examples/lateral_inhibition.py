r"""A Brian2 population before and after it has decorrelated itself: `python examples/lateral_inhibition.py`.

Fifty leaky integrate-and-fire neurons share three slow sources of input. Lateral inhibition with covariance-based
plasticity and rate homeostasis (`neuro_decorr.brian`) is calibrated for 100 s, learns for 240 s, at last at a falling
rate, is consolidated for 80 s, and then held for 40 s of new input. Written are the spikes of the last 40 s before
learning and of the 40 s held: `lateral_inhibition_before.npz` and `lateral_inhibition_after.npz`, for

    neuro-decorr analyse examples/recordings/lateral_inhibition_after.npz \
        --against examples/recordings/lateral_inhibition_before.npz

It compiles to C++ and takes about a minute.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import brian2
import numpy as np
from brian2 import Hz, NeuronGroup, SpikeMonitor, Synapses, ms, second
from numpy.typing import NDArray

import neuro_decorr as nd
from neuro_decorr.recording import SpikeTrains, from_brian, save

FOLDER = Path(__file__).parent / "recordings"
CALIBRATION, SHOWN = 100.0, 40.0  # s
SCHEDULE = nd.brian.Schedule(learning=120 * second, annealing=120 * second, consolidation=80 * second)


def simulate(neurons: int = 50, seed: int = 1) -> tuple[dict[str, SpikeTrains], NDArray[np.float64]]:
    """Run the population.

    Args:
        neurons: How many.
        seed: Of the noise and of the mixing of the sources.

    Returns:
        The spikes of both periods, and the lateral weights that were learnt, shape (neurons, neurons), NaN where there
        is no synapse.
    """
    brian2.set_device("cpp_standalone", build_on_run=False)
    brian2.seed(seed)
    brian2.defaultclock.dt = 0.5 * ms
    tau = 50 * ms
    shared = NeuronGroup(3, "ds/dt = -s/tau + xi*sqrt(2/tau) : 1", method="euler", namespace={"tau": tau})
    cells = NeuronGroup(
        neurons,
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
    homeostasis = nd.brian.Homeostasis(calibration=CALIBRATION * second, rate=2 * Hz)
    rule = nd.brian.get("lateral_covariance", rate=1e-2, homeostasis=homeostasis, schedule=SCHEDULE, gain=None)
    lateral = rule.synapses(cells, drive="gi_post -= 10*w*mV")
    lateral.connect(condition="i != j")
    spikes = SpikeMonitor(cells)
    stop = float(rule.learnt) + SHOWN
    brian2.run(stop * second)
    with tempfile.TemporaryDirectory() as directory:
        brian2.device.build(directory=directory, compile=True, run=True)
        recording = from_brian(spikes, stop=stop)
        periods = {"before": CALIBRATION, "after": stop}
        shown = {name: recording.window(end - SHOWN, end) for name, end in periods.items()}
        return shown, nd.brian.weights_to_matrix(lateral)


def main(folder: Path = FOLDER) -> None:
    """Simulate, and write both periods."""
    folder.mkdir(parents=True, exist_ok=True)
    periods, weights = simulate()
    print(f"lateral weights: {np.nanmean(weights):.3f} on average, {np.nanmax(weights):.3f} at most")
    for name, period in periods.items():
        path = save(period, folder / f"lateral_inhibition_{name}.npz", overwrite=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
