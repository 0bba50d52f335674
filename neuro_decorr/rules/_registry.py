"""Registry of the rules by name."""

from __future__ import annotations

from neuro_decorr.errors import UnknownName
from neuro_decorr.registry import Registry
from neuro_decorr.rules._rule import Rule

COLUMNS = ("name", "title", "equation", "fixed_point_text", "locality", "cost", "source")
"""Class attributes in which a rule describes itself, here and in Brian2: the columns of the tables."""

_RULES: Registry[Rule] = Registry("rule", COLUMNS, Rule)

FOR_SPIKES = ("correlation_measuring", "feedback_inhibition", "foldiak", "lateral_covariance", "vogels")
"""Names of the rules that only `nd.brian` has; a list, since Brian2 is an extra."""

register = _RULES.register
"""Class decorator that makes a rule known by its name."""

names = _RULES.names
"""Names of all rules, sorted."""

table = _RULES.table
"""Table of all rules, one row per rule with its name, title, equation, fixed_point_text, locality, cost and source (see
`Rule`). D is the decorrelation matrix of a layer of d units, C the second moment of its outputs x = D (z - mean), S the
covariance of its inputs, c their mean power, and k the number of sampled rows of a batch of n rows."""


def get(name: str, **parameters: object) -> Rule:
    """Make a rule by its name.

    Args:
        name: One of `names()`.
        **parameters: Parameters of the rule; missing ones take their defaults.

    Returns:
        The frozen rule.

    Raises:
        UnknownName: No rule has the name; the message gives the nearest one, or says that it is a rule of `nd.brian`.
        InvalidValue: A parameter is unknown or outside its range.
    """
    if name in FOR_SPIKES and name not in names():
        raise UnknownName(f"'{name}' is a rule of nd.brian, for spikes in Brian2: nd.brian.get('{name}').")
    return _RULES.get(name, **parameters)
