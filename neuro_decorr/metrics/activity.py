"""Activity to be measured: arrays, rates or spike trains, as one array or as a stream of chunks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.samples import Samples, real
from neuro_decorr.recording import Rates, SpikeTrains

Activity: TypeAlias = Samples | SpikeTrains | Rates
"""Activity `(samples, units)`, or a recording; spike trains are counted in bins of `bin` seconds."""

_CHUNK = 2**23
"""Number of entries of a chunk: 32 MiB in float32, for which products run at full speed."""


@dataclass(frozen=True, eq=False)
class Stream:
    """Consecutive samples of a population, read some rows at a time, any number of times."""

    samples: int
    units: int
    integers: bool
    whole: Samples | None  # the array, if there is one
    device: torch.device
    _chunks: Callable[[int], Iterator[Samples]]
    _bound: float = math.inf

    def __post_init__(self) -> None:
        if self.samples < 2 or self.units < 1:
            raise InvalidValue(
                f"samples: got {self.samples} samples of {self.units} units; at least 2 samples of 1 unit are needed."
            )

    @property
    def rows(self) -> int:
        """Number of rows of a chunk that keeps its products in fast memory."""
        return max(1, _CHUNK // self.units)

    def largest(self) -> float:
        """Bound on the magnitude of integers; for counts the largest number of their dtype."""
        if isinstance(self.whole, Tensor):
            return max(abs(float(self.whole.max())), abs(float(self.whole.min())))
        if self.whole is not None:
            return max(abs(float(np.max(self.whole))), abs(float(np.min(self.whole))))
        return self._bound

    def chunks(self, rows: int) -> Iterator[Samples]:
        """All samples in order, `rows` at a time; the last chunk, and those before a gap, may be shorter."""
        return self._chunks(rows)

    def between(self, start: int, stop: int) -> Stream:
        """Stream of the samples from `start` to before `stop`."""

        def chunks(rows: int) -> Iterator[Samples]:
            row = 0
            for chunk in self._chunks(rows):
                if row >= stop:
                    return
                part = chunk[max(start - row, 0) : stop - row]
                row += len(chunk)
                if len(part):
                    yield part

        whole = None if self.whole is None else self.whole[start:stop]
        return replace(self, samples=stop - start, whole=whole, _chunks=chunks)


def as_samples(activity: Activity, bin: float | None = None) -> Samples:
    """Convert activity to one array.

    Args:
        activity: An array, which is returned unchanged, or a recording.
        bin: Width of the bins (s): needed for spike trains, allowed for rates, not for arrays.

    Returns:
        Array or tensor, shape `(samples, units)`; counts of spike trains are small unsigned integers.

    Raises:
        InvalidValue: Spike trains have no bin, an array has one, or the bin does not fit the recording.
    """
    _check_bin(activity, bin)
    if isinstance(activity, SpikeTrains):
        assert bin is not None
        return activity.counts(bin)
    if isinstance(activity, Rates):
        values: NDArray[Any] = activity.values if bin is None else activity.binned(bin)
        return values
    return activity


def as_stream(activity: Activity, bin: float | None = None) -> Stream:
    """Convert activity to a stream; the counts of spike trains are never in memory all at once.

    Args:
        activity: An array or a recording.
        bin: Width of the bins (s), see `as_samples`.

    Returns:
        The stream.

    Raises:
        InvalidValue: See `as_samples`; or the array is not two-dimensional or not of real numbers.
    """
    _check_bin(activity, bin)
    if isinstance(activity, SpikeTrains):
        assert bin is not None
        return _spike_stream(activity, bin)
    array = as_samples(activity, bin)
    if not isinstance(array, Tensor):
        array = np.asarray(array)
    elif array.dtype in (torch.uint16, torch.uint32, torch.uint64):  # torch stores these types, but has no min and max
        array = array.to(torch.float64)
    if type(activity).__name__ in ("SpikeMonitor", "StateMonitor", "PopulationRateMonitor"):  # Brian2 is an extra
        raise InvalidValue("samples: got a monitor of Brian2; give nd.recording.from_brian(monitor), after the run.")
    if array.ndim != 2:
        raise InvalidValue(
            f"samples: got shape {tuple(array.shape)}; allowed is (samples, units): reshape or transpose the array."
        )
    real(array[:0])  # refuses other numbers than real ones
    count, units = array.shape
    if isinstance(array, Tensor):
        integers, device = not array.is_floating_point(), array.device
    else:
        integers, device = array.dtype.kind != "f", torch.device("cpu")

    def chunks(rows: int) -> Iterator[Samples]:
        for start in range(0, count, rows):
            yield array[start : start + rows]

    return Stream(count, units, integers, array, device, chunks)


def _spike_stream(trains: SpikeTrains, bin: float) -> Stream:
    bins = trains.bins(bin)  # refuses bins that do not fit

    def chunks(rows: int) -> Iterator[Samples]:
        return trains.counts_chunks(bin, rows)

    bound = float(np.iinfo(trains.count_dtype(bin)).max)
    return Stream(bins, len(trains.units), True, None, torch.device("cpu"), chunks, bound)


def _check_bin(activity: Activity, bin: float | None) -> None:
    if isinstance(activity, SpikeTrains) and bin is None:
        raise InvalidValue(
            "bin: spike trains need the width of the bins (s), such as bin=0.05; correlations grow with it."
        )
    if bin is not None and not isinstance(activity, SpikeTrains | Rates):
        raise InvalidValue("bin: an array is binned already; leave bin out, or give SpikeTrains.")
