"""Recordings in numpy archives.

Spikes: `time` (s) and `unit`, one entry a spike; `unit` is the position among the labels `units` where these are there,
else any label. Rates: `values` (samples, units) and `step` (s). Either with any of the header of `tidy` as arrays.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import tidy
from neuro_decorr.recording.assembly import Raw
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.spikes import SpikeTrains

_HOW = "write it with neuro_decorr.recording.save, or with numpy.savez(path, time=..., unit=..., start=..., stop=...)"


def read(path: Path, period: tuple[float, float] | None = None) -> Raw | Rates:
    """Read a recording.

    Args:
        path: The file.
        period: The period wanted (s), for rates; spikes are cut when they are assembled.

    Returns:
        Spikes to be assembled, or rates.

    Raises:
        InvalidValue: It cannot be read, or lacks the arrays of either layout.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise InvalidValue(
            f"damaged, cut, or with objects in it: no numpy archive that can be read ({error})."
        ) from error
    given: dict[str, Any] = {
        name: arrays[name].item() if arrays[name].ndim == 0 else arrays[name].tolist()
        for name in tidy.KEYS
        if name in arrays
    }
    others = sorted(set(arrays) - {*tidy.KEYS, "time", "unit", "trial", "values"})
    if others:
        given["notes"] = [*given.get("notes", []), f"arrays that are not part of a recording: {', '.join(others)}"]
    if "values" in arrays:
        return tidy.rates(arrays["values"], given, period)
    if {"time", "unit"} <= set(arrays):
        return tidy.spikes(arrays["time"], arrays["unit"], given, arrays.get("trial"))
    held = ", ".join(sorted(arrays)) or "nothing"
    raise InvalidValue(f"holds {held}; allowed are spikes (time, unit) or rates (values, step); {_HOW}.")


def write(path: Path, recording: SpikeTrains | Rates) -> None:
    """Write a recording; every number is kept exactly.

    Args:
        path: The file.
        recording: The recording.
    """
    given = {name: np.array(value) for name, value in tidy.header(recording).items()}
    if isinstance(recording, SpikeTrains):
        given["time"], given["unit"] = tidy.columns(recording)
    else:
        given["values"] = recording.values
    with path.open("wb") as file:  # of a path, numpy would change the ending
        np.savez_compressed(file, allow_pickle=False, **given)
