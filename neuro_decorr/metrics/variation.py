"""Irregularity of spike trains by the intervals between neighbouring spikes, summed over cells of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro_decorr.recording import SpikeTrains


def cv2_terms(times: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Local variation of each pair of neighbouring intervals, $2 |I_{k+1} - I_k| / (I_{k+1} + I_k)$.

    Args:
        times: Sorted spike times of one unit (s).

    Returns:
        One value per spike, except the first and the last; empty with fewer than three spikes.
    """
    intervals = np.diff(times)
    # The sum of both intervals is positive, since no two spikes of a unit are at the same time.
    return np.asarray(2 * np.abs(np.diff(intervals)) / (intervals[1:] + intervals[:-1]))


@final
@dataclass(frozen=True, eq=False)
class Variation:
    r"""Sums for the CV2 of every unit over cells of time; a term belongs to the cell of its middle spike.

    $$\mathrm{CV2} = \frac{1}{n - 1} \sum_{k=1}^{n-1} \frac{2 |I_{k+1} - I_k|}{I_{k+1} + I_k}$$

    for n intervals I. CV2 is one for a Poisson process of any rate and zero for regular firing; slow changes of the
    rate have little effect.

    Source: Holt, Softky, Koch and Douglas (1996), Comparison of discharge variability in vitro and in vivo in cat
    visual cortex neurons, J. Neurophysiol. 75, doi:10.1152/jn.1996.75.5.1806.
    """

    sums: Tensor  # (cells, units), float64
    numbers: Tensor  # (cells, units), float64: number of terms in each sum

    @classmethod
    def of(
        cls, trains: SpikeTrains, edges: NDArray[np.float64], windows: Sequence[tuple[float, float]] | None = None
    ) -> Variation:
        """Sums over cells of time.

        Args:
            trains: Spike trains.
            edges: Start of each cell after the first (s); the last cell has no end.
            windows: Start and end (s) of the periods whose intervals count, in order, such as trials; None: the periods
                that were recorded without a break.

        Returns:
            Sums, one row per cell. Cost: linear in the spikes.
        """
        starts, stops = np.array(trains.pieces if windows is None else windows).T
        shape = (len(edges) + 1, len(trains.units))
        sums, numbers = np.zeros(shape), np.zeros(shape)
        for unit, times in enumerate(trains.times):
            cell, terms = np.searchsorted(edges, times[1:-1], side="right"), cv2_terms(times)
            if len(starts) > 1 or windows is not None:
                window = np.searchsorted(starts, times, side="right") - 1
                within = (window[2:] == window[:-2]) & (window[:-2] >= 0) & (times[2:] <= stops[window[2:]])
                cell, terms = cell[within], terms[within]
            sums[:, unit] = np.bincount(cell, terms, minlength=shape[0])
            numbers[:, unit] = np.bincount(cell, minlength=shape[0])
        return cls(torch.from_numpy(sums), torch.from_numpy(numbers))

    def between(self, first: int, last: int) -> Variation:
        """Sums of the cells from `first` to `last` - 1."""
        return Variation(self.sums[first:last], self.numbers[first:last])

    @property
    def sparse(self) -> int:
        """Number of units with fewer than three spikes, which have no CV2."""
        return int((self.numbers.sum(dim=0) == 0).sum())

    def each(self, weights: Tensor) -> Tensor:
        """CV2 of every unit, shape `(units,)`; NaN without a term.

        Args:
            weights: Weight of each cell, shape `(cells,)`.

        Returns:
            CV2 of each unit.
        """
        return (weights @ self.sums) / (weights @ self.numbers)

    def mean(self, weights: Tensor) -> float:
        """Mean CV2 over the units that have one, NaN when none has.

        Args:
            weights: Weight of each cell, shape `(cells,)`.

        Returns:
            Mean CV2.
        """
        return float(self.each(weights).nanmean())
