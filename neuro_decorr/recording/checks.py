"""Checks that all parts of a recording share."""

from __future__ import annotations

import difflib
import importlib
import math
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue, MissingExtra, UnknownName, unknown_name

_LISTED = 40
"""Largest number of units whose labels an error lists."""


def numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Convert one-dimensional real numbers to float64; an array of float64 is not copied.

    Args:
        name: Name of the numbers for the error.
        values: The numbers.

    Returns:
        The array, shape `(count,)`.

    Raises:
        InvalidValue: There is more than one dimension, or the values are no real numbers.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:  # ragged lists
        raise InvalidValue(f"{name}: got rows of unequal length; allowed is one list of numbers.") from error
    if array.size == 0 and array.ndim == 1:
        return np.empty(0)
    if array.dtype.kind not in "fiu":
        raise InvalidValue(f"{name}: got values of type {array.dtype}; allowed are real numbers.")
    if array.ndim != 1:
        raise InvalidValue(f"{name}: got an array of shape {array.shape}; allowed is one dimension.")
    return array.astype(np.float64, copy=False)


def seconds(name: str, value: float, *, positive: bool = True) -> float:
    """Check a time in seconds.

    Args:
        name: Name of the time for the error.
        value: The number.
        positive: True: the number must be above zero.

    Returns:
        The number as a Python float.

    Raises:
        InvalidValue: The value is no real number, is NaN or infinite, or is not positive although it must be.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or (positive and number <= 0):
        kind = "a positive number" if positive else "a number"
        raise InvalidValue(f"{name}: got {value!r}; allowed is {kind} of seconds, such as 0.05.")
    return number


def labels(units: Iterable[object] | None, count: int) -> tuple[str, ...]:
    """Check labels of units; without labels, number the units.

    Args:
        units: One label per unit, each different; None: 0, 1, ...
        count: Number of units.

    Returns:
        The labels as text.

    Raises:
        InvalidValue: There are no units, another number of labels, a label that cannot be printed, or the same label
            twice.
    """
    if count == 0:
        raise InvalidValue(
            "units: got none; a recording has at least one unit (a unit without spikes is an empty list)."
        )
    names = tuple(map(str, range(count))) if units is None else tuple(map(str, units))
    if len(names) != count:
        raise InvalidValue(f"units: got {len(names)} labels for {count} units; give one label per unit.")
    odd = next((name for name in names if not name.isprintable() or name != name.strip() or not name), None)
    if odd is not None:
        raise InvalidValue(
            f"units: got the label {odd!r}; allowed are texts that can be read on one line, without blanks at the ends."
        )
    if len(set(names)) < count:
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise InvalidValue(f"units: the label {twice!r} is there twice; give every unit a label of its own.")
    return names


def chosen(labels: Sequence[object], units: Sequence[str]) -> list[int]:
    """Indices of the chosen labels among the units.

    Args:
        labels: Chosen labels.
        units: Labels of all units.

    Returns:
        The indices, in the order of the chosen labels.

    Raises:
        UnknownName: No unit has one of the labels.
    """
    known = {name: index for index, name in enumerate(units)}
    for name in map(str, labels):
        if name not in known and len(units) > _LISTED:
            near = ", ".join(difflib.get_close_matches(name, units, 8, cutoff=0.0))
            raise UnknownName(f"there is no unit '{name}'; the nearest of {len(units)} labels are {near}.")
        if name not in known:
            raise unknown_name("unit", name, units)
    return [known[str(name)] for name in labels]


def coordinates(positions: ArrayLike | None, units: int) -> NDArray[np.float64] | None:
    """Check positions of units.

    Args:
        positions: Positions (micrometres), shape `(units, dimensions)`, NaN for unknown ones; or None.
        units: Number of units.

    Returns:
        The positions, not writable.

    Raises:
        InvalidValue: The positions have another shape, or are no numbers.
    """
    if positions is None:
        return None
    array = np.asarray(positions)
    if array.dtype.kind not in "fiu" or array.ndim != 2 or len(array) != units or not 1 <= array.shape[1] <= 3:
        raise InvalidValue(
            f"positions: got {array.dtype} of shape {array.shape}; allowed are micrometres, {units} rows (one per "
            "unit) of one to three coordinates."
        )
    return frozen(array.astype(np.float64))


def first_line(error: Exception) -> str:
    """First line of another library's error."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """View of an array that is not writable."""
    view = array.view()
    view.flags.writeable = False
    return view


def window(start: float, stop: float, inside: tuple[float, float]) -> tuple[float, float]:
    """Check a period of a recording.

    Args:
        start: Start of the period (s).
        stop: End of the period (s).
        inside: Start and end of the recording (s).

    Returns:
        Start and end of the period; they equal those of the recording if they differ by rounding only.

    Raises:
        InvalidValue: The end does not follow the start, or the period is not inside the recording.
    """
    first, last = seconds("start", start, positive=False), seconds("stop", stop, positive=False)
    slack = 1e-9
    if first >= last or first < inside[0] - slack or last > inside[1] + slack:
        raise InvalidValue(
            f"period: got {first:g} to {last:g} s; allowed are periods inside the recording, "
            f"{inside[0]:g} to {inside[1]:g} s, whose end follows their start."
        )
    return max(first, inside[0]), min(last, inside[1])


def library(name: str) -> ModuleType:
    """Import a library for its objects; no extra installs it, since a user of its objects has it already.

    Args:
        name: Name of the module.

    Returns:
        The module.

    Raises:
        MissingExtra: The library is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingExtra(
            f"{package} is needed for its objects and cannot be imported ({error}): pip install {package}."
        ) from error
