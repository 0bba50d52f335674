"""Conversion of Brian2 monitors to recordings, and of recordings to groups that replay them (extra `brian`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import binning
from neuro_decorr.recording.assembly import from_times
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import Trials


def from_brian(
    monitor: Any,
    variable: str | None = None,
    *,
    start: float = 0.0,
    stop: float | None = None,
    units: Iterable[object] | None = None,
    trials: Trials | None = None,
) -> SpikeTrains | Rates:
    """Make a recording, in seconds, from a monitor.

    Args:
        monitor: A SpikeMonitor, a PopulationRateMonitor or a StateMonitor, after the run.
        variable: Variable of a StateMonitor; not needed if it records only one.
        start: Time at which a SpikeMonitor began to record (s).
        stop: Time at which it ended (s); None: the time of the monitor's clock.
        units: Label of each neuron; None: its index.
        trials: Windows of the trials.

    Returns:
        Spike trains, with silent neurons, or rates in the base unit of the variable.

    Raises:
        InvalidValue: The object is no such monitor, the variable is not recorded, or a recording refuses the data.
        MissingExtra: Brian2 is not installed.
    """
    brian2 = require("brian2", "brian")
    if isinstance(monitor, brian2.SpikeMonitor):
        count = len(monitor.source)
        times, index = np.asarray(monitor.t_[:], dtype=np.float64), np.asarray(monitor.i[:])
        order = np.argsort(index, kind="stable")  # a monitor is in the order of time
        trains = np.split(times[order], np.searchsorted(index[order], np.arange(1, count)))
        end = float(np.ravel(monitor.clock.t_)[0]) if stop is None else stop
        if stop is None and end == 0:
            raise InvalidValue("monitor: has not run; run a network that contains it first.")
        return from_times(trains, start, end, range(count) if units is None else units, trials)
    if isinstance(monitor, brian2.PopulationRateMonitor):
        return _sampled(monitor, np.asarray(monitor.rate_)[:, None], "Hz", ["population"], units, trials)
    if isinstance(monitor, brian2.StateMonitor):
        known = list(monitor.record_variables)
        chosen = known[0] if variable is None and len(known) == 1 else variable
        if chosen not in known:
            raise InvalidValue(f"variable: got {variable!r}; the monitor records {', '.join(known)}.")
        dimension = monitor.variables[chosen].dim
        quantity = "" if dimension.is_dimensionless else str(brian2.get_unit(dimension))
        labels = [str(k) for k in np.atleast_1d(np.asarray(monitor.record)).tolist()]
        return _sampled(monitor, np.asarray(getattr(monitor, f"{chosen}_")).T, quantity, labels, units, trials)
    raise InvalidValue(
        f"monitor: got {type(monitor).__name__}; allowed are SpikeMonitor, PopulationRateMonitor and StateMonitor."
    )


def to_brian(recording: SpikeTrains | Rates) -> Any:
    """Make a group or an array that replays a recording in a simulation; its start is time zero of the simulation.

    Args:
        recording: Spike trains, or rates.

    Returns:
        A SpikeGeneratorGroup (spikes), or a TimedArray of the values, without a unit.

    Raises:
        InvalidValue: A unit spikes twice in one step of the simulation, or rates have gaps.
        MissingExtra: Brian2 is not installed.
    """
    brian2 = require("brian2", "brian")
    if isinstance(recording, Rates):
        if recording.gaps:
            raise InvalidValue(
                "recording: has gaps, and a TimedArray cannot have any; choose a piece of the recording with window()."
            )
        return brian2.TimedArray(recording.values, dt=recording.step * brian2.second)
    index = np.repeat(np.arange(len(recording.units)), [len(times) for times in recording.times])
    times = np.concatenate(recording.times) - recording.start
    step = float(brian2.defaultclock.dt_)
    bins = [binning.indices(unit, recording.start, step) for unit in recording.times]
    crowded = next((k for k, unit in enumerate(bins) if (np.diff(unit) == 0).any()), None)
    if crowded is not None:  # Brian2 raises its own error only when the network runs
        raise InvalidValue(
            f"spikes: unit {recording.units[crowded]!r} spikes twice within one step of {step:g} s; "
            "make brian2.defaultclock.dt shorter."
        )
    return brian2.SpikeGeneratorGroup(len(recording.units), index, times * brian2.second)


def _sampled(
    monitor: Any,
    values: Any,
    quantity: str,
    labels: list[str],
    units: Iterable[object] | None,
    trials: Trials | None,
) -> Rates:
    times = np.asarray(monitor.t_)
    if len(times) == 0:
        raise InvalidValue("monitor: holds no samples; run the network first.")
    step = float(monitor.clock.dt_)
    if np.abs(np.diff(times) - step).max(initial=0.0) > 1e-6 * step:
        raise InvalidValue("monitor: was switched off during the run; make one recording of each part.")
    return Rates(values, step, float(times[0]), labels if units is None else units, trials, quantity)
