"""Arrays that somebody named, in a `.mat` or a `.npz` file: which of them is the recording, and what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import checks, clock
from neuro_decorr.recording.assembly import Raw, split
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.sampled import Sampled, matrix, step_of


def choose(held: Mapping[str, str], read: Callable[[str], Any], options: Options, how: str) -> Raw | Sampled:
    """The recording among named arrays.

    Args:
        held: Each name, and what it is, in words.
        read: Reads one of them.
        options: With `variable`: a name, a field of a structure such as `"data.spikes"`, or two names, of the time and
            of the unit of each spike; may be left out where there is one array only.
        how: How to go on, for the error.

    Returns:
        Spikes or rates, to be assembled.

    Raises:
        InvalidValue: No such array, several of which none is named, or one that is no recording.
    """
    wanted = options.get("variable")
    if wanted is None and len(held) == 1:
        wanted = next(iter(held))
    if wanted is None:
        listed = ", ".join(f"{name} ({what})" for name, what in held.items()) or "nothing"
        raise InvalidValue(f"holds {listed}; which of these is the recording? {how}.")
    names = [name.strip() for name in wanted.split(",")]
    values = []
    for name in names:
        top, *fields = name.split(".") if name not in held else [name]
        if top not in held:
            raise InvalidValue(f"variable: there is no {top!r}; there are {', '.join(held) or 'none'}.")
        values.append(_field(read(top), fields, name))
    if len(names) > 2:
        raise InvalidValue(f"variable: got {len(names)} names; allowed are one, or two: times,units.")
    if len(names) == 1:
        return of_value(names[0], values[0], options)
    times = clock.spike_seconds(vector(names[0], values[0]), options)
    trains, labels, notes = split(times, flat(values[1]), None)
    return Raw(trains, labels, notes=notes)


def of_value(name: str, value: Any, options: Options) -> Raw | Sampled:
    """Spikes or rates from one value.

    Args:
        name: Its name, for the error.
        value: A list of arrays of spike times, one a unit; or a matrix of rates.
        options: See `Options`.

    Returns:
        What it is, to be assembled.

    Raises:
        InvalidValue: It is neither.
    """
    if isinstance(value, dict):
        raise InvalidValue(f"variable: {name} is a structure; choose a field: {name}.{', '.join(map(str, value))}.")
    if hasattr(value, "toarray"):  # a sparse matrix
        value = value.toarray()
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.dtype.kind == "O"):
        cells = [vector(f"unit {k} of {name}", cell) for k, cell in enumerate(_cells(value))]
        together = clock.spike_seconds(np.concatenate([*cells, np.empty(0)]), options)
        return Raw(np.split(together, np.cumsum([len(cell) for cell in cells])[:-1]))
    array = np.asanyarray(value)
    if array.dtype.kind in "fiub" and (array.ndim == 1 or 1 in array.shape):
        raise InvalidValue(
            f"{name} is one row of numbers, {array.shape}: times of which units? Name two arrays, "
            "variable='times,units'; of a folder of a spike sorter or of suite2p, give the folder."
        )
    values = matrix(array, options.get("layout"))
    return Sampled(values, step_of(options, None, name))


def vector(name: str, values: ArrayLike | None) -> NDArray[np.float64]:
    """One row of numbers, whichever way it is stored.

    Args:
        name: What they are, for the error.
        values: The numbers.

    Returns:
        Numbers, shape `(count,)`.

    Raises:
        InvalidValue: A matrix, or no numbers.
    """
    if values is None:
        return np.empty(0)
    return checks.numbers(name, flat(values))


def flat(values: ArrayLike) -> NDArray[Any]:
    """A column, a row or a single number as one dimension; all else as it is."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidValue("arrays: got rows of unequal length; allowed is one list of numbers.") from error
    return array.ravel() if array.ndim < 2 or max(array.shape) == array.size else array


def _cells(value: Any) -> list[Any]:
    return value if isinstance(value, list) else list(value.ravel())


def _field(value: Any, fields: list[str], name: str) -> Any:
    for field in fields:
        if isinstance(value, list) and all(isinstance(item, dict) and field in item for item in value):
            value = [item[field] for item in value]
        elif isinstance(value, dict) and field in value:
            value = value[field]
        else:
            known = ", ".join(map(str, value)) if isinstance(value, dict) else "none"
            raise InvalidValue(f"variable: {name} has no field {field!r}; there are {known}.")
    return value
