"""What chance gives: the same numbers of surrogates, which keep each unit and break what the units share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr import metrics
from neuro_decorr.metrics.measures import Reader
from neuro_decorr.metrics.surrogates import Surrogates

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
        eigenvalues: Of the correlation matrix, descending, shape `(surrogates, units)`.
    """

    measures: dict[str, Array]
    counts: NDArray[np.int64]
    eigenvalues: Array

    @classmethod
    def of(cls, made: Surrogates, draws: int, seed: int, tick: Callable[[], None]) -> Chance:
        """Read what surrogates give.

        Args:
            made: The surrogates.
            draws: How many, at least one.
            seed: Their seed.
            tick: Called after each.

        Returns:
            Their numbers.
        """
        rows, spectra = [], []
        counts = np.zeros(len(EDGES) - 1, dtype=np.int64)
        upper = np.triu_indices(len(made.units), 1)
        for population in made.moments(draws, seed):
            correlation = population.correlation.numpy()
            rows.append(measures(population))
            spectra.append(np.linalg.eigvalsh(correlation)[::-1])
            counts += np.histogram(correlation[upper], EDGES)[0]
            tick()
        return cls({name: np.array([row[name] for row in rows]) for name in rows[0]}, counts, np.array(spectra))

    def __len__(self) -> int:
        """Number of surrogates."""
        return len(self.eigenvalues)

    def p_value(self, name: str, observed: float) -> float:
        """(1 + surrogates at least as large) / (1 + surrogates), one-sided; Phipson and Smyth (2010).

        Args:
            name: A measure.
            observed: Its value in the data.
        """
        drawn = self.measures[name]
        return (1 + int((drawn >= observed).sum())) / (1 + len(drawn))

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
