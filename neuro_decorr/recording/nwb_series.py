"""Rates in NWB files: time series of two dimensions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import clock, tidy
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.sampled import Sampled, matrix, step_of
from neuro_decorr.recording.selection import NOISE, select

OWN = "neuro_decorr: "
"""Beginning of the comments of a time series that this library wrote; a JSON object follows."""

KEPT = ("units", "gaps", "positions", "start", "step")
"""Entries of the header of `tidy` in this object."""


def read(held: Any, notes: list[str], options: Options) -> Sampled:
    """Read rates from an open NWB file.

    Args:
        held: The file.
        notes: Notes about the file.
        options: See `Options`; `series` names the time series, as `F` or as `Fluorescence/F`.

    Returns:
        The rates, to be assembled.

    Raises:
        InvalidValue: There is no such series, or there are several and none is named.
    """
    pynwb = require("pynwb", "recordings")
    matrices = [item for item in held.objects.values() if isinstance(item, pynwb.TimeSeries) and _is_matrix(item)]
    strange = (pynwb.behavior.SpatialSeries, pynwb.image.ImageSeries)
    activity = [item for item in matrices if not isinstance(item, strange)]
    wanted = options.get("series")
    chosen = activity if wanted is None else [item for item in matrices if wanted in (item.name, _name(item))]
    if len(chosen) != 1:
        names = ", ".join(f"{_name(item)} {tuple(item.data.shape)}" for item in activity) or "none of activity"
        others = ", ".join(_name(item) for item in matrices if isinstance(item, strange))
        others = f" (positions or images: {others})" if others else ""
        count = len(chosen) or "none"
        asked = f"series: {count} called {wanted!r}; there are" if wanted else "several series: name one of them,"
        asked = asked if activity or wanted else "holds no units with spike times, and no series of activity"
        raise InvalidValue(f"{asked}{f' {names}' if activity or wanted else ''}{others}.")
    return _sampled(chosen[0], notes, options)


def _sampled(series: Any, notes: list[str], options: Options) -> Sampled:
    own = tidy.checked(json.loads(series.comments[len(OWN) :])) if (series.comments or "").startswith(OWN) else {}
    region = getattr(series, "rois", None)
    rois = None if region is None else np.asarray(region.data[:])
    table = None if region is None else region.table
    values = np.asarray(series.data[:])
    if series.conversion != 1 or series.offset != 0:
        values = values * series.conversion + series.offset
    values = matrix(values, options.get("layout"), len(own["units"]) if own else None if rois is None else len(rois))
    if getattr(series, "channel_conversion", None) is not None:
        values = values * np.asarray(series.channel_conversion[:])
    if own:
        start, step = own["start"], step_of(options, own["step"])
    elif series.rate is not None:
        start, step = float(series.starting_time), step_of(options, 1 / float(series.rate))
    else:
        times = np.asarray(series.timestamps[:], dtype=np.float64)
        start, step = clock.equal_steps(times, notes, step_of(options, 0.0) or None)
    quality, units = None, own.get("units")
    if table is not None and rois is not None and len(rois) == values.shape[1]:
        units = [str(label) for label in np.asarray(table.id[:])[rois].tolist()]
        if "iscell" in table.colnames:
            cell = np.asarray(table["iscell"][:]).reshape(len(table), -1)[rois, 0]
            quality = np.where(cell > 0, "good", NOISE).tolist()
    quantity = "" if series.unit == "n.a." else series.unit
    found = Sampled(values, step, start, units, None, quantity, notes, own.get("gaps", ()), own.get("positions"))
    select(found, options, quality)
    return found


def _is_matrix(series: Any) -> bool:
    return np.ndim(series.data) == 2 and np.asarray(series.data[:1]).dtype.kind in "fiu"


def _name(series: Any) -> str:
    return f"{series.parent.name}/{series.name}" if series.parent is not None else str(series.name)
