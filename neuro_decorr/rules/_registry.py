"""Rules by name."""

from __future__ import annotations

from typing import TypeVar

from neuro_decorr.rules._rule import Rule
from neuro_decorr.rules.registry import Registry

_RULES: Registry[Rule] = Registry("rule")

RuleType = TypeVar("RuleType", bound=Rule)


def register(rule: type[RuleType]) -> type[RuleType]:
    """Make a rule known by its name; used as a class decorator.

    Args:
        rule: A final subclass of `Rule`.

    Returns:
        The same class.

    Raises:
        InvalidValue: Another rule has the name.
    """
    return _RULES.register(rule)


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
    return _RULES.get(name, parameters)


def names() -> list[str]:
    """Names of all registered rules, sorted."""
    return _RULES.names()


def table() -> list[dict[str, str]]:
    """The registered rules as a table: one dictionary a rule, the same columns for each."""
    return _RULES.table()
