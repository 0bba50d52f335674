"""Rules for spiking populations by name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from neuro_decorr.brian._rule import SpikingRule
from neuro_decorr.errors import InvalidValue, unknown_name

_RULES: dict[str, type[SpikingRule]] = {}

RuleType = TypeVar("RuleType", bound=SpikingRule)


def register(rule: type[RuleType]) -> type[RuleType]:
    """Make a rule known by its name; used as a class decorator.

    Args:
        rule: A final subclass of `SpikingRule`.

    Returns:
        The same class.

    Raises:
        InvalidValue: Another rule has the name.
    """
    known = _RULES.get(rule.name)
    if known is not None and known is not rule:
        raise InvalidValue(f"a rule named '{rule.name}' exists already ({known.__qualname__}); choose another name.")
    _RULES[rule.name] = rule
    return rule


def get(name: str = "lateral_covariance", **parameters: Any) -> SpikingRule:
    """A rule for spiking populations by name.

    Args:
        name: One of `names()`.
        **parameters: The rule's parameters, with units; those left out take their defaults.

    Returns:
        The frozen rule.

    Raises:
        UnknownName: No rule has the name; the nearest one is named.
        InvalidValue: A parameter is unknown or outside its range, or has other units.
    """
    if name not in _RULES:
        raise unknown_name("rule for spiking populations", name, _RULES)
    rule = _RULES[name]
    allowed = [field.name for field in fields(rule)]
    unknown = [parameter for parameter in parameters if parameter not in allowed]
    if unknown:
        raise InvalidValue(
            f"rule '{name}' has no parameter {', '.join(map(repr, unknown))}; it has: {', '.join(allowed)}."
        )
    return rule(**parameters)


def names() -> list[str]:
    """Names of all registered rules, sorted."""
    return sorted(_RULES)


def table() -> list[dict[str, str]]:
    """The registered rules as a table: one dictionary a rule, the same columns for each."""
    return [
        {
            "name": rule.name,
            "what it does": rule.title,
            "update": rule.equation,
            "fixed point": rule.fixed_point_text,
            "local to": rule.locality,
            "source": rule.reference,
        }
        for rule in (_RULES[name] for name in names())
    ]
