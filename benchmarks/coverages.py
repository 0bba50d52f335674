"""Coverage of 95 % intervals, and rate at which comparisons of equal recordings report a change.

Simulated populations, of which `tests/metrics/test_coverage.py` checks the same numbers.

Usage: python benchmarks/coverages.py [--runs 400]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, Python looks in this folder only

from benchmarks.null_sizes import state
from neuro_decorr import metrics

Model = Callable[[np.random.Generator], NDArray[np.float64] | NDArray[np.int64]]

MEASURES = (
    "mean_variance", "mean_correlation", "mean_absolute_correlation", "mean_squared_correlation",
    "participation_ratio", "leading_fraction", "spectral_flatness", "whiteness",
)  # fmt: skip


def shared(time: float, samples: int = 2_000, units: int = 8) -> Model:
    """Counts whose rates follow one slow state: lognormal, of a coefficient of variation of a half."""
    return lambda rng: rng.poisson(0.4 * np.exp(0.5 * state(time, samples, 1, rng) - 0.125) * np.ones(units))


def gaussian(samples: int, r: float, units: int = 20) -> Model:
    """Gaussian samples of one correlation."""
    return lambda rng: np.sqrt(1 - r) * rng.normal(size=(samples, units)) + np.sqrt(r) * rng.normal(size=(samples, 1))


MODELS: dict[str, Model] = {
    "independent": lambda rng: rng.poisson(0.4, (2_000, 8)),
    "mother process": lambda rng: rng.binomial(rng.poisson(4, (2_000, 1)), 0.1, (2_000, 8)),
    "shared state, 1/200 of the recording": shared(10),
    "shared state, 1/20 of the recording": shared(100),
    "60 samples": gaussian(60, 0.1),
}
PARTS: dict[str, tuple[Model, int]] = {
    "halves of independent units": (lambda rng: rng.poisson(0.4, (2_000, 8)), 1_000),
    "a third of independent units": (lambda rng: rng.poisson(0.4, (1_500, 8)), 500),
    "halves with a shared state": (shared(25), 1_000),
}
"""Recordings, and the sample at which they are cut in two that are compared."""


def covered(model: Model, runs: int) -> dict[str, tuple[int, int]]:
    """Count for every measure the intervals that hold the mean estimate over the runs, and all intervals."""
    found = [metrics.summary(model(np.random.default_rng(seed)), silent="drop") for seed in range(runs)]
    result = {}
    for name in MEASURES:
        rows = [one[name] for one in found]
        mean = np.mean([row.estimate for row in rows])
        shown = [row for row in rows if np.isfinite(row.low)]
        result[name] = (sum(bool(row.low <= mean <= row.high) for row in shown), len(shown))
    return result


def changes(model: Model, cut: int, runs: int) -> tuple[dict[str, int], int]:
    """Comparisons of two parts of one recording that leave out zero, by measure, and how many there were."""
    counts = dict.fromkeys([*MEASURES, "paired"], 0)
    shown = 0
    for seed in range(runs):
        x = model(np.random.default_rng(seed)).astype(np.float64)  # no counts: nothing to match
        found = metrics.comparison(x[:cut], x[cut:])
        if not np.isfinite(found["mean_correlation"].low):
            continue
        shown += 1
        for name in MEASURES:
            counts[name] += found[name].low > 0 or found[name].high < 0
        assert found.paired is not None
        counts["paired"] += found.paired.low > 0 or found.paired.high < 0
    return counts, shown


def _row(name: str, *cells: float) -> None:
    print(f"| {name} | " + " | ".join(f"{cell:.2f}".removeprefix("0") for cell in cells) + " |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400)
    runs = parser.parse_args().runs
    print(f"| intervals hold, of {runs} runs | {' | '.join(MEASURES)} | given |")
    for name, model in MODELS.items():
        found = covered(model, runs)
        given = found["mean_correlation"][1] / runs
        _row(name, *(hits / shown if shown else np.nan for hits, shown in found.values()), given)
    print(f"\n| comparisons tell a change, of {runs} runs | {' | '.join(MEASURES)} | paired | given |")
    for name, (model, cut) in PARTS.items():
        counts, shown = changes(model, cut, runs)
        _row(name, *(number / max(shown, 1) for number in counts.values()), shown / runs)


if __name__ == "__main__":
    main()
