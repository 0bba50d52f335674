"""Checks of parameters: each returns what is wrong with a value, or None; `refuse` reports all of it in one error."""

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
    """Of a value that must be a number.

    Args:
        name: Of the parameter.
        value: What was got.
        above: The number must be more than this.
        least: It must be this or more.
        below: It must be less than this.
        most: It must be this or less.
        finite: It must not be infinite.
        hint: What else to tell, such as what the bound means.
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


def whole_number(name: str, value: Any, *, least: int, hint: str = "") -> str | None:
    """Of a value that must be a whole number, of `least` or more."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return None
    return _problem(name, f"a whole number >= {least}", value, hint)


def flag(name: str, value: Any) -> str | None:
    """Of a value that must be True or False."""
    return None if isinstance(value, bool) else _problem(name, "True or False", value)


def word(name: str, value: Any, allowed: Iterable[str]) -> str | None:
    """Of a value that must be one of some words."""
    words = tuple(allowed)
    if isinstance(value, str) and value in words:
        return None
    return _problem(name, f"one of {', '.join(map(repr, words))}", value)


def positive(owner: str, described: object, *names: str) -> None:
    """Raise one error for all attributes, among those named, that are no finite numbers above zero.

    Args:
        owner: What has the attributes, for the message.
        described: The object itself.
        *names: Of the attributes.

    Raises:
        InvalidValue: At least one of them is not.
    """
    refuse(owner, *(number(name, getattr(described, name), above=0) for name in names))


def refuse(owner: str, *problems: str | None) -> None:
    """Raise one error for all problems, if there is any.

    Args:
        owner: What has the parameters, such as the name of a rule.
        *problems: What the checks above returned.

    Raises:
        InvalidValue: At least one problem is not None.
    """
    found = [problem for problem in problems if problem is not None]
    if found:
        raise InvalidValue(f"{owner}: {'; '.join(found)}.")


def _problem(name: str, allowed: str, value: object, hint: str = "") -> str:
    return f"{name} must be {allowed}, got {shown(value)}" + (f" ({hint})" if hint else "")
