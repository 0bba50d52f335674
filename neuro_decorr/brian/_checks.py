"""Checks of parameters with units, and of groups: one line that says what to write instead."""

from __future__ import annotations

import math
from typing import Any

from brian2 import Quantity, have_same_dimensions
from brian2.units.fundamentalunits import get_dimensions

from neuro_decorr.errors import InvalidValue


def check_number(rule: Any, name: str, above: float = -math.inf) -> None:
    """Raise InvalidValue unless a parameter is a finite number above a bound."""
    value = getattr(rule, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (above < value < math.inf):
        bound = "" if above == -math.inf else f" above {above:g}"
        raise InvalidValue(f"{rule.name}: {name} must be a finite number{bound} (without units), got {value!r}.")


def check_quantity(rule: Any, name: str, unit: Quantity, above: Any = None) -> None:
    """Raise InvalidValue unless a parameter is one finite quantity of a unit's dimensions, above 0 or another."""
    value = getattr(rule, name)
    example = f"{name}=20*{unit}"
    if not have_same_dimensions(value, unit):
        got = getattr(get_dimensions(value), "__str__", lambda: "1")()
        raise InvalidValue(f"{rule.name}: {name} needs units of {unit}, got {value!r} (units {got}); write {example}.")
    bound = 0.0 if above is None else float(above)
    if getattr(value, "shape", ()) != () or not bound < float(value) < math.inf:
        what = "positive" if above is None else f"above {above}"
        raise InvalidValue(f"{rule.name}: {name} must be one finite quantity, {what}, got {value!r}.")


def check_group(group: Any, role: str) -> None:
    """Raise InvalidValue unless a group emits spikes."""
    if not hasattr(group, "events"):
        raise InvalidValue(f"the {role} of the synapses must be a group of Brian2, got {type(group).__name__}.")
    if "spike" not in group.events:
        raise InvalidValue(
            f"the {role} '{group.name}' emits no spikes, from which lateral plasticity learns; give the NeuronGroup "
            "a threshold, such as threshold='v > -50*mV'."
        )


def whole_group(group: Any) -> Any:
    """The group itself, or the one that a subgroup is a part of."""
    return getattr(group, "source", group)
