"""Checks of parameters: each returns what is wrong with a value, or None; `refuse` reports all of it in one error."""

from __future__ import annotations

import math
from collections.abc import Iterable

from neuro_decorr.errors import InvalidValue, shown


def number(
    name: str, value: object, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> str | None:
    """Of a value that must be a finite number above a bound, or at least and at most one."""
    finite = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if finite and above < value and least <= value <= most:  # type: ignore[operator]  # a number, as seen
        return None
    bounds = ((">", above), (">=", least), ("<=", most))
    allowed = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if math.isfinite(bound))
    return f"{name} must be a finite number{allowed and ' '}{allowed}, got {shown(value)}"


def whole_number(name: str, value: object, *, least: int) -> str | None:
    """Of a value that must be a whole number of at least a bound."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return None
    return f"{name} must be a whole number >= {least}, got {shown(value)}"


def flag(name: str, value: object) -> str | None:
    """Of a value that must be True or False."""
    return None if isinstance(value, bool) else f"{name} must be True or False, got {shown(value)}"


def word(name: str, value: object, allowed: Iterable[str]) -> str | None:
    """Of a value that must be one of some words."""
    words = tuple(allowed)
    if isinstance(value, str) and value in words:
        return None
    return f"{name} must be one of {', '.join(map(repr, words))}, got {shown(value)}"


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
