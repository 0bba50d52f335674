"""Rules for populations in Brian2 by name: for spikes and for rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from neuro_decorr.rules.registry import Registry

if TYPE_CHECKING:
    from neuro_decorr.brian._rule import SpikingRule
    from neuro_decorr.brian.rates import RateRule

_RULES: Registry[SpikingRule | RateRule] = Registry("rule for populations in Brian2")

RuleType = TypeVar("RuleType", bound="type[SpikingRule | RateRule]")


def register(rule: RuleType) -> RuleType:
    """Make a rule known by its name; used as a class decorator.

    Args:
        rule: A final subclass of `SpikingRule` or `RateRule`.

    Returns:
        The same class.

    Raises:
        InvalidValue: Another rule has the name.
    """
    return _RULES.register(rule)


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
    return _RULES.get(name, parameters)


def names() -> list[str]:
    """Names of all registered rules, sorted."""
    return _RULES.names()


def table() -> list[dict[str, str]]:
    """The registered rules as a table: one dictionary a rule, the columns of the table of rate rules."""
    return _RULES.table()
