"""What rules for spikes and rules for rates do alike with their strings: declare, print, refuse others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from brian2 import Quantity, have_same_dimensions, second

from neuro_decorr.errors import InvalidValue


def declared(values: dict[str, Any]) -> str:
    """Declarations of shared parameters, times, rates or without units."""
    return "\n".join(f"{name} : {_unit(value)} (shared, constant)" for name, value in values.items())


def _unit(value: Any) -> str:
    if not isinstance(value, Quantity):
        return "1"
    return "second" if have_same_dimensions(value, second) else "Hz"


def assigned(values: dict[str, Any]) -> str:
    """Parameters and their values, a line each."""
    return "\n".join(f"{name} = {value}" for name, value in values.items())


def printed(rule: Any, parts: dict[str, str]) -> str:
    """What a rule adds to the user's model, to be read and pasted: text by heading."""
    return f"{rule.name}: {rule.title}\n" + "\n".join(f"\n# {part}\n{text}" for part, text in parts.items() if text)


def refuse(rule: Any, options: Collection[str], own: set[str]) -> None:
    """Raise InvalidValue for options of the synapses that are the rule's own."""
    if given := sorted(own.intersection(options)):
        raise InvalidValue(
            f"{', '.join(given)} of the synapses come from the rule '{rule.name}'; to change them, paste the strings "
            "of print(rule) into Synapses of your own."
        )
