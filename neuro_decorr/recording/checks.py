"""What every part of a recording is checked for."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue, UnknownName, unknown_name

_LISTED = 40
"""So many labels of units are named in an error, if they are no more."""


def numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """One-dimensional real numbers as float64, not copied when they are that already.

    Args:
        name: What they are, for the error.
        values: The numbers.

    Returns:
        The array.

    Raises:
        InvalidValue: Another number of dimensions, or other things than real numbers.
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
    """A time in seconds.

    Args:
        name: What it is, for the error.
        value: The number.
        positive: Whether it must be above zero.

    Returns:
        The number as a Python float.

    Raises:
        InvalidValue: Not a real number, NaN, infinite, or not positive where it must be.
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
    """Labels of units: those given, or their numbers.

    Args:
        units: One label a unit, each different, or None.
        count: How many units there are.

    Returns:
        The labels as text.

    Raises:
        InvalidValue: No units, another number of labels, one that cannot be printed, or the same label twice.
    """
    if count == 0:
        raise InvalidValue(
            "units: got none; a recording has at least one unit (a unit without spikes is an empty list)."
        )
    names = tuple(map(str, range(count))) if units is None else tuple(map(str, units))
    if len(names) != count:
        raise InvalidValue(f"units: got {len(names)} labels for {count} units; give one label a unit.")
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
    """Where the chosen labels are among the units.

    Args:
        labels: Labels.
        units: Labels of all units.

    Returns:
        Their positions.

    Raises:
        UnknownName: A label that no unit has.
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
    """Positions of units.

    Args:
        positions: Micrometres, shape `(units, dimensions)`, NaN where they are not known, or None.
        units: How many units there are.

    Returns:
        The positions, not writable.

    Raises:
        InvalidValue: Another shape, or values that are no numbers.
    """
    if positions is None:
        return None
    array = np.asarray(positions)
    if array.dtype.kind not in "fiu" or array.ndim != 2 or len(array) != units or not 1 <= array.shape[1] <= 3:
        raise InvalidValue(
            f"positions: got {array.dtype} of shape {array.shape}; allowed are micrometres, {units} rows (one a unit) "
            "of one to three coordinates."
        )
    return frozen(array.astype(np.float64))


def first_line(error: Exception) -> str:
    """What an error of another library says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


def window(start: float, stop: float, inside: tuple[float, float]) -> tuple[float, float]:
    """A period of a recording.

    Args:
        start: Its start (s).
        stop: Its end (s).
        inside: Start and end of the recording (s).

    Returns:
        Start and end, the recording's own where they differ from it by rounding only.

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
