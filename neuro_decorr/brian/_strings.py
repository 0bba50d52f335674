"""Strings common to rules for spikes and rules for rates: declarations, printed text, refused options."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from brian2 import Quantity, have_same_dimensions, second

from neuro_decorr.errors import InvalidValue


def declared(values: dict[str, Any]) -> str:
    """Declare shared parameters: times, rates or numbers without units."""
    return "\n".join(f"{name} : {_unit(value)} (shared, constant)" for name, value in values.items())


def _unit(value: Any) -> str:
    if not isinstance(value, Quantity):
        return "1"
    return "second" if have_same_dimensions(value, second) else "Hz"


def assigned(values: dict[str, Any]) -> str:
    """List parameters and their values, one per line."""
    return "\n".join(f"{name} = {value}" for name, value in values.items())


def printed(rule: Any, parts: dict[str, str]) -> str:
    """Text of all additions of a rule to the user's model, part by part under its heading."""
    return f"{rule.name}: {rule.title}\n" + "\n".join(f"\n# {part}\n{text}" for part, text in parts.items() if text)


def refuse(rule: Any, options: Collection[str], own: set[str]) -> None:
    """Raise InvalidValue for options of the synapses that the rule sets."""
    if given := sorted(own.intersection(options)):
        raise InvalidValue(
            f"{', '.join(given)} of the synapses come from the rule '{rule.name}'; to change them, paste the strings "
            "of print(rule) into Synapses of your own."
        )
