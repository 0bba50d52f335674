"""Conversion of Elephant's binned spike trains to counts and back."""

from __future__ import annotations

from typing import Any

from neuro_decorr.errors import InvalidValue, require, shown
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.spikes import SpikeTrains


def from_elephant(source: Any) -> Rates:
    """Take the counts of a BinnedSpikeTrain; to get its spikes, use `from_neo` on the trains that it was made from.

    Args:
        source: A BinnedSpikeTrain.

    Returns:
        Rates of the quantity `spikes`, one step per bin; units are numbered, as a BinnedSpikeTrain has no names.

    Raises:
        InvalidValue: The object is no BinnedSpikeTrain.
        MissingExtra: Elephant is not installed.
    """
    conversion = require("elephant.conversion", "recordings")
    if not isinstance(source, conversion.BinnedSpikeTrain):
        raise InvalidValue(f"source: got {shown(source)}; allowed is a BinnedSpikeTrain of Elephant.")
    step, start = (float(value.rescale("s").magnitude) for value in (source.bin_size, source.t_start))
    return Rates(source.sparse_matrix.toarray().T, step, start, quantity="spikes")


def to_elephant(recording: SpikeTrains, bin: float) -> Any:
    """Make a BinnedSpikeTrain.

    Args:
        recording: Spike trains without gaps.
        bin: Width of a bin (s).

    Returns:
        A BinnedSpikeTrain with the counts of `recording.counts(bin)`.

    Raises:
        InvalidValue: The recording has gaps, or `SpikeTrains.counts` refuses the bin.
        MissingExtra: Elephant is not installed.
    """
    conversion, pq = require("elephant.conversion", "recordings"), require("quantities", "recordings")
    if recording.gaps:
        raise InvalidValue(
            "recording: has gaps, and a BinnedSpikeTrain cannot have any; choose a piece of it with window()."
        )
    counts = recording.counts(bin).T.astype("int32")
    return conversion.BinnedSpikeTrain(counts, bin_size=bin * pq.s, t_start=recording.start * pq.s)
