"""Brian2 monitors to recordings, and recordings to what replays them in Brian2; the extra `brian` brings it."""

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
    """A recording from a monitor, in seconds.

    Args:
        monitor: A SpikeMonitor, a PopulationRateMonitor or a StateMonitor, after the run.
        variable: Which variable of a StateMonitor; may be left out when it records only one.
        start: When a SpikeMonitor began to record (s).
        stop: When it ended (s); the clock of the monitor when None.
        units: Label of each neuron; its index when None.
        trials: Windows of the trials.

    Returns:
        Spike trains (neurons that never fired are there), or rates in the base unit of the variable.

    Raises:
        InvalidValue: Another object, a variable that is not recorded, or whatever a recording refuses.
    """
    brian2 = require("brian2", "brian")
    if isinstance(monitor, brian2.SpikeMonitor):
        count = len(monitor.source)
        times, index = np.asarray(monitor.t_[:], dtype=np.float64), np.asarray(monitor.i[:])
        order = np.argsort(index, kind="stable")  # a monitor is in the order of time
        trains = np.split(times[order], np.searchsorted(index[order], np.arange(1, count)))
        end = float(np.ravel(monitor.clock.t_)[0]) if stop is None else stop
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
    """What replays a recording in a simulation, whose clock begins at zero when the recording begins.

    Args:
        recording: Spike trains, or rates.

    Returns:
        A SpikeGeneratorGroup (spikes), or a TimedArray of the values, without a unit.

    Raises:
        InvalidValue: Spikes that the step of the simulation cannot tell apart, or rates with gaps.
    """
    brian2 = require("brian2", "brian")
    if isinstance(recording, Rates):
        if recording.gaps:
            raise InvalidValue("recording: has gaps, where a TimedArray has none; choose a piece of it with window().")
        return brian2.TimedArray(recording.values, dt=recording.step * brian2.second)
    index = np.repeat(np.arange(len(recording.units)), [len(times) for times in recording.times])
    times = np.concatenate(recording.times) - recording.start
    step = float(brian2.defaultclock.dt_)
    bins = [binning.indices(unit, recording.start, step) for unit in recording.times]
    crowded = next((k for k, unit in enumerate(bins) if (np.diff(unit) == 0).any()), None)
    if crowded is not None:  # Brian2 itself would tell when the network runs
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
        raise InvalidValue("monitor: it recorded nothing; run the network first.")
    step = float(monitor.clock.dt_)
    if np.abs(np.diff(times) - step).max(initial=0.0) > 1e-6 * step:
        raise InvalidValue("monitor: it was switched off in between; make one recording of each part.")
    return Rates(values, step, float(times[0]), labels if units is None else units, trials, quantity)
