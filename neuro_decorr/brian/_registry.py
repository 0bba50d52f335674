"""Registry of rules for populations in Brian2, for spikes and for rates."""

from __future__ import annotations

from typing import Any

from neuro_decorr import rules
from neuro_decorr.errors import UnknownName
from neuro_decorr.registry import Registry
from neuro_decorr.rules._registry import COLUMNS

_RULES: Registry[Any] = Registry("rule for populations in Brian2", COLUMNS)

register = _RULES.register
"""Class decorator that registers a `SpikingRule` or a `RateRule` by its name."""

names = _RULES.names
"""Names of all rules for populations in Brian2, sorted."""

table = _RULES.table
"""Table of the rules, one row per rule, with the columns of the table of rate rules."""


def get(name: str = "lateral_covariance", **parameters: Any) -> Any:
    """Make a rule for populations in Brian2 by its name.

    Args:
        name: One of `names()`.
        **parameters: Parameters of the rule, with units; missing ones take their defaults.

    Returns:
        The frozen rule: a `SpikingRule`, or for rate units a `RateRule`.

    Raises:
        UnknownName: No rule has the name; the message gives the nearest one, or says that it is a rule of `nd.rules`.
        InvalidValue: A parameter is unknown, out of range, or has other units.
    """
    if name in rules.names() and name not in names():
        hint = " Its counterpart for spikes is 'feedback_inhibition', for rates 'interneuron_local'."
        raise UnknownName(
            f"'{name}' is a rule of nd.rules, for torch models: nd.rules.get('{name}'). Rules of nd.brian: "
            f"{', '.join(names())}.{hint if name == 'interneuron' else ''}"
        )
    return _RULES.get(name, **parameters)
