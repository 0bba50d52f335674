"""MATLAB files, of version 7.3 and before, read by pymatreader."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from neuro_decorr.errors import require
from neuro_decorr.recording import arrays
from neuro_decorr.recording.assembly import Raw
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.sampled import Sampled

_HOW = (
    "name it with variable='NAME' (a cell of spike times, one a unit; or a matrix of rates), a field with "
    "variable='NAME.FIELD', or two with variable='TIMES,UNITS'"
)


def read(path: Path, options: Options) -> Raw | Sampled:
    """Spikes or rates from a MATLAB file; only the variables that are named are read.

    Args:
        path: The file.
        options: See `Options`, with `variable`: a cell of spike times (s, or samples with a sampling rate), one cell a
            unit; a matrix of rates, with `step`; or two vectors, the time and the unit of every spike.

    Returns:
        What was found, to be assembled.

    Raises:
        InvalidValue: No such variable, several of which none is named, or one that is no recording.
    """
    reader = require("pymatreader", "recordings")
    return arrays.choose(_held(reader, path), lambda name: _read(reader, path, [name])[name], options, _HOW)


def _held(reader: Any, path: Path) -> dict[str, str]:
    """Each variable, and what it is, in words."""
    try:
        listed = reader.whosmat(path)
    except TypeError:  # it cannot list variables of MATLAB's own classes, such as strings, which are read as None
        found = _read(reader, path, None)
        listed = [(k, getattr(v, "shape", ()), type(v).__name__) for k, v in found.items() if v is not None]
    return {
        name: f"{kind} {'x'.join(map(str, shape))}" for name, shape, kind in listed if not name.startswith(("__", "#"))
    }


def _read(reader: Any, path: Path, names: list[str] | None) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that it cannot read: told where they are wanted
        held: dict[str, Any] = reader.read_mat(path, variable_names=names)
    return held
