"""Checks of a credit's parameters: all problems are reported at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from neuro_decorr.errors import InvalidValue


def positive(name: str, value: object) -> str | None:
    """The problem with a parameter that must be a finite number above zero, or None."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
        return None
    return f"{name} must be a finite number > 0, got {value!r}"


def integer(name: str, value: object, minimum: int) -> str | None:
    """The problem with a parameter that must be an integer of at least `minimum`, or None."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= minimum:
        return None
    return f"{name} must be an integer >= {minimum}, got {value!r}"


def boolean(name: str, value: object) -> str | None:
    """The problem with a parameter that must be True or False, or None."""
    return None if isinstance(value, bool) else f"{name} must be True or False, got {value!r}"


def one_of(name: str, value: object, allowed: Sequence[str]) -> str | None:
    """The problem with a parameter that must be one of some words, or None."""
    if isinstance(value, str) and value in allowed:
        return None
    return f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}"


def refuse(owner: str, *problems: str | None) -> None:
    """Raise one error for all problems, if there is any.

    Args:
        owner: Name of the credit whose parameters are checked.
        problems: What the checks above returned.

    Raises:
        InvalidValue: At least one problem is not None.
    """
    found = [problem for problem in problems if problem is not None]
    if found:
        raise InvalidValue(f"{owner}: {'; '.join(found)}.")
