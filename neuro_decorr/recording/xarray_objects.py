"""Conversion of xarray's DataArrays to rates and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.recording import sampled
from neuro_decorr.recording.checks import library, seconds
from neuro_decorr.recording.clock import Stamp, steps_with_gaps
from neuro_decorr.recording.options import Period
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.sampled import Sampled
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import Trials

_SECONDS = {
    "": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "ms": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3, "us": 1e-6, "microseconds": 1e-6,
}  # fmt: skip


def from_xarray(
    source: Any,
    *,
    time: str = "time",
    unit: str = "unit",
    trial: str = "trial",
    condition: str | None = None,
    step: float | None = None,
    stamp: Stamp = "start",
    period: Period | None = None,
) -> Rates:
    """Make rates, or counts in bins, from a DataArray.

    Args:
        source: A DataArray with the dimensions `time` and `unit`, in any order, and perhaps `trial`; trials are laid
            end to end.
        time: Name of the dimension of time. Its coordinate is in seconds, in the unit of its attribute `units` (s, ms,
            us), or timedelta64; without a coordinate give `step`.
        unit: Name of the dimension of units; its coordinate gives their labels.
        trial: Name of the dimension of trials.
        condition: Coordinate along `trial` with the condition; None: the coordinate `trial`.
        step: Length of a step (s), if there is no coordinate of time.
        stamp: Meaning of the time of a sample: the start of its step, or the centre.
        period: Period to take (s); None: all.

    Returns:
        Rates; `quantity` is the attribute `units` of the array.

    Raises:
        InvalidValue: Dimensions or the unit of time are others, samples have unequal steps, or `Rates` refuses the
            data.
        MissingExtra: xarray is not installed.
    """
    xarray = library("xarray")
    if not isinstance(source, xarray.DataArray):
        hint = "; choose a variable of the Dataset" if isinstance(source, xarray.Dataset) else ""
        raise InvalidValue(f"source: got {shown(source)}; allowed is a DataArray{hint}.")
    names = [name for name in (trial, time, unit) if name in source.dims]
    if set(names) != set(source.dims) or time not in names or unit not in names:
        dimensions = ", ".join(map(str, source.dims))
        raise InvalidValue(
            f"source: has the dimensions {dimensions}; allowed are '{time}', '{unit}' and perhaps '{trial}': give the "
            "names of your dimensions as time=, unit= and trial=."
        )
    ordered = source.transpose(*names)
    values = ordered.to_numpy()
    gaps: list[tuple[float, float]] = []
    when = _times(ordered, time)
    if when is None:
        if step is None:
            raise InvalidValue(f"step: '{time}' has no coordinate; give the length of a step (s).")
        width, start = seconds("step", step), 0.0
    else:
        width, start, gaps = steps_with_gaps(time, when, stamp, step)
    trials = None
    if trial in names:
        if gaps:
            raise InvalidValue(f"{time}: has gaps within a trial; choose a piece of the array with sel().")
        labels = condition or (trial if trial in ordered.coords else None)
        if labels is not None and (labels not in ordered.coords or ordered.coords[labels].dims != (trial,)):
            known = [name for name in ordered.coords if ordered.coords[name].dims == (trial,)]
            raise InvalidValue(
                f"condition: got {condition!r}; along '{trial}' there are {', '.join(map(str, known)) or 'none'}."
            )
        conditions = None if labels is None else ordered.coords[labels].to_numpy().tolist()
        trials = Trials.every(width * ordered.sizes[time], ordered.sizes[trial], start, conditions)
        values = values.reshape(-1, values.shape[-1])
    units = ordered.coords[unit].to_numpy().tolist() if unit in ordered.coords else None
    quantity = str(source.attrs.get("units", ""))
    return sampled.assemble(Sampled(values, width, start, units, trials, quantity, gaps=gaps), period)


def to_xarray(recording: SpikeTrains | Rates, bin: float | None = None) -> Any:
    """Convert a recording to a DataArray (time, unit).

    Args:
        recording: Rates, or spike trains, which need a bin.
        bin: Width of a bin (s), for spikes.

    Returns:
        Values or counts. The coordinate `time` is the start of each step (s), `unit` has the labels. With trials there
        are the coordinates `condition` and `trial` along time; between trials they are empty and -1.

    Raises:
        InvalidValue: Spikes have no bin, or rates get one.
        MissingExtra: xarray is not installed.
    """
    xarray = library("xarray")
    if isinstance(recording, Rates):
        if bin is not None:
            raise InvalidValue(
                f"bin: got {bin:g} s; rates have steps of their own, {recording.step:g} s: leave it out."
            )
        values, when, quantity = recording.values, recording.step_starts(), recording.quantity
    else:
        if bin is None:
            raise InvalidValue("bin: spikes need the width of a bin (s).")
        values, quantity = recording.counts(bin), "spikes"
        when = np.concatenate([low + float(bin) * np.arange(count) for low, count in recording.grid(bin)])
    coordinates: dict[str, Any] = {"time": ("time", when, {"units": "s"}), "unit": list(recording.units)}
    if recording.trials is not None:
        which = _which(recording.trials, when)
        conditions = np.array([*recording.trials.conditions, ""], dtype=object)
        coordinates |= {"trial": ("time", which), "condition": ("time", conditions[which].astype(str))}
    return xarray.DataArray(values, coords=coordinates, dims=("time", "unit"), attrs={"units": quantity})


def _times(source: Any, time: str) -> NDArray[Any] | None:
    if time not in source.coords:
        return None
    coordinate = source.coords[time]
    values: NDArray[Any] = coordinate.to_numpy()
    if values.dtype.kind == "m":
        return values / np.timedelta64(1, "s")
    name = str(coordinate.attrs.get("units", ""))
    if values.dtype.kind not in "fiu" or name not in _SECONDS:
        raise InvalidValue(
            f"{time}: got values of type {values.dtype} in {name or 'no unit'}; allowed are numbers in s, ms or us, "
            "and timedelta64."
        )
    return values.astype(np.float64) * _SECONDS[name]


def _which(trials: Trials, when: NDArray[np.float64]) -> NDArray[np.int64]:
    index = np.searchsorted(trials.start, when + 1e-9, side="right") - 1
    return np.where((index >= 0) & (when < trials.stop[index] - 1e-9), index, -1)
