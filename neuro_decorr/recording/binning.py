"""Counts of spikes in bins, computed a few rows at a time, without an array larger than the result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording.checks import seconds

SLACK = 1e-8
"""Distance below an edge, in bins, at which a spike counts as on the edge: the rounding of k dt (as in Elephant)."""

ROWS = 8192
"""Number of rows that are counted at a time: a chunk of a thousand units fits the cache of a core."""


def whole_bins(duration: float, bin: float) -> int:
    """Number of whole bins in a duration.

    Args:
        duration: Duration (s).
        bin: Width of a bin (s).

    Returns:
        The number, at least one; a remainder shorter than a bin is not counted.

    Raises:
        InvalidValue: The bin is not positive, or wider than the duration.
    """
    width = seconds("bin", bin)
    count = math.floor(duration / width + SLACK)
    if count < 1:
        raise InvalidValue(
            f"bin: got {width:g} s, wider than the {duration:g} s that are there; choose a narrower bin or more time."
        )
    return count


def indices(times: NDArray[np.float64], start: float, bin: float) -> NDArray[np.int64]:
    """Bin index of each time: k for times in [start + k bin, start + (k + 1) bin).

    Args:
        times: Times (s).
        start: Start of the first bin (s).
        bin: Width of a bin (s).

    Returns:
        Indices, negative before the start; a time within rounding below an edge counts as on it.
    """
    return np.floor((times - start) / bin + SLACK).astype(np.int64)


def count_dtype(times: Sequence[NDArray[np.float64]], start: float, bin: float) -> np.dtype[np.unsignedinteger]:
    """Smallest unsigned integer type that holds the largest count.

    Args:
        times: Sorted times of each unit (s).
        start: Start of the first bin (s).
        bin: Width of a bin (s).

    Returns:
        uint8, uint16 or uint32.
    """
    largest = 0
    for unit in times:
        # One byte holds the counts of 255 spikes, and of more if no 256 of them are within a bin.
        if len(unit) > max(largest, 255) and float((unit[255:] - unit[:-255]).min()) < bin * (1 + 1e-6):
            index = indices(unit, start, bin)
            edges = np.flatnonzero(np.diff(index, prepend=index[0] - 1, append=index[-1] + 1))
            largest = max(largest, int(np.diff(edges).max()))
    return np.dtype(np.uint8 if largest < 2**8 else np.uint16 if largest < 2**16 else np.uint32)


def chunks(
    times: Sequence[NDArray[np.float64]],
    start: float,
    bin: float,
    bins: int,
    rows: int,
    dtype: np.dtype[np.unsignedinteger] | None = None,
) -> Iterator[NDArray[np.unsignedinteger]]:
    """Count spikes in consecutive bins, some rows at a time.

    Args:
        times: Sorted times of each unit (s).
        start: Start of the first bin (s).
        bin: Width of a bin (s).
        bins: Number of bins in all.
        rows: Largest number of bins in a chunk.
        dtype: Type of the counts; None: that of `count_dtype`.

    Yields:
        Arrays of shape `(at most rows, units)`.
    """
    kind = count_dtype(times, start, bin) if dtype is None else dtype
    firsts = np.arange(0, bins, rows)
    ends = np.minimum(firsts + rows, bins)
    # Half a bin more on both sides, so that `indices` alone decides to which bin a spike at an edge belongs.
    lows = [np.searchsorted(unit, start + (firsts - 0.5) * bin) for unit in times]
    highs = [np.searchsorted(unit, start + (ends + 0.5) * bin) for unit in times]
    for chunk, (first, end) in enumerate(zip(firsts.tolist(), ends.tolist(), strict=True)):
        slices = [unit[low[chunk] : high[chunk]] for unit, low, high in zip(times, lows, highs, strict=True)]
        row = indices(np.concatenate(slices), start, bin) - first
        column = np.repeat(np.arange(len(times)), [len(part) for part in slices])
        inside = (row >= 0) & (row < end - first)
        counts = np.zeros((end - first) * len(times), dtype=kind)
        np.add.at(counts, row[inside] * len(times) + column[inside], kind.type(1))
        yield counts.reshape(end - first, len(times))
