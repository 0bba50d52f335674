"""Tidy layout that NPZ, CSV and Parquet share: entries of the header, and conversion to a recording.

| header | meaning |
| --- | --- |
| `start`, `stop` | window of the recording (s) |
| `units` | labels of all units, silent ones too |
| `gaps` | start and end (s) of periods in which nothing was recorded |
| `trial_start`, `trial_stop`, `trial_condition` | one entry per trial (s, s, label) |
| `trial_duration` | length of a trial (s), if every spike has a trial and its time counts from the start of the trial |
| `step`, `quantity` | rates: length of a step (s), physical unit of the values |
| `positions` | position of each unit (micrometres), one row per unit |
| `notes` | notes on mends and on data that were left out |
| `rows` | number of rows of the table, to detect a truncated file |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.recording import checks, pieces
from neuro_decorr.recording.assembly import Raw, split
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.sampled import Sampled
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import Trials, labelled

KEYS = (
    "start", "stop", "units", "gaps", "trial_start", "trial_stop", "trial_condition", "trial_duration", "step",
    "quantity", "notes", "rows", "positions",
)  # fmt: skip
"""Entries that a header may have."""

_KINDS = {
    **dict.fromkeys(("start", "stop", "step", "rows", "trial_duration"), "a number"),
    **dict.fromkeys(("units", "trial_condition", "notes"), "a list of texts"),
    "gaps": "numbers, a pair for each gap",
    "trial_start": "numbers, one per trial",
    "trial_stop": "numbers, one per trial",
    "positions": "numbers, a row for each unit",
}

_MOST_TRIALS = 10_000_000
"""Largest number of trials; a larger trial number is taken for an error."""

Header = dict[str, Any]


def header(recording: SpikeTrains | Rates) -> Header:
    """Make the header, with all facts that a table of spikes or of values does not contain.

    Args:
        recording: The recording.

    Returns:
        Entries, which are numbers, texts and lists of them.
    """
    made: Header = {"start": recording.start, "units": list(recording.units)}
    made["gaps"] = [list(gap) for gap in recording.gaps]
    if recording.positions is not None:
        made["positions"] = recording.positions.tolist()
    if isinstance(recording, SpikeTrains):
        made |= {"stop": recording.stop, "rows": recording.spikes}
    else:
        made |= {"step": recording.step, "quantity": recording.quantity, "rows": len(recording.values)}
    if recording.trials is not None:
        trials = recording.trials
        made |= {
            "trial_start": trials.start.tolist(),
            "trial_stop": trials.stop.tolist(),
            "trial_condition": list(trials.conditions),
        }
    return {key: value for key, value in made.items() if value not in ([], "")} | (
        {"notes": list(recording.notes)} if recording.notes else {}
    )


def checked(given: Mapping[str, Any]) -> Header:
    """Check that every entry of a header is of its kind; the values are checked where they are used.

    Args:
        given: Entries of `KEYS`: numbers, texts, lists or arrays of them.

    Returns:
        The same entries, with arrays of one number as numbers and other arrays as lists.

    Raises:
        InvalidValue: An entry is of another kind.
    """
    return {name: _entry(name, value) for name, value in given.items()}


def _entry(name: str, value: Any) -> Any:
    allowed = _KINDS.get(name, "a text")
    try:
        array = np.asarray(value)
    except ValueError:  # ragged lists
        array = np.array(None)
    if allowed == "a number" and array.size == 1 and array.dtype.kind in "fiu":
        return float(array.item())
    if allowed == "a text" and array.size == 1 and array.dtype.kind == "U":
        return str(array.item())
    if allowed == "a list of texts" and array.ndim == 1 and (array.dtype.kind in "Ufiub" or array.size == 0):
        return [str(label) for label in array.tolist()]
    if allowed.startswith("numbers") and (array.dtype.kind in "fiu" or array.size == 0):
        rows = array.reshape(-1, 2) if name == "gaps" and array.size % 2 == 0 else array
        if rows.ndim == (1 if name.startswith("trial") else 2) and (name != "gaps" or rows.shape[1] == 2):
            return rows.tolist()
    raise InvalidValue(f"{name}: got {shown(array.item() if array.ndim == 0 else value)}; allowed is {allowed}.")


def columns(trains: SpikeTrains) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Convert spike trains to columns with one row per spike, in the order of the units.

    Args:
        trains: The spike trains.

    Returns:
        Time (s) and index of the unit of each spike.
    """
    return np.concatenate(trains.times), np.repeat(np.arange(len(trains.units)), [len(unit) for unit in trains.times])


def spikes(time: ArrayLike, unit: ArrayLike, given: Mapping[str, Any], trial: ArrayLike | None = None) -> Raw:
    """Convert a table of spikes.

    Args:
        time: Time of each spike (s).
        unit: Unit of each spike: its index if the header lists the units, else its label.
        given: The header.
        trial: Trial of each spike (0, 1, ...), if times count from the start of its trial.

    Returns:
        The spikes, to be assembled.

    Raises:
        InvalidValue: The header contradicts itself or the table.
    """
    _check_rows(given, len(np.asarray(time)))
    when = checks.numbers("time", time)
    notes = list(given.get("notes", ()))
    windows, trials = None, _trials(given, notes)
    if trial is not None and "trial_start" not in given:
        when, whole = _end_to_end(when, np.asarray(trial), given)
        windows = [[(float(whole.start[0]), float(whole.stop[-1]))]]
        trials = labelled(whole.start, whole.stop, given.get("trial_condition"), notes)
        notes.append("times count from the start of each trial: the trials were laid end to end")
        if "trial_condition" not in given and np.min(trial, initial=1) == 1:
            notes.append("no spike is in trial 0, which counts as silent: if trials count from 1, subtract 1")
    elif "start" in given or "stop" in given:
        if not {"start", "stop"} <= set(given):
            raise InvalidValue("start and stop: only one of them is given; give both.")
        gaps = pieces.checked(given.get("gaps", ()), given["start"], given["stop"])
        windows = [list(pieces.between(given["start"], given["stop"], gaps))]
    trains, names, told = split(when, unit, given.get("units"))
    return Raw(trains, names, windows, trials, [*notes, *told], given.get("positions"))


def rates(values: NDArray[Any], given: Mapping[str, Any]) -> Sampled:
    """Convert a table of values with one column per unit.

    Args:
        values: Values, shape `(samples, units)`.
        given: The header, with the step.

    Returns:
        The values, to be assembled.

    Raises:
        InvalidValue: The header contradicts the table.
    """
    _check_rows(given, len(values))
    notes = list(given.get("notes", ()))
    return Sampled(
        values, given["step"], given.get("start", 0.0), given.get("units"), _trials(given, notes),
        given.get("quantity", ""), notes, given.get("gaps", ()), given.get("positions"),
    )  # fmt: skip


def _check_rows(given: Mapping[str, Any], found: int) -> None:
    if "rows" in given and given["rows"] != found:
        raise InvalidValue(f"rows: the header says {given['rows']:g}, {found} are there: the file is damaged or cut.")


def _trials(given: Mapping[str, Any], notes: list[str]) -> Trials | None:
    if "trial_start" not in given and "trial_stop" not in given:
        return None
    return labelled(given.get("trial_start", ()), given.get("trial_stop", ()), given.get("trial_condition"), notes)


def _end_to_end(
    time: NDArray[np.float64], trial: NDArray[Any], given: Mapping[str, Any]
) -> tuple[NDArray[np.float64], Trials]:
    """Convert times that count from the start of a trial to times on one clock."""
    if "trial_duration" not in given:
        raise InvalidValue(
            "trial: every spike has a trial, but the duration of a trial is missing; add trial_duration (s) to the "
            "header, in CSV a first line such as '# trial_duration = 2.5', or trial_start and trial_stop with "
            "times on one clock."
        )
    duration = checks.seconds("trial_duration", given["trial_duration"])
    if trial.shape != time.shape or trial.dtype.kind not in "iu" or (trial.size and trial.min() < 0):
        raise InvalidValue(
            f"trial: got {trial.dtype} of shape {trial.shape}; give one integer from 0 on for every spike."
        )
    outside = np.flatnonzero((time < 0) | (time > duration))
    if outside.size:
        raise InvalidValue(
            f"time: {outside.size} spikes lie outside their trial of {duration:g} s (first: {time[outside[0]]:g} s); "
            "correct trial_duration, or these times."
        )
    conditions = given.get("trial_condition")
    count = len(conditions) if conditions is not None else int(trial.max(initial=0)) + 1
    if count > _MOST_TRIALS:
        raise InvalidValue(f"trial: got trial {count - 1}; trials count 0, 1, ..., up to {_MOST_TRIALS:,}.")
    if trial.size and trial.max() >= count:
        raise InvalidValue(f"trial: got trial {trial.max()}, but conditions of {count} trials.")
    trials = Trials.every(duration, count)
    return trials.start[trial] + time, trials
