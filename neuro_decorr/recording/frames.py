"""Recordings as tidy tables, in CSV and in Parquet; pandas and pyarrow come with the extra `recordings`.

Spikes: the columns `unit` (label) and `time` (s; or `time_ms`), one row a spike; a column `trial` where times count
from the start of a trial. Rates: the column `time` (s, the start of each step; or `time_ms`), then one column a unit.
The header of `tidy` stands above a CSV table in lines such as `# start = 0.0` (values in JSON), and in the metadata of
a Parquet file under `neuro_decorr` as one JSON object.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import tidy
from neuro_decorr.recording.assembly import Raw
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.spikes import SpikeTrains

if TYPE_CHECKING:
    import pandas as pd

TIMES = {"time": 1.0, "time_s": 1.0, "time_ms": 1000.0}
"""Columns of times, and how many of their units make a second."""

_MISSING = ("", "NA", "None", "<NA>")
_KEY = b"neuro_decorr"
_LINE = re.compile(r"#\s*(\w+)\s*=\s*(.*)")


def read_csv(path: Path, period: tuple[float, float] | None = None) -> Raw | Rates:
    """Read a recording from a CSV table.

    Args:
        path: The file, in UTF-8.
        period: The period wanted (s), for rates.

    Returns:
        Spikes to be assembled, or rates.

    Raises:
        InvalidValue: It is no such table, or the header is not sound.
    """
    pandas = require("pandas", "recordings")
    given: dict[str, Any] = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = text.splitlines(keepends=True)
        top = next((k for k, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
        for line in lines[:top]:
            if (found := _LINE.match(line)) and found[1] in tidy.KEYS:
                given[found[1]] = json.loads(found[2])
        # As text, so that every number is the one nearest to its digits and a label "NA" stays one.
        table = pandas.read_csv(io.StringIO("".join(lines[top:])), dtype=str, keep_default_na=False)
        if not isinstance(table.index, pandas.RangeIndex):
            raise ValueError("its rows have more cells than its head")
    except (UnicodeDecodeError, ValueError) as error:  # both of pandas' errors and JSON's are among these
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidValue(f"no CSV table of a recording: {first}.") from error
    return from_frame(table, given, period)


def read_parquet(path: Path, period: tuple[float, float] | None = None) -> Raw | Rates:
    """Read a recording from a Parquet table.

    Args:
        path: The file.
        period: The period wanted (s), for rates.

    Returns:
        Spikes to be assembled, or rates.

    Raises:
        InvalidValue: It cannot be read, or is no such table.
    """
    parquet = require("pyarrow.parquet", "recordings")
    try:
        table = parquet.read_table(path)
        given = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
        frame = table.to_pandas()
    except (ValueError, OSError) as error:  # ArrowInvalid is a ValueError
        raise InvalidValue(
            f"damaged or cut: no Parquet table that can be read ({str(error).splitlines()[0]})."
        ) from error
    return from_frame(frame, given, period)


def from_frame(table: pd.DataFrame, given: dict[str, Any], period: tuple[float, float] | None = None) -> Raw | Rates:
    """A recording from a table in memory.

    Args:
        table: Spikes or rates, see the top of this module.
        given: The header.
        period: The period wanted (s), for rates.

    Returns:
        Spikes to be assembled, or rates.

    Raises:
        InvalidValue: Columns that are neither layout, or cells that are no numbers.
    """
    names = [str(name) for name in table.columns]
    clocks = [name for name in names if name in TIMES]
    if len(clocks) != 1:
        raise InvalidValue(
            f"columns: got {', '.join(names[:8]) or 'none'}; allowed are unit and time (spikes), or time and one "
            "column for every unit (rates), with the time in seconds (time) or milliseconds (time_ms)."
        )
    time: NDArray[Any] = _numbers(table, clocks[0]) / TIMES[clocks[0]]
    if "unit" not in names:
        values = np.column_stack([_numbers(table, name) for name in names if name != clocks[0]] or [np.empty((0, 0))])
        labels = [name for name in names if name != clocks[0]]
        start, step = equal_steps(time, given.get("step"))
        return tidy.rates(values, {"units": labels, "start": start, "step": step} | given, period)
    unit: NDArray[Any] = table["unit"].astype(str).to_numpy(dtype=str)
    if "units" in given:
        known = {str(name): k for k, name in enumerate(given["units"])}
        strange = next((name for name in unit.tolist() if name not in known), None)
        if strange is not None:
            raise InvalidValue(f"unit: got {strange!r}, which the header does not list among its units.")
        unit = np.array([known[name] for name in unit.tolist()], dtype=np.int64)
    trial = _whole(_numbers(table, "trial")) if "trial" in names else None
    return tidy.spikes(time, unit, given, trial)


def frame(recording: SpikeTrains | Rates) -> pd.DataFrame:
    """A recording as a tidy table.

    Args:
        recording: The recording.

    Returns:
        Columns `unit`, `time` (s), or `time` and one column a unit.

    Raises:
        InvalidValue: Rates of a unit whose label is the name of another column.
    """
    pandas = require("pandas", "recordings")
    if isinstance(recording, SpikeTrains):
        time, unit = tidy.columns(recording)
        table = pandas.DataFrame({"unit": np.array(recording.units)[unit], "time": time})
    else:
        taken = sorted({*TIMES, "unit", "trial"} & set(recording.units))
        if taken:
            raise InvalidValue(f"units: the label {taken[0]!r} is the name of a column of such tables; choose another.")
        clock = recording.start + recording.step * np.arange(len(recording.values))
        table = pandas.DataFrame(recording.values, columns=list(recording.units))
        table.insert(0, "time", clock)
    made: pd.DataFrame = table
    return made


def write_csv(path: Path, recording: SpikeTrains | Rates) -> None:
    """Write a recording as a CSV table; every number is kept exactly.

    Args:
        path: The file.
        recording: The recording.
    """
    top = "".join(f"# {key} = {json.dumps(value)}\n" for key, value in tidy.header(recording).items())
    path.write_text(top + frame(recording).to_csv(index=False, lineterminator="\n"), encoding="utf-8")


def write_parquet(path: Path, recording: SpikeTrains | Rates) -> None:
    """Write a recording as a Parquet table; every number is kept exactly.

    Args:
        path: The file.
        recording: The recording.
    """
    arrow, parquet = require("pyarrow", "recordings"), require("pyarrow.parquet", "recordings")
    table = arrow.Table.from_pandas(frame(recording), preserve_index=False)
    parquet.write_table(
        table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: json.dumps(tidy.header(recording))}), path
    )


def _numbers(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    column = table[name].to_numpy()
    if column.dtype.kind not in "fiu":
        text = np.array(["nan" if str(cell) in _MISSING else str(cell) for cell in column.tolist()], dtype=object)
        try:
            column = text.astype(np.float64)
        except ValueError:
            row = next(k for k, cell in enumerate(text.tolist()) if not _is_number(cell))
            raise InvalidValue(f"column {name!r}: got {text[row]!r} in row {row}; allowed are numbers.") from None
    numbers: NDArray[np.float64] = column.astype(np.float64, copy=False)
    return numbers


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    if not (np.isfinite(values).all() and (values == np.floor(values)).all()):
        raise InvalidValue("trial: got numbers that are not whole; allowed are 0, 1, ...")
    return values.astype(np.int64)


def equal_steps(time: NDArray[np.float64], step: float | None = None) -> tuple[float, float]:
    """Start and step of samples, which must be equally far apart.

    Args:
        time: Time of each sample (s).
        step: What the step should be (s); that of most samples when None.

    Returns:
        Start and step (s).

    Raises:
        InvalidValue: Fewer than two samples without a step, or a gap.
    """
    if len(time) < (2 if step is None else 1):
        raise InvalidValue(f"time: got {len(time)} rows; the step cannot be told from fewer than two.")
    steps = np.diff(time)
    length = float(np.quantile(steps, 0.5, method="lower")) if step is None else step
    wrong = np.flatnonzero(~(np.abs(steps - length) <= 1e-6 * abs(length) + 1e-9))
    if not np.isfinite(time[0]) or wrong.size:
        k = int(wrong[0]) if wrong.size else 0
        raise InvalidValue(
            f"time: row {k + 1} is at {time[min(k + 1, len(time) - 1)]:g} s, after {time[k]:g} s, where steps of "
            f"{length:g} s are expected: a gap, or rows out of order; leave one side out, or sort the rows."
        )
    return float(time[0]), length
