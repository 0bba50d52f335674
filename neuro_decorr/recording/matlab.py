"""MATLAB files of version 7.3 and earlier, read by pymatreader."""

from __future__ import annotations

import faulthandler
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import arrays
from neuro_decorr.recording.assembly import Raw
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.sampled import Sampled

_HOW = (
    "name it with variable='NAME' (a cell of spike times, one per unit; or a matrix of rates), a field with "
    "variable='NAME.FIELD', or two with variable='TIMES,UNITS'"
)


def read(path: Path, options: Options) -> Raw | Sampled:
    """Read spikes or rates from a MATLAB file; only the named variables are read.

    Args:
        path: The file.
        options: See `Options`, with `variable`: a cell of spike times (s, or samples with a sampling rate), one cell
            per unit; a matrix of rates, with `step`; or two vectors, the time and the unit of every spike.

    Returns:
        Spikes or rates, to be assembled.

    Raises:
        InvalidValue: There is no such variable, there are several and none is named, or the variable is no recording.
    """
    reader = require("pymatreader", "recordings")

    def chosen() -> Raw | Sampled:
        return arrays.choose(_held(reader, path), lambda name: _read(reader, path, [name])[name], options, _HOW)

    with path.open("rb") as stream:
        own = not stream.read(10).startswith(b"MATLAB 7.3")  # those are HDF5
    if own and (signal := _crash(chosen)):
        raise InvalidValue(f"cannot be read: signal {signal} ends the library that reads MATLAB files: damaged or cut?")
    return chosen()


def _crash(action: Callable[[], object]) -> int:
    """Try an action in a copy of the process; returns the signal that ended the copy, or 0.

    On one in a thousand damaged files SciPy's C code ends the process, which no caller can catch. On systems that
    cannot copy a process the action is not tried.
    """
    if not hasattr(os, "fork"):
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning that other threads are not copied: none is needed
        child = os.fork()
    if child == 0:
        try:
            faulthandler.disable()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            action()
        finally:  # the parent process runs the action again, and raises the same error
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _held(reader: Any, path: Path) -> dict[str, str]:
    """Description of each variable in words, by its name."""
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
        warnings.simplefilter("ignore")  # about classes that it cannot read; an error names them if they are wanted
        held: dict[str, Any] = reader.read_mat(path, variable_names=names)
    return held
