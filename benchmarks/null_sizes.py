"""Size and power of nulls: rate at which they report correlation for independent and for correlated units.

Spike counts of 50 ms over 200 s, 8 spikes a second. What units do alone, and what they share, is named in the tables:

- size: share of repetitions with p <= .05, or with an eigenvalue above the edge of parallel analysis, of independent
  units; beside it shifts around the end of the raw counts, and the edge of Marchenko and Pastur;
- power: the same of units that share something;
- trials: 60 trials of one stimulus, whose response all units share;
- dimensions: what each measure of dimensionality says of 40 units driven by latents.

Usage: python benchmarks/null_sizes.py [--units 15] [--repetitions 400]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.signal
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

from neuro_decorr import metrics
from neuro_decorr.metrics.null import SurrogateNull
from neuro_decorr.metrics.parallel import ParallelAnalysis
from neuro_decorr.recording import Rates, Trials

Array = NDArray[np.float64]
SAMPLES, STEP, MEAN = 4000, 0.05, 0.4
SURROGATES = 39


def state(time: float, samples: int, units: int, source: np.random.Generator) -> Array:
    """Ornstein-Uhlenbeck processes of variance one, `time` in samples, shape `(samples, units)`."""
    keep, first = np.exp(-1 / time), source.standard_normal(units)
    noise = np.sqrt(1 - keep**2) * source.standard_normal((samples, units))
    noise[0] = first
    x: Array = scipy.signal.lfilter([1], [1, -keep], noise, axis=0)
    return x


def trends(samples: int, units: int, source: np.random.Generator) -> Array:
    """Linear trends up or down by 30 to 100 %, relative to the mean."""
    slope = source.choice([-1, 1], units) * source.uniform(0.3, 1, units)
    time: Array = (np.arange(samples) + 0.5) / samples - 0.5
    rates: Array = np.asarray(1 + np.outer(time, slope), dtype=np.float64)
    return rates


def walks(samples: int, units: int, source: np.random.Generator) -> Array:
    """Exponentials of random walks, which end 0.7 from where they begin, root mean square."""
    walk: Array = np.cumsum(source.standard_normal((samples, units)), axis=0) * (0.7 / np.sqrt(samples))
    return np.exp(walk)


def steps(samples: int, units: int, source: np.random.Generator) -> Array:
    """Draw one step in the rate of every unit, at its own random time."""
    late = np.arange(samples)[:, None] / samples > source.uniform(0.2, 0.8, units)
    return np.where(late, source.uniform(0.4, 1.6, units), 1.0)


def constant(samples: int, units: int, source: np.random.Generator) -> Array:  # noqa: ARG001
    """Rates that do not change."""
    return np.ones((samples, units))


def common_trend(samples: int, units: int, source: np.random.Generator) -> Array:  # noqa: ARG001
    """A fall by 30 % that all units share, such as bleaching."""
    return np.repeat(1.15 - 0.3 * np.arange(samples)[:, None] / samples, units, axis=1)


Draw = Callable[[int, int, np.random.Generator], Array]
ALONE: dict[str, Draw] = {
    "constant rates": constant,
    "states of 1 s, each its own": lambda p, n, g: np.exp(0.5 * state(p / 200, p, n, g)),
    "states of 5 s": lambda p, n, g: np.exp(0.5 * state(p / 40, p, n, g)),
    "states of 20 s": lambda p, n, g: np.exp(0.5 * state(p / 10, p, n, g)),
    "linear trends": trends,
    "random walks": walks,
    "steps": steps,
    "one trend of all, -30 %": common_trend,
}
"""Courses of the rates of single units, relative to the mean rate; the last one is a drift that all units share."""
SHARED: dict[str, tuple[Draw, float]] = {
    "common input, r = .02": (constant, 0.02),
    "the same under trends of their own": (trends, 0.02),
    "the same under random walks of their own": (walks, 0.02),
    "a state of 2 s, r = .04": (lambda p, n, g: np.repeat(np.exp(0.3 * state(p / 100, p, 1, g)), n, axis=1), 0.0),
    "a state of 10 s, r = .04": (lambda p, n, g: np.repeat(np.exp(0.3 * state(p / 20, p, 1, g)), n, axis=1), 0.0),
}
"""Rates, and the share of the counts that all units receive together."""


def counts(rates: Array, source: np.random.Generator, common: float = 0.0, mean: float = MEAN) -> NDArray[np.int64]:
    """Poisson counts, a share `common` of which all units receive together: so large is their correlation."""
    drawn: NDArray[np.int64] = source.poisson((1 - common) * mean * rates)
    if common:
        drawn += source.poisson(common * mean, (len(rates), 1))
    return drawn


def above_marchenko_pastur(x: Array | NDArray[np.int64]) -> int:
    """Eigenvalues of the correlation matrix above those of independent units in independent samples."""
    return int((np.linalg.eigvalsh(np.corrcoef(x.T)) > metrics.marchenko_pastur_edge(*x.shape)).sum())


def verdicts(x: NDArray[np.int64], seed: int) -> tuple[bool, bool, bool, int]:
    """Test for p <= .05; an eigenvalue above the edge; p <= .05 by plain shifts; eigenvalues above Marchenko-Pastur."""
    chosen = metrics.surrogates(x)
    drawn = list(chosen.moments(SURROGATES, seed))
    plain = metrics.surrogate_null(x, kind="circular_shift", cutoff=None, surrogates=SURROGATES, seed=seed)
    return (
        SurrogateNull.of(chosen, drawn).p_value <= 0.05,
        ParallelAnalysis.of(chosen, drawn).dimensions > 0,
        plain.p_value <= 0.05,
        above_marchenko_pastur(x),
    )


def stimulus(rates: Array, source: np.random.Generator, bins: int = 20) -> Rates:
    """Trials of 1 s with one response that all units share, of rates `(trials, units)` relative to the mean."""
    time = (np.arange(bins) + 0.5) * STEP
    response = 5 + 25 * np.exp(-((time - 0.3) ** 2) / 2 / 0.05**2)
    drawn = source.poisson(STEP * response[:, None] * rates[:, None])
    trials = Trials.every(bins * STEP, len(rates), conditions=["grating"] * len(rates))
    return Rates(drawn.reshape(-1, rates.shape[1]).astype(float), STEP, trials=trials)


OVER_TRIALS: dict[str, Draw] = {
    "constant": constant,
    "linear trends": trends,
    "random walks": walks,
    "states of 3 trials": lambda p, n, g: np.exp(0.5 * state(3, p, n, g)),
    "one gain of all units, 20 %": lambda p, n, g: np.repeat(np.exp(0.2 * g.standard_normal((p, 1))), n, axis=1),
}


def latents(dimensions: int, seed: int = 0, samples: int = 4000, units: int = 40) -> NDArray[np.int64]:
    """Counts, 0.5 a bin, of units whose log rates are driven by white latents, deviation 0.35."""
    source = np.random.default_rng(seed)
    loadings = source.standard_normal((units, dimensions))
    drive = source.standard_normal((samples, dimensions)) @ loadings.T / np.sqrt(max(dimensions, 1))
    drawn: NDArray[np.int64] = source.poisson(0.5 * np.exp(0.35 * drive))
    return drawn


def _row(name: str, *cells: float) -> None:
    print(f"| {name} | " + " | ".join(f"{cell:.2f}".removeprefix("0") for cell in cells) + " |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=15)
    parser.add_argument("--repetitions", type=int, default=400)
    chosen = parser.parse_args()
    for kinds in ({name: (rates, 0.0) for name, rates in ALONE.items()}, SHARED):
        print("\n| units | p <= .05 | parallel analysis | shifts around the end | eigenvalues above Marchenko-Pastur |")
        for name, (rates, common) in kinds.items():
            found = []
            for seed in range(chosen.repetitions):
                source = np.random.default_rng(seed)
                found.append(verdicts(counts(rates(SAMPLES, chosen.units, source), source, common), seed))
            _row(name, *np.mean(found, axis=0))
    print("\n| units over trials | p <= .05, one count a trial | p <= .05, bins of 50 ms |")
    for name, rates in OVER_TRIALS.items():
        reached = []
        for seed in range(chosen.repetitions):
            source = np.random.default_rng(seed)
            recording = stimulus(rates(60, chosen.units, source), source)
            nulls = [metrics.surrogate_null(recording, bin, surrogates=SURROGATES, seed=seed) for bin in (None, STEP)]
            reached.append([null.p_value <= 0.05 for null in nulls])
        _row(name, *np.mean(reached, axis=0))
    for dimensions in (0, 1, 3, 6):
        x = latents(dimensions)
        table = metrics.dimensionality(x).to_frame()
        both = metrics.participation_ratio(x, correction="both")
        print(f"\n{dimensions} latents; corrected for samples and units: {both:.0f}; above Marchenko-Pastur: ", end="")
        print(above_marchenko_pastur(x))
        print(table.round(1).to_string())


if __name__ == "__main__":
    main()
