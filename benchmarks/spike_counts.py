"""Spikes to counts: time and memory of `SpikeTrains.counts`, as ratios to Elephant's BinnedSpikeTrain in the same run.

Both start from what they hold in memory (arrays of times; neo.SpikeTrain objects) and end with a dense array of counts,
which are checked to be equal. Elephant checks its input when it bins, the library when the trains are made; the row
`with construction` therefore includes the making of the SpikeTrains. Opponent: elephant.conversion.BinnedSpikeTrain
(...).to_array(), where memory allows it; the largest size is the library alone, whole and in chunks.

Usage: python benchmarks/spike_counts.py [--sizes 20 100] [--duration 600] [--large 1000] [--rounds N] [--out FILE.csv]
"""

from __future__ import annotations

import resource
import sys
import warnings
from pathlib import Path

import neo
import numpy as np
import quantities as pq
from elephant.conversion import BinnedSpikeTrain
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

from benchmarks._measure import alternate, milliseconds, options, ratio, seconds, show
from neuro_decorr.recording import SpikeTrains

RATE = 5.0  # Hz
BIN = 0.01  # s


def trains(units: int, duration: float, seed: int = 0) -> list[NDArray[np.float64]]:
    """Independent Poisson spike trains."""
    generator = np.random.default_rng(seed)
    return [np.sort(generator.uniform(0, duration, generator.poisson(RATE * duration))) for _ in range(units)]


def compare(units: int, duration: float, rounds: int) -> list[dict[str, str]]:
    """Our times and Elephant's, in alternating rounds; the counts of both are equal."""
    times = trains(units, duration)
    held = SpikeTrains(times, 0, duration)
    theirs = [neo.SpikeTrain(unit, t_stop=duration, units="s") for unit in times]

    def elephant() -> NDArray[np.int_]:
        return np.asarray(BinnedSpikeTrain(theirs, bin_size=BIN * 1000 * pq.ms).to_array())

    np.testing.assert_array_equal(held.counts(BIN), elephant().T)
    steps = {
        "counts": lambda: held.counts(BIN),
        "with construction": lambda: SpikeTrains(times, 0, duration).counts(BIN),
        "Elephant": elephant,
    }
    measured = alternate(steps, rounds)
    size = {"counts": held.counts(BIN).nbytes, "Elephant": elephant().nbytes}
    return [
        {
            "units": str(units),
            "seconds": f"{duration:g}",
            "what": name,
            "ms": milliseconds(values),
            "Elephant / this": ratio(measured["Elephant"], values),
            "MB of counts": f"{size.get(name, size['counts']) / 1e6:.3g}",
        }
        for name, values in measured.items()
    ]


def alone(units: int, duration: float) -> list[dict[str, str]]:
    """Count one large recording as a whole and in chunks, with the peak memory of the process so far."""
    held = SpikeTrains(trains(units, duration), 0, duration)
    rows = []
    for name, step in {
        "in chunks": lambda: sum(int(chunk.sum()) for chunk in held.counts_chunks(BIN)),
        "whole": lambda: held.counts(BIN),
    }.items():
        taken = seconds(step)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        rows.append(
            {
                "units": str(units),
                "seconds": f"{duration:g}",
                "what": f"{name} (peak of the process: {peak:.0f} MB)",
                "ms": f"{1e3 * taken:.3g}",
                "Elephant / this": "",
                "MB of counts": "",
            }
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = options(__doc__ or "", rounds=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 100], help="units beside Elephant")
    parser.add_argument("--duration", type=float, default=600.0, help="seconds of each recording beside Elephant")
    parser.add_argument("--large", type=int, default=1000, help="units of an hour, the library alone; 0 for none")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="The 'copy' argument in Quantity is deprecated")
    rows = [row for units in arguments.sizes for row in compare(units, arguments.duration, arguments.rounds)]
    if arguments.large:
        rows += alone(arguments.large, 3600.0)
    show(rows, arguments.out)


if __name__ == "__main__":
    main()
