"""Conversion of SpikeInterface's sortings to spike trains and back."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.recording.assembly import Mends, Raw, assemble
from neuro_decorr.recording.checks import library
from neuro_decorr.recording.options import Period
from neuro_decorr.recording.sampled import hertz
from neuro_decorr.recording.spikes import SpikeTrains


def from_spikeinterface(
    source: Any, *, segment: int | None = None, period: Period | None = None, **mends: Unpack[Mends]
) -> SpikeTrains:
    """Make spike trains from an object of SpikeInterface.

    Args:
        source: A sorting, or a SortingAnalyzer, whose extension `unit_locations`, if it was computed, gives positions.
        segment: Index of the segment; not needed if there is one.
        period: Period to take (s); None: all.
        **mends: See `Mends`.

    Returns:
        Spike trains, labelled by the ids of the units. The time of recording of a sorting without a recording is not
        known: without `period` it is taken from the first spike to the last, with a note.

    Raises:
        InvalidValue: The object is of another class, there is no such segment, or `SpikeTrains` refuses the data.
        MissingExtra: SpikeInterface is not installed.
    """
    core = library("spikeinterface.core")
    analyzer = source if isinstance(source, core.SortingAnalyzer) else None
    sorting = source if analyzer is None else analyzer.sorting
    if not isinstance(sorting, core.BaseSorting):
        raise InvalidValue(
            f"source: got {shown(source)}; allowed are a sorting and a SortingAnalyzer of SpikeInterface."
        )
    count = sorting.get_num_segments()
    if (segment is None and count != 1) or (segment is not None and segment not in range(count)):
        raise InvalidValue(f"segment: got {segment}; the sorting has {count}: give one of 0 to {count - 1}.")
    index = segment or 0
    units = sorting.get_unit_ids().tolist()
    times = [sorting.get_unit_spike_train(unit, segment_index=index, return_times=True) for unit in units]
    window = _observed(sorting, analyzer, index)
    places = None
    if analyzer is not None and analyzer.has_extension("unit_locations"):
        places = np.asarray(analyzer.get_extension("unit_locations").get_data())
    return assemble(Raw(times, units, None if window is None else [[window]], positions=places), period, **mends)


def to_spikeinterface(recording: SpikeTrains, sampling_rate: float) -> Any:
    """Convert a recording to a NumpySorting of one segment; its first sample is the start of the recording.

    Args:
        recording: Spike trains.
        sampling_rate: Samples per second (Hz).

    Returns:
        The sorting.

    Raises:
        InvalidValue: The recording holds no spike trains, or two spikes of a unit are in one sample.
        MissingExtra: SpikeInterface is not installed.
    """
    core = library("spikeinterface.core")
    if not isinstance(recording, SpikeTrains):
        raise InvalidValue(f"recording: got {shown(recording)}; allowed are spike trains.")
    rate = hertz(sampling_rate)
    samples = [np.rint((times - recording.start) * rate).astype(np.int64) for times in recording.times]
    for name, train in zip(recording.units, samples, strict=True):
        if (np.diff(train) == 0).any():
            raise InvalidValue(
                f"sampling_rate: at {rate:g} Hz unit {name!r} spikes twice in one sample; choose a higher one."
            )
    return core.NumpySorting.from_unit_dict([dict(zip(recording.units, samples, strict=True))], rate)


def _observed(sorting: Any, analyzer: Any, index: int) -> tuple[float, float] | None:
    rate = float(sorting.get_sampling_frequency())
    if sorting.has_recording():
        start, length = float(sorting.sample_index_to_time(0, segment_index=index)), sorting.get_num_samples(index)
    elif analyzer is not None:
        start, length = 0.0, analyzer.get_num_samples(index)
    else:
        return None
    return start, start + length / rate
