"""Files of recordings: the format is recognised by content, and every error names the file."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Unpack, get_args

import numpy as np

from neuro_decorr.errors import InvalidValue, MissingExtra, NeuroDecorrError
from neuro_decorr.recording import checks, formats, frames, neo_files, npz, nwb, sampled, trial_tables
from neuro_decorr.recording.assembly import Mends, Raw, assemble
from neuro_decorr.recording.options import Format, Options
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.sampled import Sampled
from neuro_decorr.recording.selection import select
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import TOLERANCE


def load(path: str | PathLike[str], **options: Unpack[Options]) -> SpikeTrains | Rates:
    """Read a recording.

    Args:
        path: The file or folder.
        **options: Parts to read and mends; see `Options` and `Mends`. Without mends every fault is refused. If the
            ending of the file names another format than its content, the file is refused unless `format` is given.

    Returns:
        Spike trains or rates; their notes name the mends, and facts that the file does not contain.

    Raises:
        InvalidValue: The file does not exist, is empty, damaged or of an unknown format, the format cannot use an
            option, or a recording refuses the data; the message is one line.
        MissingExtra: A library that reads the format is not installed.
    """
    strange = sorted(set(options) - set(Options.__annotations__))
    if strange:
        raise InvalidValue(f"{strange[0]}: there is no such option; allowed are {', '.join(Options.__annotations__)}.")
    if (asked := options.get("period")) is not None:
        period = checks.numbers("period", asked).tolist()
        if len(period) != 2:
            raise InvalidValue(f"period: got {asked!r}; allowed are two numbers, its start and its end (s).")
        options["period"] = (period[0], period[1])
    file = Path(path)
    try:
        found = formats.find(file, options.get("format"))
    except NeuroDecorrError:
        raise
    except Exception as error:  # an impossible name, no permission, or an error of h5py or Neo
        raise InvalidValue(f"{file}: cannot be read ({checks.first_line(error)}).") from error
    try:
        table = options.pop("trial_table", None)
        condition = None if table is None else options.pop("condition", None)  # a column of the table, not of the file
        formats.check_options(found, options)
        read = formats.reader(found)(file, options)
        if table is not None:
            read.trials = trial_tables.read(table, condition, read.notes)
            _check_seconds(read)
        return _assembled(read, found, options)
    except MissingExtra:
        raise
    except NeuroDecorrError as error:
        raise InvalidValue(f"{file}: {error}") from error
    except MemoryError as error:
        raise InvalidValue(f"{file}: is too large for the memory ({error}).") from error
    except Exception as error:  # any error of a library that reads a damaged file: these have no common base
        told = f"{type(error).__name__}: {checks.first_line(error)}"
        raise InvalidValue(f"{file}: cannot be read as {found} ({told}): damaged or cut?") from error


def _check_seconds(read: Raw | Sampled) -> None:
    """Refuse trials of a table of which none is inside the recorded time, as where milliseconds were not converted."""
    if read.trials is None or not isinstance(read, Raw):
        return
    arrays = [checks.numbers("times", unit) for unit in read.times]
    ends = [float(np.max(unit, initial=-math.inf, where=np.isfinite(unit))) for unit in arrays]
    ends += [float(window[-1][1]) for window in read.windows or () if len(window)]
    last = max(ends, default=math.inf)
    if math.isfinite(last) and (read.trials.stop > last + TOLERANCE).all():
        raise InvalidValue(
            f"trial_table: all trials end after the recording does, at {last:.6g} s (the first lasts from "
            f"{read.trials.start[0]:.6g} to {read.trials.stop[0]:.6g}); times must be seconds on the clock of the "
            "spikes: convert milliseconds or samples."
        )


def _assembled(read: Raw | Sampled, found: str, options: Options) -> SpikeTrains | Rates:
    content, mends = options.get("content"), {name: options.get(name) for name in Mends.__annotations__}
    asked: Any = {name: value for name, value in mends.items() if value not in (None, False, "error")}
    if content is not None and isinstance(read, Raw) != (content == "spikes"):
        raise InvalidValue(f"holds no {content}.")
    if found not in formats.SELECTING and (options.get("units") is not None or options.get("quality")):
        select(read, options)
    if isinstance(read, Raw):
        return assemble(read, options.get("period"), **asked)
    if asked:
        raise InvalidValue(f"{next(iter(asked))}: is an option for spikes, and these are rates; leave it out.")
    return sampled.assemble(read, options.get("period"))


def save(recording: SpikeTrains | Rates, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a recording; the ending of the name is the format: .npz, .csv, .parquet, .nwb or .nix.

    Args:
        recording: The recording.
        path: The file.
        overwrite: True replaces a file of that name.

    Returns:
        The path of the file, which appears only when it is complete.

    Raises:
        InvalidValue: The ending is another, a file of that name exists, or the file cannot be written.
        MissingExtra: A library that writes the format is not installed.
    """
    file = Path(path)
    kind = file.suffix.lower().removeprefix(".")
    if kind not in get_args(Format):
        raise InvalidValue(f"{file}: got the ending {file.suffix!r}; allowed: .{', .'.join(get_args(Format))}.")
    if file.exists() and not overwrite:
        raise InvalidValue(f"{file}: is there already; choose another name, or pass overwrite=True.")
    with _whole(file) as temporary:
        _writer(kind)(temporary, recording)
    return file


def _writer(kind: str) -> Callable[[Path, Any], None]:
    return {
        "npz": npz.write,
        "csv": frames.write_csv,
        "parquet": frames.write_parquet,
        "nwb": nwb.write,
        "nix": neo_files.write_nix,
    }[kind]


@contextlib.contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """Give a temporary name to write to; the file gets its own name when it is complete."""
    temporary = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        yield temporary
        temporary.replace(file)
    except OSError as error:
        raise InvalidValue(f"{file}: cannot be written ({error.strerror or error}).") from error
    finally:
        temporary.unlink(missing_ok=True)
