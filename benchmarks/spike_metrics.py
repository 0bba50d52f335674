"""Time and memory of the measures of spike trains: the summary at full scale, lagged covariances beside Elephant.

- lags: covariances of all pairs at 41 lags; opponent: elephant.spike_train_correlation.cross_correlation_histogram,
  looped over all pairs of the same binned trains. Both give correlation coefficients, which are checked to be equal.
- summary: of 1,000 units, an hour at 5 Hz in bins of 10 ms, every measure with its interval; the peak is that of the
  process, counting included.
- analyse: the command, in a process of its own, of a file of 200 units with so many spikes in all, 2,000 a second, of
  which a tenth are common; tables, figures and page are written.

Usage: python benchmarks/spike_metrics.py [--units 100] [--large 1000] [--streamed 10000] [--analyse 10000000]
       [--out FILE.csv]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import neo
import numpy as np
import quantities as pq
import torch
from elephant.conversion import BinnedSpikeTrain
from elephant.spike_train_correlation import cross_correlation_histogram
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

from benchmarks._measure import milliseconds, options, ratio, seconds, show
from benchmarks.spike_counts import BIN, trains
from neuro_decorr import metrics
from neuro_decorr.recording import SpikeTrains, save

LAGS = 20


def by_pairs(binned: list[BinnedSpikeTrain], longest: int) -> NDArray[np.float64]:
    """Cross-correlation coefficients by Elephant, pair by pair, shape (2 L + 1, pairs)."""
    found = []
    for i, first in enumerate(binned):
        for second in binned[i + 1 :]:
            histogram, _ = cross_correlation_histogram(
                first, second, window=[-longest, longest], border_correction=True, cross_correlation_coefficient=True
            )
            found.append(histogram.magnitude[:, 0])
    return np.array(found).T


def lags(units: int, duration: float, rounds: int) -> list[dict[str, str]]:
    """Time the correlations of all pairs at all lags, with this library and with the other one in turn."""
    times = trains(units, duration)
    held = SpikeTrains(times, 0, duration)
    binned = [
        BinnedSpikeTrain(neo.SpikeTrain(unit, t_stop=duration, units="s"), bin_size=BIN * 1000 * pq.ms)
        for unit in times
    ]

    def ours() -> NDArray[np.float64]:
        return metrics.lagged_covariance(held, LAGS, bin=BIN, estimator="counts").pairs().numpy()

    np.testing.assert_allclose(ours(), by_pairs(binned, LAGS), rtol=1e-9, atol=1e-10)
    taken: dict[str, list[float]] = {"Elephant, pair by pair": [], "lagged_covariance": []}
    for _ in range(rounds):
        taken["lagged_covariance"].append(seconds(ours))
        taken["Elephant, pair by pair"].append(seconds(lambda: by_pairs(binned, LAGS)))
    what = f"{units} units, {duration:g} s, {2 * LAGS + 1} lags"
    return [
        _row(what, name, milliseconds(values), against=ratio(taken["Elephant, pair by pair"], values))
        for name, values in taken.items()
    ]


def scale(units: int, duration: float) -> dict[str, str]:
    """The whole summary of a large recording."""
    held = SpikeTrains(trains(units, duration), 0, duration)
    taken = seconds(lambda: metrics.summary(held, bin=BIN))
    return _row(f"{units} units, {duration:g} s", "summary with intervals", f"{1e3 * taken:.4g}", peak=_peak())


def streamed(units: int, duration: float = 100.0) -> dict[str, str]:
    """Second moments of very many units, read in chunks: the matrices themselves are what memory holds."""
    held = SpikeTrains(trains(units, duration), 0, duration)
    taken = seconds(lambda: metrics.moments(held, BIN))
    return _row(f"{units} units, {duration:g} s", "second moments in chunks", f"{1e3 * taken:.4g}", peak=_peak())


def analysed(spikes: int, units: int = 200) -> dict[str, str]:
    """The command, of a file."""
    generator, duration = np.random.default_rng(0), spikes / 2000
    rates = generator.lognormal(0, 0.5, units)
    numbers = generator.poisson(spikes * rates / rates.sum())
    common = generator.uniform(0, duration, max(1, spikes // 500))
    shares = np.minimum(0.1 * numbers / len(common), 1)
    times = [
        np.sort(np.append(generator.uniform(0, duration, round(0.9 * n)), common[generator.random(len(common)) < p]))
        for n, p in zip(numbers.tolist(), shares.tolist(), strict=True)
    ]
    held = SpikeTrains(times, 0, duration)
    with tempfile.TemporaryDirectory() as folder:
        save(held, f"{folder}/held.npz")
        command = [sys.executable, "-m", "neuro_decorr", "analyse", "held.npz", "--out", "found"]
        taken = seconds(lambda: subprocess.run(command, cwd=folder, check=True, capture_output=True))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return _row(
        f"{units} units, {held.spikes} spikes, {duration:g} s", "neuro-decorr analyse", f"{1e3 * taken:.4g}",
        processor=used.ru_utime + used.ru_stime, peak=used.ru_maxrss / 1e3,
    )  # fmt: skip


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _row(
    of: str, what: str, ms: str, *, against: str = "", processor: float | None = None, peak: float | None = None
) -> dict[str, str]:
    return {
        "of": of,
        "what": what,
        "ms": ms,
        "Elephant / this": against,
        "processor (s)": "" if processor is None else f"{processor:.3g}",
        "peak of the process (MB)": "" if peak is None else f"{peak:.0f}",
    }


def main() -> None:
    """Measure and print."""
    parser = options(__doc__ or "", rounds=1)
    parser.add_argument("--units", type=int, default=100, help="units beside Elephant; 0 for none")
    parser.add_argument("--duration", type=float, default=600.0, help="seconds beside Elephant")
    parser.add_argument("--large", type=int, default=1000, help="units of an hour; 0 for none")
    parser.add_argument("--streamed", type=int, default=0, help="units whose second moments stream, such as 10000")
    parser.add_argument("--analyse", type=int, default=0, help="spikes of a file that the command analyses")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", message="The 'copy' argument in Quantity is deprecated")
    rows = []
    if arguments.large:  # first: the peak is of the process
        rows.append(scale(arguments.large, 3600.0))
    if arguments.streamed:
        rows.append(streamed(arguments.streamed))
    if arguments.analyse:
        rows.append(analysed(arguments.analyse))
    if arguments.units:
        rows += lags(arguments.units, arguments.duration, arguments.rounds)
    show(rows, arguments.out)


if __name__ == "__main__":
    main()
