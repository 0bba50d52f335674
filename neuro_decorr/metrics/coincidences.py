"""Coincident spikes of all pairs of units, and the numbers to expect from jittered spikes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr.recording import SpikeTrains

ROWS = 8192
"""Number of jitter intervals that are multiplied at a time."""


def merged(trains: SpikeTrains) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sort all spikes by time; returns their times (s) and the unit of each."""
    times = np.concatenate(trains.times)
    unit = np.repeat(np.arange(len(trains.units)), [len(train) for train in trains.times])
    order = np.argsort(times, kind="stable")
    return times[order], unit[order]


def coincidences(times: NDArray[np.float64], unit: NDArray[np.int64], units: int, window: float) -> NDArray[np.int64]:
    """Count pairs of spikes of two units within a window of each other.

    Cost: linear in the spikes and in the pairs that are found.

    Args:
        times: Times of all spikes in order (s).
        unit: Unit of each spike.
        units: Number of units.
        window: Largest distance of two spikes (s).

    Returns:
        Numbers of pairs, shape `(units, units)`, symmetric; the diagonal is zero.
    """
    found = np.zeros(units * units, dtype=np.int64)
    later = np.arange(len(times))
    reach = window * (1 + 1e-9)  # a distance equal to the window is inside, in spite of rounding
    for step in range(1, len(times)):
        later = later[later + step < len(times)]
        later = later[times[later + step] - times[later] <= reach]
        if not later.size:
            break
        found += np.bincount(unit[later] * units + unit[later + step], minlength=units * units)
    square = found.reshape(units, units)
    both = square + square.T
    np.fill_diagonal(both, 0)
    return both


def short_intervals(times: NDArray[np.float64], shortest: float, longest: float) -> int:
    """Number of pairs of spikes of one train, neighbours or not, with distances (s) in [shortest, longest)."""
    total = 0
    earlier = np.arange(len(times))
    for step in range(1, len(times)):
        earlier = earlier[earlier + step < len(times)]
        distance = times[earlier + step] - times[earlier]
        total += int(((distance >= shortest) & (distance < longest)).sum())
        earlier = earlier[distance < longest]
        if not earlier.size:
            break
    return total


def jittered(
    times: NDArray[np.float64], unit: NDArray[np.int64], units: int, window: float, jitter: float
) -> NDArray[np.float64]:
    r"""Expected coincidences if every spike is drawn anew within its own interval of time.

    Two spikes in one interval $\Delta$ coincide within $\tau$ with the probability
    $q_0 = (2 \tau \Delta - \tau^2) / \Delta^2$, and two spikes in neighbouring intervals with the probability
    $q_1 = \tau^2 / (2 \Delta^2)$. With the counts n of each interval w,

    $$E_{ij} = q_0 \sum_w n_{iw} n_{jw} + q_1 \sum_w (n_{iw} n_{j,w+1} + n_{i,w+1} n_{jw})$$

    Cost: N^2 for each interval with a spike.

    Args:
        times: Times of all spikes in order (s).
        unit: Unit of each spike.
        units: Number of units.
        window: Largest distance of coincident spikes $\tau$ (s), at most the jitter.
        jitter: Length of an interval $\Delta$ (s); the first interval begins at zero.

    Returns:
        Expected coincidences, shape `(units, units)`; the diagonal is zero.
    """
    interval = np.floor(times / jitter).astype(np.int64)
    begin = np.flatnonzero(np.diff(interval, prepend=interval[0] - 1))
    row = np.repeat(np.arange(len(begin)), np.diff(begin, append=len(times)))
    follows = np.diff(interval[begin], prepend=interval[0] - 2) == 1
    same, next_to = torch.zeros(units, units, dtype=torch.float64), torch.zeros(units, units, dtype=torch.float64)
    last = torch.zeros(1, units)
    for first in range(0, len(begin), ROWS):
        end = min(first + ROWS, len(begin))
        spikes = slice(begin[first], begin[end] if end < len(begin) else len(times))
        entries = np.bincount((row[spikes] - first) * units + unit[spikes], minlength=(end - first) * units)
        # Sums of a chunk stay whole numbers below 2^24, exact in float32.
        counts = torch.from_numpy(entries.reshape(-1, units).astype(np.float32))
        before = torch.cat([last, counts[:-1]]) * torch.from_numpy(follows[first:end, None])
        same += (counts.T @ counts).double()
        next_to += (before.T @ counts).double()
        last = counts[-1:]
    share = window / jitter
    expected = (2 * share - share**2) * same + share**2 / 2 * (next_to + next_to.T)
    return expected.fill_diagonal_(0.0).numpy()
