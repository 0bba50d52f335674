"""What chance gives: the same numbers of surrogates, which keep each unit and break what the units share."""

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
"""Fine bins in which correlations of surrogates are counted: of all pairs in all surrogates they would be gigabytes."""


@final
@dataclass(frozen=True, eq=False)
class Chance:
    """What surrogates give.

    Attributes:
        measures: Values of each measure, one a surrogate.
        counts: Correlations of the pairs counted in `EDGES`, all surrogates together.
        spectrum: Eigenvalues of the data and of the surrogates.
    """

    measures: dict[str, Array]
    counts: NDArray[np.int64]
    spectrum: metrics.ParallelAnalysis

    @classmethod
    def of(cls, made: metrics.Surrogates, draws: int, seed: int, tick: Callable[[], None]) -> Chance:
        """Read what surrogates give; one at a time, since the correlations of all would not fit.

        Args:
            made: The surrogates.
            draws: How many, at least one.
            seed: Their seed.
            tick: Called after each.

        Returns:
            Their numbers.
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
        """The middle 95 % of a measure over surrogates.

        Args:
            name: The measure.
        """
        low, high = np.quantile(self.measures[name], [0.025, 0.975]).tolist()
        return low, high


def measures(population: metrics.Moments) -> dict[str, float]:
    """The standard set of one population, without what follows from the spike times.

    Args:
        population: Its moments.
    """
    return Reader().read(population, torch.ones(1, dtype=torch.float64))
