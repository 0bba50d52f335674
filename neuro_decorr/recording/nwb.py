"""Conversion of NWB files to recordings and back with pynwb, which the extra `recordings` installs.

Spikes: the table of units, with `obs_intervals` as the window and its gaps, and the table of trials. Rates: a
TimeSeries of two dimensions (time, units).
"""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import nwb_series, tidy
from neuro_decorr.recording.assembly import Raw
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.sampled import Sampled
from neuro_decorr.recording.selection import select
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import Trials, condition_column, of_table

QUALITY = ("quality", "group", "KSLabel", "ks_label", "kilosort2_label", "unit_quality", "label")
"""Names of columns with the quality of units by a curation; the first that exists is used."""

POSITION = "position"
"""Column of the units with their position (micrometres)."""

_NOTE = "neuro_decorr: "
_ELECTRODE = (("rel_x", "rel_y"), ("x", "y", "z"))
_NOT_CONDITIONS = ("start_time", "stop_time", "tags", "timeseries")


def read(path: Path, options: Options) -> Raw | Sampled:
    """Read spikes or rates from an NWB file.

    Args:
        path: The file.
        options: See `Options`. Spikes are those of the table of units; the quality of a unit is in the column with a
            name in `QUALITY`. Rates are a time series of two dimensions; if there are several, `series` names one.
            Series of positions and images are read only if they are named. The condition of a trial is the column
            `condition` of the trials, else their only column of labels.

    Returns:
        Spikes or rates, to be assembled. The table of invalid times becomes gaps.

    Raises:
        InvalidValue: The file holds nothing of that kind, or several time series.
    """
    pynwb = require("pynwb", "recordings")
    with pynwb.NWBHDF5IO(str(path), "r") as file:
        held = file.read()
        notes = [line[len(_NOTE) :] for line in (held.notes or "").splitlines() if line.startswith(_NOTE)]
        content = options.get("content") or ("rates" if options.get("series") else None)
        found: Raw | Sampled
        if held.units is not None and "spike_times" in held.units.colnames and content != "rates":
            found = _spikes(held.units, notes, options)
        elif content == "spikes":
            raise InvalidValue("holds no table of units with spike times.")
        else:
            found = nwb_series.read(held, notes, options)
        found.trials = _trials(held, options, found.notes)
        if held.invalid_times is not None:
            table = held.invalid_times
            found.invalid = list(zip(table["start_time"][:].tolist(), table["stop_time"][:].tolist(), strict=True))
        return found


def write(path: Path, recording: SpikeTrains | Rates) -> None:
    """Write a recording as an NWB file.

    NWB requires the date of the session, which a recording does not have. The file gets 1970-01-01, and the description
    of the session says that the date is not known.

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
        if recording.positions is not None:
            held.add_unit_column(POSITION, "place of the unit (micrometres)")
        for k, (name, times) in enumerate(zip(recording.units, recording.times, strict=True)):
            place = {} if recording.positions is None else {POSITION: recording.positions[k]}
            held.add_unit(spike_times=times, obs_intervals=observed, unit_name=name, **place)
    else:
        own = {name: value for name, value in tidy.header(recording).items() if name in nwb_series.KEPT}
        clock: dict[str, Any] = {"rate": 1 / recording.step, "starting_time": recording.start}
        if recording.gaps:
            clock = {"timestamps": recording.step_starts()}
        series = pynwb.TimeSeries(
            name="rates",
            data=recording.values,
            unit=recording.quantity or "n.a.",
            comments=nwb_series.OWN + json.dumps(own),
            **clock,
        )
        held.add_acquisition(series)
    with pynwb.NWBHDF5IO(str(path), "w") as file:
        file.write(held)


def _spikes(table: Any, notes: list[str], options: Options) -> Raw:
    count = len(table)
    names = [str(name) for name in (table["unit_name"][:] if "unit_name" in table.colnames else table.id[:])]
    if len(set(names)) < count:
        names = [str(name) for name in table.id[:]]
        notes.append("several units have the same unit_name: they are labelled by their id")
    times = [np.array(table["spike_times"][k], dtype=np.float64) for k in range(count)]
    windows = None
    if "obs_intervals" in table.colnames:
        windows = [[(float(a), float(b)) for a, b in table["obs_intervals"][k]] for k in range(count)]
    quality = next((name for name in QUALITY if name in table.colnames), None)
    if quality is None and options.get("quality"):
        raise InvalidValue(f"quality: the units have none of the columns {', '.join(QUALITY)}.")
    raw = Raw(times, names, windows, notes=notes, positions=_positions(table, notes))
    select(raw, options, None if quality is None else [str(label) for label in table[quality][:]])
    return raw


def _positions(table: Any, notes: list[str]) -> np.ndarray | None:
    """Positions of units: their column, or the electrode of units with exactly one; a note says why there are none."""
    if POSITION in table.colnames:
        return np.asarray(table[POSITION][:], dtype=np.float64)
    if "electrodes" not in table.colnames:
        return None
    index = table["electrodes"]  # one entry per unit: its electrode, or, with an index, the end of its electrodes
    indexed = hasattr(index, "target")
    region = index.target if indexed else index
    electrodes = region.table
    names = next((names for names in _ELECTRODE if set(names) <= set(electrodes.colnames)), None)
    if names is None:
        notes.append("positions of the units are not known: the electrodes have neither rel_x, rel_y nor x, y, z")
        return None
    places = np.column_stack([np.asarray(electrodes[name][:], dtype=np.float64) for name in names])
    entries = np.asarray(region.data[:])
    ends = np.asarray(index.data[:]) if indexed else np.arange(1, len(entries) + 1)
    rows = np.split(entries, ends[:-1])
    found = np.array([places[own[0]] if len(own) == 1 else np.full(len(names), np.nan) for own in rows])
    if np.isfinite(found).any():
        return found
    why = "those of the electrodes are NaN" if any(len(own) == 1 for own in rows) else "no unit has one electrode"
    notes.append(f"positions of the units are not known: {why}")
    return None


def _trials(held: Any, options: Options, notes: list[str]) -> Trials | None:
    table = held.trials
    own = {} if table is None else {name: table[name] for name in table.colnames if name not in _NOT_CONDITIONS}
    told: list[str] = []
    column = condition_column(own, options.get("condition"), told)
    if table is None or len(table) == 0:
        return None
    notes += told
    conditions = None if column is None else list(table[column][:])
    return of_table(table["start_time"][:], table["stop_time"][:], conditions, notes)
