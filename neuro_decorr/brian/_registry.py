"""Rules for populations in Brian2 by name: for spikes and for rates."""

from __future__ import annotations

from typing import Any

from neuro_decorr.registry import Registry
from neuro_decorr.rules._registry import COLUMNS

_RULES: Registry[Any] = Registry("rule for populations in Brian2", COLUMNS)

register = _RULES.register
"""Class decorator that makes a `SpikingRule` or a `RateRule` known by its name."""

names = _RULES.names
"""The names of all rules for populations in Brian2, sorted."""

table = _RULES.table
"""What each rule does, one row a rule, with the columns of the table of rate rules."""


def get(name: str = "lateral_covariance", **parameters: Any) -> Any:
    """A rule for populations in Brian2 by name.

    Args:
        name: One of `names()`.
        **parameters: The rule's parameters, with units; those left out take their defaults.

    Returns:
        The frozen rule: a `SpikingRule`, or for rate units a `RateRule`.

    Raises:
        UnknownName: No rule has the name; the nearest one is named.
        InvalidValue: A parameter is unknown or outside its range, or has other units.
    """
    return _RULES.get(name, **parameters)
