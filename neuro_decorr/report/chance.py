"""Values by chance: the measures of surrogates, which keep the activity of each unit and break what the units share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr import metrics
from neuro_decorr.metrics.measures import Reader

Array = NDArray[np.float64]

EDGES: Array = np.linspace(-1, 1, 4001)
"""Edges of fine bins in which correlations of surrogates are counted, since all their pairs would take gigabytes."""


@final
@dataclass(frozen=True, eq=False)
class Chance:
    """Values of surrogates.

    Attributes:
        measures: Values of each measure, one per surrogate.
        counts: Correlations of the pairs counted in `EDGES`, all surrogates together.
        spectrum: Eigenvalues of the data and of the surrogates.
    """

    measures: dict[str, Array]
    counts: NDArray[np.int64]
    spectrum: metrics.ParallelAnalysis

    @classmethod
    def of(cls, made: metrics.Surrogates, draws: int, seed: int, tick: Callable[[], None]) -> Chance:
        """Measure surrogates one at a time, since the correlations of all would not fit into memory.

        Args:
            made: The surrogates.
            draws: Number of surrogates, at least one.
            seed: Their seed.
            tick: Function that is called after each surrogate.

        Returns:
            Their values.
        """
        rows: list[dict[str, float]] = []
        counts = np.zeros(len(EDGES) - 1, dtype=np.int64)
        upper = np.triu_indices(len(made.units), 1)

        def read() -> Iterator[metrics.Moments]:
            for population in made.moments(draws, seed):
                yield population
                rows.append(measures(population))
                counts[:] += np.histogram(population.correlation.numpy()[upper], EDGES)[0]
                tick()

        spectrum = metrics.ParallelAnalysis.of(made, read())
        return cls({name: np.array([row[name] for row in rows]) for name in rows[0]}, counts, spectrum)

    def __len__(self) -> int:
        """Number of surrogates."""
        return len(self.spectrum.null)

    def middle(self, name: str) -> tuple[float, float]:
        """Return the middle 95 % of a measure over surrogates.

        Args:
            name: Name of the measure.
        """
        low, high = np.quantile(self.measures[name], [0.025, 0.975]).tolist()
        return low, high


def measures(population: metrics.Moments) -> dict[str, float]:
    """Compute the standard measures of a population, without those that need spike times.

    Args:
        population: Moments of the population.
    """
    return Reader().read(population, torch.ones(1, dtype=torch.float64))
