"""Recordings as tidy tables, in CSV and in Parquet; the extra `recordings` installs pandas and pyarrow.

Spikes: the columns `unit` (label) and `time` (s; or `time_ms`), one row per spike; a column `trial` if times count from
the start of a trial. Rates: the column `time` (s, the start of each step; or `time_ms`), then one column per unit. The
header of `tidy` is above a CSV table in lines such as `# start = 0.0` (values in JSON), and in the metadata of a
Parquet file under `neuro_decorr` as one JSON object.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import clock, text, tidy
from neuro_decorr.recording.assembly import Raw
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.sampled import Sampled, step_of
from neuro_decorr.recording.spikes import SpikeTrains

if TYPE_CHECKING:
    import pandas as pd

TIMES = {
    **dict.fromkeys(("time", "time_s", "times", "spike_time", "spike_times", "t"), 1.0),
    **dict.fromkeys(("time_ms", "times_ms", "spike_time_ms", "spike_times_ms", "t_ms"), 1000.0),
}  # fmt: skip
"""Names of columns of times, with the number of their units in a second."""

SAMPLES = ("sample", "samples", "time_samples", "spike_sample", "spike_samples")
"""Names of columns of times in samples, which need the sampling rate."""

UNITS = ("unit", "unit_id", "cluster", "cluster_id", "neuron", "neuron_id", "cell", "cell_id", "sender")
"""Names of columns of labels."""

TRIALS = ("trial", "trial_id")
"""Names of columns of trials."""

_KEY = b"neuro_decorr"


def read_csv(path: Path, options: Options) -> Raw | Sampled:
    """Read a recording from a CSV table.

    Args:
        path: The file.
        options: See `Options`.

    Returns:
        Spikes or rates, to be assembled.

    Raises:
        InvalidValue: The file is no such table, or the header is not valid.
    """
    return from_frame(*text.table(text.decode(path)), options)


def read_parquet(path: Path, options: Options) -> Raw | Sampled:
    """Read a recording from a Parquet table.

    Args:
        path: The file.
        options: See `Options`.

    Returns:
        Spikes or rates, to be assembled.

    Raises:
        InvalidValue: The file cannot be read, or is no such table.
    """
    parquet = require("pyarrow.parquet", "recordings")
    table = parquet.read_table(path)
    given = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
    return from_frame(table.to_pandas(), tidy.checked(given), options)


def from_frame(table: pd.DataFrame, given: dict[str, Any], options: Options) -> Raw | Sampled:
    """Convert a table in memory to spikes or rates.

    Args:
        table: Spikes or rates in the layout of this module.
        given: The header.
        options: See `Options`.

    Returns:
        Spikes or rates, to be assembled.

    Raises:
        InvalidValue: The columns have neither layout, or cells are no numbers.
    """
    given = given | {"notes": list(given.get("notes", ()))}
    table = _without_index(table, given["notes"])
    names = [str(name) for name in table.columns]
    plain = {name: _plain(name) for name in names}
    clocks = [name for name in names if plain[name] in TIMES or plain[name] in SAMPLES]
    owners = [name for name in names if plain[name] in UNITS]
    if len(clocks) != 1 or len(owners) > 1:
        raise InvalidValue(
            f"columns: got {', '.join(names[:8]) or 'none'}; allowed are unit and time (spikes), or time and one "
            "column for every unit (rates), with the time in seconds (time) or milliseconds (time_ms)."
        )
    when = text.numbers(table, clocks[0])
    if plain[clocks[0]] in TIMES:
        when = when / TIMES[plain[clocks[0]]]
    elif options.get("sampling_rate") is None:
        raise InvalidValue(f"column {clocks[0]!r}: these are samples; give sampling_rate (Hz).")
    trials = [name for name in names if plain[name] in TRIALS][:1]
    others = [name for name in names if name not in (clocks[0], *owners, *trials)]
    if not owners and not others:
        raise InvalidValue(f"columns: got only {', '.join(names)}; add unit, the label of the unit of each spike.")
    if not owners:
        return _rates(table, [name for name in names if name != clocks[0]], when, given, options)
    unit: NDArray[Any] = table[owners[0]].astype(str).to_numpy(dtype=str)
    if others and (grid := _grid(when, unit)) is not None:
        return _long(table, others, when, unit, grid, given, options)
    if others:
        given["notes"].append(f"columns that are no part of spikes: {', '.join(others[:8])}")
    when = clock.spike_seconds(when, options, known="stop" in given or TIMES.get(plain[clocks[0]], 1) != 1)
    if "units" in given:
        known = {str(name): k for k, name in enumerate(given["units"])}
        strange = next((name for name in unit.tolist() if name not in known), None)
        if strange is not None:
            raise InvalidValue(f"unit: got {strange!r}, which the header does not list among its units.")
        unit = np.array([known[name] for name in unit.tolist()], dtype=np.int64)
    elif all(name.isdecimal() and str(int(name)) == name for name in np.unique(unit).tolist()):
        unit = unit.astype(np.int64)  # so that numbers are sorted as numbers
    trial = text.whole("trial", text.numbers(table, trials[0]), "allowed are 0, 1, ...") if trials else None
    return tidy.spikes(when, unit, given, trial)


def _rates(
    table: pd.DataFrame, labels: list[str], when: NDArray[np.float64], given: dict[str, Any], options: Options
) -> Sampled:
    values = np.column_stack([text.numbers(table, name) for name in labels] or [np.empty((0, 0))])
    wanted = step_of(options, given.get("step", 0.0)) or None
    if given.get("gaps"):  # rows are missing in gaps, so only the header has the clock
        start, step = given.get("start", 0.0), step_of(options, given.get("step"))
    else:
        start, step = clock.equal_steps(when, given["notes"], wanted)
    return tidy.rates(values, {"units": labels, "start": start} | given | {"step": step})


def _grid(when: NDArray[np.float64], unit: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Units and times of a long table of rates, with every unit at every one of many times; else None."""
    units, times = np.unique(unit), np.unique(when)
    whole = len(times) > 2 and len(when) == len(units) * len(times) and bool(np.isfinite(times).all())
    even = whole and float(np.ptp(np.diff(times))) <= 1e-6 * float(times[-1] - times[0])
    return (units, times) if even else None


def _long(
    table: pd.DataFrame,
    others: list[str],
    when: NDArray[np.float64],
    unit: NDArray[Any],
    grid: tuple[NDArray[Any], NDArray[Any]],
    given: dict[str, Any],
    options: Options,
) -> Sampled:
    units, times = grid
    wanted = options.get("series") or (others[0] if len(others) == 1 else None)
    if wanted not in others:
        raise InvalidValue(f"series: got {wanted!r}; give one of the columns of values, {', '.join(others[:8])}.")
    values = np.full((len(times), len(units)), np.nan)
    values[np.searchsorted(times, when), np.searchsorted(units, unit)] = text.numbers(table, wanted)
    given["notes"].append(f"a long table: the column {wanted!r} of every unit at every time")
    start, step = clock.equal_steps(times, given["notes"], step_of(options, given.get("step", 0.0)) or None)
    return tidy.rates(values, {"start": start, "units": units.tolist()} | given | {"step": step})


def _without_index(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Remove the column of row numbers that pandas (from 0) and R (from 1) write by default."""
    first = str(table.columns[0]) if len(table.columns) else "unit"
    if first and not first.startswith("Unnamed: "):
        return table
    counted = text.numbers(table, first)
    if not any(np.array_equal(counted, np.arange(len(table)) + lowest) for lowest in (0, 1)):
        raise InvalidValue("columns: the first one has no name and does not count the rows; name it, or leave it out.")
    notes.append("the first column has no name and counts the rows: left out")
    made: pd.DataFrame = table.iloc[:, 1:]
    made.attrs = table.attrs
    return made


def frame(recording: SpikeTrains | Rates) -> pd.DataFrame:
    """Convert a recording to a tidy table.

    Args:
        recording: The recording.

    Returns:
        The table, with the columns `unit` and `time` (s), or `time` and one column per unit.

    Raises:
        InvalidValue: The label of a unit of rates is the name of another column.
    """
    pandas = require("pandas", "recordings")
    if isinstance(recording, SpikeTrains):
        time, unit = tidy.columns(recording)
        table = pandas.DataFrame({"unit": np.array(recording.units)[unit], "time": time})
    else:
        taken = [name for name in recording.units if _plain(name) in {*TIMES, *SAMPLES, *UNITS, *TRIALS}]
        if taken:
            raise InvalidValue(f"units: the label {taken[0]!r} is the name of a column of such tables; choose another.")
        table = pandas.DataFrame(recording.values, columns=list(recording.units))
        table.insert(0, "time", recording.step_starts())
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


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")
