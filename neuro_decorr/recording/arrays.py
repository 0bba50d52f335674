"""Named arrays in a `.mat` or a `.npz` file: choice of the array that is the recording, and its conversion."""

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
    """Choose the recording among named arrays.

    Args:
        held: Description of each array in words, by its name.
        read: Function that reads one array.
        options: Options with `variable`: a name, a field of a structure such as `"data.spikes"`, or two names, of the
            time and of the unit of each spike; not needed if there is only one array.
        how: Advice for the error.

    Returns:
        Spikes or rates, to be assembled.

    Raises:
        InvalidValue: There is no such array, there are several and none is named, or the array is not a recording.
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
    unit, codes = flat(values[1]), []
    if unit.ndim == 2 and len(unit) == len(times) and not unit[:, 1:].any():
        unit = unit[:, 0]
        codes = [
            f"units are the first column of {names[1]}, the others are zero (Spike2: unit 0 is what is not sorted)"
        ]
    trains, labels, notes = split(times, unit, None)
    return Raw(trains, labels, notes=[*codes, *notes])


def of_value(name: str, value: Any, options: Options) -> Raw | Sampled:
    """Convert one value to spikes or rates.

    Args:
        name: Name of the value for the error.
        value: A list of arrays of spike times, one per unit; or a matrix of rates.
        options: See `Options`.

    Returns:
        Spikes or rates, to be assembled.

    Raises:
        InvalidValue: The value is neither.
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
    """Convert a row, a column or one number to numbers of one dimension.

    Args:
        name: Name of the numbers for the error.
        values: The numbers.

    Returns:
        Numbers, shape `(count,)`.

    Raises:
        InvalidValue: The values are a matrix, or no numbers.
    """
    if values is None:
        return np.empty(0)
    return checks.numbers(name, flat(values))


def flat(values: ArrayLike) -> NDArray[Any]:
    """Flatten a column, a row or a single number to one dimension; return other arrays unchanged."""
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
