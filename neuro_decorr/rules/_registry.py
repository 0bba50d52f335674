"""Rules by name."""

from __future__ import annotations

from typing import TypeVar

from neuro_decorr.errors import InvalidValue, unknown_name
from neuro_decorr.rules._rule import Rule, parameter_names

_RULES: dict[str, type[Rule]] = {}

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
    known = _RULES.get(rule.name)
    if known is not None and known is not rule:
        raise InvalidValue(f"a rule named '{rule.name}' exists already ({known.__qualname__}); choose another name.")
    _RULES[rule.name] = rule
    return rule


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
    if name not in _RULES:
        raise unknown_name("rule", name, _RULES)
    rule = _RULES[name]
    allowed = parameter_names(rule)
    unknown = [parameter for parameter in parameters if parameter not in allowed]
    if unknown:
        raise InvalidValue(
            f"rule '{name}' has no parameter {', '.join(map(repr, unknown))}; it has: {', '.join(allowed)}."
        )
    return rule(**parameters)  # type: ignore[arg-type]  # the names were checked, the values check themselves


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
            "cost of an update": rule.cost,
            "source": rule.reference,
        }
        for rule in (_RULES[name] for name in names())
    ]
