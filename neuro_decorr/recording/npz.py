"""Recordings in numpy archives, and arrays that are no more than that.

Spikes: `time` (s) and `unit`, one entry a spike; `unit` is the position among the labels `units` where these are there,
else any label. Rates: `values` (samples, units) and `step` (s). Either with any of the header of `tidy` as arrays.
Objects, which numpy stores as pickles, are never read: a pickle can run any program.
"""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import arrays, checks, clock, tidy
from neuro_decorr.recording.assembly import Raw
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.sampled import Sampled, matrix, step_of
from neuro_decorr.recording.spikes import SpikeTrains

_HOW = "write it with neuro_decorr.recording.save, or name what is in it: variable='rates', or variable='times,units'"
_FAULTS = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, KeyError, SyntaxError)


def read(path: Path, options: Options) -> Raw | Sampled:
    """Read a recording from an archive; what is no part of it is not read.

    Args:
        path: The file.
        options: See `Options`.

    Returns:
        What was found, to be assembled.

    Raises:
        InvalidValue: It cannot be read, or lacks the arrays of either layout.
    """
    with readable("numpy archive"), np.load(path, allow_pickle=False) as archive:
        return _of_archive(archive, options)


def _of_archive(archive: Any, options: Options) -> Raw | Sampled:
    held = set(archive.files)
    spikes, rates = {"time", "unit"} <= held, "values" in held
    if options.get("variable") or not (spikes or rates):
        shapes = {name: _shape(archive, name) for name in archive.files}
        return arrays.choose(shapes, lambda name: archive[name], options, _HOW)
    given = tidy.checked({name: archive[name] for name in tidy.KEYS if name in held})
    others = sorted(held - {*tidy.KEYS, "time", "unit", "trial", "values"})
    if others:
        told = f"arrays that are not part of a recording: {', '.join(others[:8])}"
        given["notes"] = [*given.get("notes", []), told]
    if rates and not (spikes and options.get("content") == "spikes"):
        values = matrix(np.asarray(archive["values"]), options.get("layout"), len(given.get("units", ())) or None)
        return tidy.rates(values, given | {"step": step_of(options, given.get("step"), "the archive")})
    time = clock.spike_seconds(arrays.vector("time", archive["time"]), options, known="stop" in given)
    return tidy.spikes(
        time, arrays.flat(archive["unit"]), given, arrays.flat(archive["trial"]) if "trial" in held else None
    )


def read_array(path: Path, options: Options) -> Raw | Sampled:
    """Read rates from a bare array in a `.npy` file.

    Args:
        path: The file.
        options: See `Options`; with `step` or `sampling_rate`.

    Returns:
        The rates, to be assembled.

    Raises:
        InvalidValue: It cannot be read, or is no matrix of numbers.
    """
    with readable("numpy array"):
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    return arrays.of_value(path.name, array, options)


@contextlib.contextmanager
def readable(what: str) -> Iterator[None]:
    """Tell in one line what numpy meets in a file that it cannot read.

    Args:
        what: What is read, for the error.

    Raises:
        InvalidValue: It is damaged, or holds objects.
    """
    try:
        yield
    except InvalidValue:
        raise
    except _FAULTS as error:
        raise InvalidValue(f"{what}: damaged, cut, or with objects in it ({checks.first_line(error)}).") from error


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


def _shape(archive: Any, name: str) -> str:
    """What an array is, without reading it."""
    layout: Any = np.lib.format
    with archive.zip.open(f"{name}.npy" if f"{name}.npy" in archive.zip.namelist() else name) as stream:
        version = layout.read_magic(stream)
        read_header = layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
        shape, _, dtype = read_header(stream)
    return f"{dtype} {shape}"
