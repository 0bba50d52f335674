"""Recordings in NumPy archives, and bare NumPy arrays.

Spikes: `time` (s) and `unit`, one entry per spike; `unit` is the index in the labels `units` if these are given, else
any label. Rates: `values` (samples, units) and `step` (s). Both may have entries of the header of `tidy` as arrays.
Objects, which NumPy stores as pickles, are never read, as a pickle can run any program.
"""

from __future__ import annotations

import contextlib
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import arrays, checks, clock, tidy
from neuro_decorr.recording.assembly import Raw
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.sampled import Sampled, matrix, step_of
from neuro_decorr.recording.spikes import SpikeTrains

_HOW = "write it with neuro_decorr.recording.save, or name what is in it: variable='rates', or variable='times,units'"
_FAULTS = (
    ValueError, EOFError, OSError, KeyError, SyntaxError, TypeError, OverflowError, RuntimeError, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip
"""Errors of NumPy and zipfile for unreadable files; RuntimeError includes encryption, NotImplementedError and
RecursionError."""


def read(path: Path, options: Options) -> Raw | Sampled:
    """Read a recording from an archive; other arrays are not read.

    Args:
        path: The file.
        options: See `Options`.

    Returns:
        Spikes or rates, to be assembled.

    Raises:
        InvalidValue: The file cannot be read, or lacks the arrays of either layout.
    """
    with readable("numpy archive"), np.load(path, allow_pickle=False) as archive:
        return _of_archive(archive, options)


def _of_archive(archive: Any, options: Options) -> Raw | Sampled:
    for name in archive.files:
        _check_size(archive, name)
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
        InvalidValue: The file cannot be read, or holds no matrix of numbers.
    """
    with readable("numpy array"):
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    return arrays.of_value(path.name, array, options)


@contextlib.contextmanager
def readable(what: str) -> Iterator[None]:
    """Convert errors of NumPy about an unreadable file to one line.

    Args:
        what: Name of the file for the error.

    Raises:
        InvalidValue: The file is damaged, or holds objects.
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
    with path.open("wb") as file:  # given a path, NumPy would change the ending
        np.savez_compressed(file, allow_pickle=False, **given)


def array(path: Path) -> NDArray[Any]:
    """Read the array of a `.npy` file.

    Args:
        path: The file.

    Returns:
        The array.

    Raises:
        InvalidValue: The file is damaged, holds objects, or is shorter than its header says.
    """
    with readable(path.name):
        with path.open("rb") as stream:
            _check_bytes(path.name, *_header(stream), path.stat().st_size)
        held: NDArray[Any] = np.load(path, allow_pickle=False)
    return held


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array."""
    layout: Any = np.lib.format
    version = layout.read_magic(stream)
    read_header = layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    return shape, dtype


def _member(archive: Any, name: str) -> str:
    return f"{name}.npy" if f"{name}.npy" in archive.zip.namelist() else name


def _shape(archive: Any, name: str) -> str:
    """Shape and type of an array, without reading it."""
    with archive.zip.open(_member(archive, name)) as stream:
        shape, dtype = _header(stream)
    return f"{dtype} {shape}"


def _check_size(archive: Any, name: str) -> None:
    """Refuse an array whose header claims more bytes than its file has: NumPy would allocate the claimed memory."""
    member = _member(archive, name)
    with archive.zip.open(member) as stream:
        if stream.peek(6).startswith(b"\x93NUMPY"):
            _check_bytes(name, *_header(stream), archive.zip.getinfo(member).file_size)


def _check_bytes(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], held: int) -> None:
    if math.prod(shape) * dtype.itemsize > held:
        raise InvalidValue(f"{name}: claims the shape {shape} of {dtype}, but holds {held} bytes: damaged or cut.")
