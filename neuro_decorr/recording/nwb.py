"""NWB files to recordings and back with pynwb, which the extra `recordings` brings.

Spikes: the table of units, `obs_intervals` as the window and its gaps, the table of trials. Rates: a TimeSeries of two
dimensions (time, units).
"""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import tidy
from neuro_decorr.recording.assembly import Raw
from neuro_decorr.recording.frames import equal_steps
from neuro_decorr.recording.neo_objects import Content, Period
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import Trials

_NOTE = "neuro_decorr: "
_UNITS = "units: "


def read(path: Path, content: Content | None, period: Period | None) -> Raw | Rates:
    """Spikes to be assembled, or rates, from an NWB file.

    Args:
        path: The file.
        content: Spikes (the table of units) or rates (the one time series of two dimensions); spikes where there are
            any when None.
        period: The period wanted (s), for rates.

    Returns:
        What was found. The condition of a trial is its column `condition`, else its only column of its own.

    Raises:
        InvalidValue: Nothing of that kind, or several time series.
    """
    pynwb = require("pynwb", "recordings")
    with pynwb.NWBHDF5IO(str(path), "r") as file:
        held = file.read()
        trials, notes = _trials(held)
        notes = [*(line[len(_NOTE) :] for line in (held.notes or "").splitlines() if line.startswith(_NOTE)), *notes]
        if held.units is not None and "spike_times" in held.units.colnames and content != "rates":
            return _spikes(held.units, trials, notes)
        if content == "spikes":
            raise InvalidValue("holds no table of units with spike times.")
        series = [item for item in held.objects.values() if isinstance(item, pynwb.TimeSeries) and _is_matrix(item)]
        if len(series) != 1:
            names = ", ".join(item.name for item in series) or "none"
            raise InvalidValue(
                f"holds no units with spike times, and time series of two dimensions: {names}; allowed is exactly one."
            )
        return _rates(series[0], trials, notes, period)


def write(path: Path, recording: SpikeTrains | Rates) -> None:
    """Write a recording as an NWB file.

    NWB asks for the date of the session, which a recording does not know: it becomes 1970-01-01, as the description of
    the session says.

    Args:
        path: The file.
        recording: The recording.
    """
    pynwb = require("pynwb", "recordings")
    arrays = recording.times if isinstance(recording, SpikeTrains) else (recording.values,)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()
    held = pynwb.NWBFile(
        session_description="Written by neuro_decorr; the date of the session is not known.",
        identifier=digest[:32],
        session_start_time=datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC),
        notes="\n".join(_NOTE + note for note in recording.notes) or None,
    )
    if recording.trials is not None:
        held.add_trial_column("condition", "label of the condition")
        trials = recording.trials
        for start, stop, condition in zip(trials.start.tolist(), trials.stop.tolist(), trials.conditions, strict=True):
            held.add_trial(start_time=start, stop_time=stop, condition=condition)
    if isinstance(recording, SpikeTrains):
        edges = [recording.start, *(edge for gap in recording.gaps for edge in gap), recording.stop]
        observed = np.array(edges).reshape(-1, 2)
        held.add_unit_column("unit_name", "label of the unit")
        for name, times in zip(recording.units, recording.times, strict=True):
            held.add_unit(spike_times=times, obs_intervals=observed, unit_name=name)
    else:
        series = pynwb.TimeSeries(
            name="rates",
            data=recording.values,
            unit=recording.quantity or "n.a.",
            rate=1 / recording.step,
            starting_time=recording.start,
            comments=_UNITS + json.dumps(list(recording.units)),
        )
        held.add_acquisition(series)
    with pynwb.NWBHDF5IO(str(path), "w") as file:
        file.write(held)


def _is_matrix(series: Any) -> bool:
    return np.ndim(series.data) == 2 and np.asarray(series.data[:1]).dtype.kind in "fiu"


def _spikes(table: Any, trials: Trials | None, notes: list[str]) -> Raw:
    count = len(table)
    names = table["unit_name"][:] if "unit_name" in table.colnames else table.id[:]
    times = [np.array(table["spike_times"][k], dtype=np.float64) for k in range(count)]
    windows = None
    if "obs_intervals" in table.colnames:
        windows = [[(float(a), float(b)) for a, b in table["obs_intervals"][k]] for k in range(count)]
    return Raw(times, [str(name) for name in names], windows, trials, notes)


def _trials(held: Any) -> tuple[Trials | None, list[str]]:
    table = held.trials
    if table is None or len(table) == 0:
        return None, []
    own = [name for name in table.colnames if name not in ("start_time", "stop_time", "tags", "timeseries")]
    column = "condition" if "condition" in own else own[0] if len(own) == 1 else None
    notes = [] if column or not own else [f"which column of the trials is the condition? not used: {', '.join(own)}"]
    conditions = None if column is None else [str(value) for value in table[column][:]]
    return Trials(table["start_time"][:], table["stop_time"][:], conditions), notes


def _rates(series: Any, trials: Trials | None, notes: list[str], period: Period | None) -> Rates:
    values = np.asarray(series.data[:])
    if series.conversion != 1 or series.offset != 0:
        values = values * series.conversion + series.offset
    if series.rate is not None:
        start, step = float(series.starting_time), 1 / float(series.rate)
    else:
        times = np.asarray(series.timestamps[:], dtype=np.float64)
        start, step = equal_steps(times)
    comments = series.comments or ""
    units = json.loads(comments[len(_UNITS) :]) if comments.startswith(_UNITS) else None
    quantity = "" if series.unit == "n.a." else series.unit
    return tidy.cut(values, step, start, units, trials, quantity, notes, period)
