"""The tidy layout that NPZ, CSV and Parquet share: what a header holds, and how it becomes a recording.

| header | meaning |
| --- | --- |
| `start`, `stop` | window of the recording (s) |
| `units` | labels of all units, silent ones too |
| `gaps` | pairs (s) between which nothing was recorded |
| `trial_start`, `trial_stop`, `trial_condition` | one entry a trial (s, s, label) |
| `trial_duration` | length of a trial (s), where every spike has a trial and its time counts from the trial's start |
| `step`, `quantity` | rates: length of a step (s), physical unit of the values |
| `notes` | what was mended or left out |
| `rows` | how many rows the table has, so that a truncated file is noticed |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import checks
from neuro_decorr.recording.assembly import Raw, split
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import Trials

KEYS = (
    "start", "stop", "units", "gaps", "trial_start", "trial_stop", "trial_condition", "trial_duration", "step",
    "quantity", "notes", "rows",
)  # fmt: skip
"""What a header may hold."""

Header = dict[str, Any]


def header(recording: SpikeTrains | Rates) -> Header:
    """What a table of spikes or of values does not say itself.

    Args:
        recording: The recording.

    Returns:
        Numbers, texts and lists of them.
    """
    made: Header = {"start": recording.start, "units": list(recording.units)}
    if isinstance(recording, SpikeTrains):
        made |= {"stop": recording.stop, "gaps": [list(gap) for gap in recording.gaps], "rows": recording.spikes}
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


def columns(trains: SpikeTrains) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """One row a spike, in the order of the units.

    Args:
        trains: The spike trains.

    Returns:
        Time (s) and position of the unit of each spike.
    """
    return np.concatenate(trains.times), np.repeat(np.arange(len(trains.units)), [len(unit) for unit in trains.times])


def spikes(time: ArrayLike, unit: ArrayLike, given: Mapping[str, Any], trial: ArrayLike | None = None) -> Raw:
    """Spikes of a table.

    Args:
        time: Time of each spike (s).
        unit: Unit of each spike: its position where the header lists the units, else its label.
        given: The header.
        trial: Trial of each spike (0, 1, ...), where times count from the start of its trial.

    Returns:
        The spikes, to be assembled.

    Raises:
        InvalidValue: The header contradicts itself or the table.
    """
    _check_rows(given, len(np.asarray(time)))
    when = checks.numbers("time", time)
    windows, trials, notes = None, _trials(given), list(map(str, given.get("notes", ())))
    if trial is not None and trials is None:
        when, trials = _end_to_end(when, np.asarray(trial), given)
        windows = [[(float(trials.start[0]), float(trials.stop[-1]))]]
        notes.append("times count from the start of each trial: the trials were laid end to end")
    elif "start" in given and "stop" in given:
        edges = [float(given["start"]), *np.ravel(given.get("gaps", ())).tolist(), float(given["stop"])]
        windows = [list(zip(edges[::2], edges[1::2], strict=True))]
    trains, names, told = split(when, unit, given.get("units"))
    return Raw(trains, names, windows, trials, [*notes, *told])


def rates(values: ArrayLike, given: Mapping[str, Any], period: tuple[float, float] | None = None) -> Rates:
    """Values of a table, one column a unit.

    Args:
        values: Values, shape `(samples, units)`.
        given: The header, with the step.
        period: The period wanted (s); all when None. Only what is inside must be sound.

    Returns:
        The rates.

    Raises:
        InvalidValue: The header contradicts itself or the table, or whatever `Rates` refuses.
    """
    array = np.asarray(values)
    _check_rows(given, len(array))
    if "step" not in given:
        raise InvalidValue("step: the length of a step (s) is not there; add it to the data.")
    step, start = checks.seconds("step", given["step"]), float(given.get("start", 0.0))
    notes = [str(note) for note in given.get("notes", ())]
    return cut(array, step, start, given.get("units"), _trials(given), str(given.get("quantity", "")), notes, period)


def cut(
    values: NDArray[Any],
    step: float,
    start: float,
    units: Any,
    trials: Trials | None,
    quantity: str,
    notes: list[str],
    period: tuple[float, float] | None,
) -> Rates:
    """Rates of a period, whatever the values outside it are.

    Args:
        values: Values, shape `(samples, units)`; only those of the period must be numbers.
        step: Length of a step (s).
        start: Start of the first step (s).
        units: Labels of the units, or None.
        trials: Windows of the trials.
        quantity: Physical unit of the values.
        notes: What a reader did, in words.
        period: The period wanted (s); all when None.

    Returns:
        The rates.

    Raises:
        InvalidValue: Whatever `Rates` refuses.
    """
    if period is None:
        return Rates(values, step, start, units, trials, quantity, notes)
    # The window of the clock alone, so that NaN outside it does not matter.
    clock = Rates(np.zeros((len(values), 1)), step, start, None, trials, notes=notes).window(*period)
    first = round((clock.start - start) / step)
    part = values[first : first + len(clock.values)]
    return Rates(part, step, clock.start, units, clock.trials, quantity, clock.notes)


def _check_rows(given: Mapping[str, Any], found: int) -> None:
    if "rows" in given and int(given["rows"]) != found:
        raise InvalidValue(
            f"rows: the header says {int(given['rows'])}, {found} are there: the file is damaged or cut."
        )


def _trials(given: Mapping[str, Any]) -> Trials | None:
    if "trial_start" not in given and "trial_stop" not in given:
        return None
    return Trials(given.get("trial_start", ()), given.get("trial_stop", ()), given.get("trial_condition"))


def _end_to_end(
    time: NDArray[np.float64], trial: NDArray[Any], given: Mapping[str, Any]
) -> tuple[NDArray[np.float64], Trials]:
    """Times on one clock, from times that count from the start of a trial."""
    if "trial_duration" not in given:
        raise InvalidValue(
            "trial: every spike has a trial, but how long a trial lasts is not there; add trial_duration (s), or "
            "trial_start and trial_stop with times on one clock."
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
    if trial.size and trial.max() >= count:
        raise InvalidValue(f"trial: got trial {trial.max()}, but conditions of {count} trials.")
    trials = Trials.every(duration, count, conditions=conditions)
    return trials.start[trial] + time, trials
