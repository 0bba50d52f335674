"""Files of NEST: lines of sender and time, with a header (NEST 3) or without (NEST 2)."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import clock, text
from neuro_decorr.recording.assembly import Raw, split
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.sampled import Sampled, step_of

if TYPE_CHECKING:
    import pandas as pd

_THREAD = re.compile(r"(.+-\d+-)\d+(\.\w+)")
_TIMES = ("time_ms", "time_step", "time_offset")


def is_text(head: str) -> bool:
    """True if a text begins like a file of NEST 3."""
    lines = [line for line in head.splitlines() if not line.startswith("#")]
    return head.startswith("# NEST version") or (bool(lines) and lines[0].split()[:1] == ["sender"])


def read(path: Path, options: Options) -> Raw | Sampled:
    """Read spikes, or the values of a multimeter.

    NEST writes one file per thread, `LABEL-DEVICE-THREAD.dat`; all of them are read, from the name of any of them.

    Args:
        path: One of the files.
        options: See `Options`; times in steps need the resolution of the simulation, `step` (s). `series` is a column
            of a multimeter.

    Returns:
        Spikes or values, to be assembled.

    Raises:
        InvalidValue: A line is not in the format of NEST, or there are several columns of values and none is named.
    """
    pandas = require("pandas", "recordings")
    named = _THREAD.fullmatch(path.name)
    files = [path]
    if named:
        files = sorted(
            file
            for file in path.parent.iterdir()
            if (m := _THREAD.fullmatch(file.name)) and m.groups() == named.groups()
        )
    tables = [_table(file) for file in files]
    tables = [table for table in tables if len(table)] or tables[:1]  # a thread without spikes has an empty file
    if any(list(table.columns) != list(tables[0].columns) for table in tables):
        raise InvalidValue(f"{', '.join(file.name for file in files)}: have different columns.")
    table = pandas.concat(tables, ignore_index=True)
    notes = (
        [f"{len(files)} files, one a thread: {', '.join(file.name for file in files[:8])}"] if len(files) > 1 else []
    )
    numbers = {name: text.numbers(table, name) for name in table.columns}
    sender = text.whole("sender", numbers["sender"], "NEST writes sender, then time in ms.")
    if "time_ms" in numbers:
        times = numbers["time_ms"] / 1000
    else:
        step = step_of(options, None, "a file with times in steps")
        times = numbers["time_step"] * step - numbers.get("time_offset", np.zeros(len(sender))) / 1000
    values = {name: column for name, column in numbers.items() if name not in ("sender", *_TIMES)}
    if values:
        return _multimeter(sender, times, values, options, notes)
    trains, labels, told = split(times, sender, None)
    return Raw(trains, labels, notes=[*notes, *told])


def _multimeter(
    sender: NDArray[np.int64],
    times: NDArray[np.float64],
    values: dict[str, NDArray[np.float64]],
    options: Options,
    notes: list[str],
) -> Sampled:
    wanted = options.get("series") or (next(iter(values)) if len(values) == 1 else None)
    if wanted not in values:
        raise InvalidValue(f"series: got {wanted!r}; a multimeter recorded {', '.join(values)}.")
    units, when = np.unique(sender), np.unique(times)
    if len(sender) != len(units) * len(when):
        raise InvalidValue("a multimeter's senders were not all recorded at the same times; is a file missing?")
    grid = np.full((len(when), len(units)), np.nan)
    grid[np.searchsorted(when, times), np.searchsorted(units, sender)] = values[wanted]
    start, step = clock.equal_steps(when, notes)
    return Sampled(grid, step, start, units.tolist(), notes=notes)


def _table(path: Path) -> pd.DataFrame:
    pandas = require("pandas", "recordings")
    lines = [line for line in text.decode(path).splitlines() if line.strip() and not line.startswith("#")]
    head = lines[0].split() if lines else []
    named = head[:1] == ["sender"]
    rows = lines[1:] if named else lines
    # NEST 2 writes no header, and milliseconds with their decimals: whole numbers are steps.
    names = head if named else ["sender", "time_ms" if any("." in line for line in rows) else "time_step"]
    if named and not {"time_ms", "time_step"} & set(names):
        raise InvalidValue(f"columns: got {', '.join(names)}; NEST writes sender, then time_ms or time_step.")
    wrong = next((line for line in rows if len(line.split()) != len(names)), None)
    if wrong is not None:
        raise InvalidValue(f"line {wrong[:60]!r}: NEST writes {len(names)} numbers per line here, {', '.join(names)}.")
    made: pd.DataFrame = pandas.read_csv(
        io.StringIO("\n".join(rows)), sep=r"\s+", names=names, dtype=str, keep_default_na=False
    )
    return made
