"""Recordings whose correlations are known: `python examples/make_recordings.py` writes them into examples/recordings.

Each is drawn from a process with a closed form for the correlation r of the spike counts of two units, whatever the
measure: what an analysis finds in these files can be compared with the truth.

- `single_interaction.nix`: independent spikes, and some that all units share: r = shared rate / rate = 0.2.
- `compound_poisson.nwb`: each event is copied to K random ones of N units, K = 1 or 6:
  r = E[K (K - 1)] / ((N - 1) E[K]) = 0.130.
- `shared_modes.npz`: two groups, each with a rate that all of it shares in the trials `control`: in bins of 50 ms
  r = 0.228 within a group, 0 between them; in the trials `inhibited` all units are independent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.recording import SpikeTrains, Trials, save

FOLDER = Path(__file__).parent / "recordings"
STEP = 0.05  # s: how long the shared rate of a group stays as it is
MODULATION = 0.86  # of the rate, up or down
RATES = {"single_interaction": 6.0, "compound_poisson": 6.0, "shared_modes": 8.0}  # Hz

KNOWN = {
    "single_interaction": 0.2,
    "compound_poisson": (0.2 * 6 * 5) / (23 * (0.8 * 1 + 0.2 * 6)),
    # Counts of mean m = rate x bin whose rate is (1 + a s), s = +-1: covariance (m a)^2, variance m + (m a)^2.
    "shared_modes": 0.4 * MODULATION**2 / (1 + 0.4 * MODULATION**2),
}
"""Correlation of the counts of two units (of one group, in the trials `control`, in bins of 50 ms for shared modes)."""


def poisson(generator: np.random.Generator, rate: float, duration: float) -> NDArray[np.float64]:
    """Times of a Poisson process of a rate (Hz) over a duration (s), sorted."""
    return np.sort(generator.uniform(0.0, duration, generator.poisson(rate * duration)))


def single_interaction(seed: int = 1, units: int = 10, duration: float = 100.0) -> SpikeTrains:
    """Single interaction process (Kuhn, Aertsen, Rotter 2003): a fifth of the spikes of every unit are everybody's."""
    generator = np.random.default_rng(seed)
    rate, share = RATES["single_interaction"], KNOWN["single_interaction"]
    shared = poisson(generator, share * rate, duration)
    times = [np.sort(np.r_[shared, poisson(generator, (1 - share) * rate, duration)]) for _ in range(units)]
    return SpikeTrains(times, 0.0, duration, [f"unit {k}" for k in range(units)])


def compound_poisson(seed: int = 2, units: int = 24, duration: float = 60.0) -> SpikeTrains:
    """Compound Poisson process (Staude, Rotter, Gruen 2010): an event reaches one unit (0.8) or six at once (0.2)."""
    generator = np.random.default_rng(seed)
    events = poisson(generator, RATES["compound_poisson"] * units / (0.8 * 1 + 0.2 * 6), duration)
    size = np.where(generator.random(len(events)) < 0.2, 6, 1)
    # The units with the smallest of independent uniform numbers are a random choice without repeats.
    reached = generator.random((len(events), units)).argsort(axis=1).argsort(axis=1) < size[:, None]
    return SpikeTrains([events[reached[:, k]] for k in range(units)], 0.0, duration, [f"n{k}" for k in range(units)])


def shared_modes(seed: int = 3, units: int = 30, trials: int = 20, length: float = 5.0) -> SpikeTrains:
    """Doubly stochastic: in the first half of the trials each half of the units shares its rate, then none does."""
    generator = np.random.default_rng(seed)
    steps = round(trials * length / STEP)
    mode = generator.choice([-1.0, 1.0], (steps, 2))
    mode[steps // 2 :] = 0.0
    rate = RATES["shared_modes"] * (1 + MODULATION * mode)
    times = []
    for unit in range(units):
        counts = generator.poisson(rate[:, unit % 2] * STEP)
        first = np.repeat(np.arange(steps), counts)
        times.append(np.sort((first + generator.random(len(first))) * STEP))
    labels = ["control"] * (trials // 2) + ["inhibited"] * (trials - trials // 2)
    names = [f"{'ab'[k % 2]}{k // 2}" for k in range(units)]
    return SpikeTrains(times, 0.0, trials * length, names, Trials.every(length, trials, conditions=labels))


MADE: dict[str, Callable[[], SpikeTrains]] = {
    "single_interaction.nix": single_interaction,
    "compound_poisson.nwb": compound_poisson,
    "shared_modes.npz": shared_modes,
}


def main(folder: Path = FOLDER) -> None:
    """Write every example."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in MADE.items():
        path = save(make(), folder / name, overwrite=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
