"""Checks of parameters: each returns the problem of a value, or None; `refuse` reports all problems in one error."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from neuro_decorr.errors import InvalidValue, shown


def number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
    finite: bool = True,
    hint: str = "",
) -> str | None:
    """Check that a value is a number within bounds; a NaN and a bool are no numbers here.

    Args:
        name: Name of the parameter.
        value: Value that the user gave.
        above: Bound that the number must exceed.
        least: Smallest number allowed.
        below: Bound that the number must not reach.
        most: Largest number allowed.
        finite: True refuses infinity.
        hint: Addition to the message in parentheses, such as the meaning of a bound.

    Returns:
        The problem in words; None for an allowed number.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if (
        is_number
        and not (finite and math.isinf(value))
        and (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
        and (most is None or value <= most)
    ):
        return None
    bounds = {">": above, ">=": least, "<": below, "<=": most}
    allowed = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None)
    return _problem(name, f"a {'finite ' * finite}number {allowed}".rstrip(), value, hint)


def whole_number(name: str, value: Any, *, least: int, most: int | None = None, hint: str = "") -> str | None:
    """Check that a value is a whole number from `least` to `most`; returns the problem, or None."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value and (most is None or value <= most):
        return None
    bounds = f">= {least}" + ("" if most is None else f" and <= {most}")
    return _problem(name, f"a whole number {bounds}", value, hint)


def flag(name: str, value: Any) -> str | None:
    """Check that a value is True or False; returns the problem, or None."""
    return None if isinstance(value, bool) else _problem(name, "True or False", value)


def word(name: str, value: Any, allowed: Iterable[str]) -> str | None:
    """Check that a value is one of the allowed words; returns the problem, or None."""
    words = tuple(allowed)
    if isinstance(value, str) and value in words:
        return None
    return _problem(name, f"one of {', '.join(map(repr, words))}", value)


def positive(owner: str, described: object, *names: str) -> None:
    """Check that attributes of an object are finite numbers above zero; one error names all that are not.

    Args:
        owner: Name of the object in the message.
        described: The object.
        *names: Names of the attributes.

    Raises:
        InvalidValue: At least one attribute is no finite number above zero.
    """
    refuse(owner, *(number(name, getattr(described, name), above=0) for name in names))


def refuse(owner: str, *problems: str | None) -> None:
    """Raise one error for all problems, if there is any.

    Args:
        owner: Owner of the parameters, such as the name of a rule.
        *problems: Results of the checks above.

    Raises:
        InvalidValue: At least one problem is not None.
    """
    found = [problem for problem in problems if problem is not None]
    if found:
        raise InvalidValue(f"{owner}: {'; '.join(found)}.")


def _problem(name: str, allowed: str, value: object, hint: str = "") -> str:
    return f"{name} must be {allowed}, got {shown(value)}" + (f" ({hint})" if hint else "")
