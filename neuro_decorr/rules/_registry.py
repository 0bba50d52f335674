"""Rules by name."""

from __future__ import annotations

from neuro_decorr.registry import Registry
from neuro_decorr.rules._rule import Rule

COLUMNS = ("name", "title", "equation", "fixed_point_text", "locality", "cost", "source")
"""The class attributes in which a rule describes itself, here and in Brian2: the columns of the tables."""

_RULES: Registry[Rule] = Registry("rule", COLUMNS, Rule)

register = _RULES.register
"""Class decorator that makes a rule known by its name."""

names = _RULES.names
"""The names of all rules, sorted."""

table = _RULES.table
"""What each rule does, one row a rule: name, title, equation, fixed_point_text, locality, cost, source; see `Rule`."""


def get(name: str, **parameters: object) -> Rule:
    """A rule by name.

    Args:
        name: One of `names()`.
        **parameters: The rule's parameters; those left out take their defaults.

    Returns:
        The frozen rule.

    Raises:
        UnknownName: No rule has the name; the nearest one is named.
        InvalidValue: A parameter is unknown or outside its range.
    """
    return _RULES.get(name, **parameters)
