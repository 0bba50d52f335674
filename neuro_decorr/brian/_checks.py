"""Parameters with units, checked by what they are declared to be, and groups: one line that says what to write."""

from __future__ import annotations

import math
from dataclasses import field, fields
from typing import Any

from brian2 import Equations, Quantity, Subgroup, get_unit, have_same_dimensions
from brian2.units.fundamentalunits import get_dimensions

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue


def number(default: float, *, above: float | str | None = None) -> Any:
    """A field of a rule that is a finite number without units.

    Args:
        default: Its value where none is given.
        above: The bound that it must exceed: a number, or the name of another field.
    """
    return field(default=default, metadata={"above": above})


def quantity(default: Quantity, *, above: str | None = None, companion: bool = False) -> Any:
    """A field of a rule that is one finite, positive quantity.

    Args:
        default: A quantity of its units.
        above: Name of another field, a quantity, that it must exceed.
        companion: Whether it is a parameter of the neurons' companions, under the same name.
    """
    metadata = {"above": above, "unit": get_unit(default.dim), "companion": companion}
    return field(default_factory=lambda: default, metadata=metadata)


def check_fields(rule: Any) -> None:
    """Check every field that was declared by `number` or `quantity`.

    Raises:
        InvalidValue: Numbers or quantities outside their range, or of other units; the message names all of them.
    """
    problems: dict[str, str | None] = {}
    for entry in fields(rule):
        if "above" not in entry.metadata:
            continue
        value, above = getattr(rule, entry.name), entry.metadata["above"]
        if isinstance(above, str):  # of another field; a wrong one has its own problem
            above = getattr(rule, above) if problems.get(above) is None else None
        if "unit" in entry.metadata:
            problems[entry.name] = _quantity(entry.name, value, entry.metadata["unit"], above)
        else:
            problems[entry.name] = checks.number(entry.name, value, above=above, hint="without units")
    checks.refuse(rule.name, *problems.values())


def check_count(rule: Any, name: str) -> None:
    """Raise InvalidValue unless a parameter is a whole number of at least 1."""
    checks.refuse(rule.name, checks.whole_number(name, getattr(rule, name), least=1))


def check_choice(rule: Any, name: str, *choices: str) -> None:
    """Raise InvalidValue unless a parameter is one of some words."""
    value = getattr(rule, name)
    if value not in choices:
        raise InvalidValue(f"{rule.name}: {name} must be {' or '.join(map(repr, choices))}, got {value!r}.")


def check_quantity(owner: str, name: str, value: Any, unit: Quantity) -> None:
    """Raise InvalidValue unless a value is one finite, positive quantity of a unit's dimensions."""
    checks.refuse(owner, _quantity(name, value, unit))


def _quantity(name: str, value: Any, unit: Quantity, above: Any = None) -> str | None:
    """Of a value that must be one finite quantity of a unit's dimensions, above 0 or another quantity."""
    if not have_same_dimensions(value, unit):
        got = getattr(get_dimensions(value), "__str__", lambda: "1")()
        return f"{name} needs units of {unit}, got {value!r} (units {got}); write {name}=20*{unit!r}"
    bound = 0.0 if above is None else float(above)
    if getattr(value, "shape", ()) != () or not bound < float(value) < math.inf:
        what = "positive" if above is None else f"above {above}"
        return f"{name} must be one finite quantity, {what}, got {value!r}"
    return None


def check_group(group: Any, role: str) -> None:
    """Raise InvalidValue unless a group emits spikes."""
    if not hasattr(group, "events"):
        raise InvalidValue(f"the {role} of the synapses must be a group of Brian2, got {type(group).__name__}.")
    if "spike" not in group.events:
        raise InvalidValue(
            f"the {role} '{group.name}' emits no spikes, from which lateral plasticity learns; give the NeuronGroup "
            "a threshold, such as threshold='v > -50*mV'."
        )


def check_step(rule: Any, group: Any) -> None:
    """Raise InvalidValue where the traces of a group decay within less than a time step."""
    if float(rule.trace_time) < float(group.clock.dt) * (1 - 1e-9):
        raise InvalidValue(
            f"{rule.name}: trace_time must be at least a time step of group '{group.name}', {group.clock.dt}, got "
            f"{rule.trace_time}: within less no two spikes of different steps count as together."
        )


def check_clashes(rule: Any, weight: str, *groups: Any) -> None:
    """Raise InvalidValue where the synapses would have a variable that their neurons have too.

    Args:
        rule: Whose model the synapses have.
        weight: What the weight is called in it.
        *groups: Of the neurons on both sides.
    """
    others = Equations(rule.model).names - {"w"}
    if not str(weight).isidentifier() or weight.startswith("_") or weight.endswith(("_pre", "_post")):
        raise InvalidValue(f"weight must be a name of a variable, such as weight='w_lateral', got {weight!r}.")
    if weight in others:
        raise InvalidValue(
            f"weight={weight!r} is the name of another variable of the rule '{rule.name}'; take another."
        )
    for group in groups:
        for name in sorted({weight, *others} & set(group.variables)):
            mend = (
                "call the weight otherwise, here with weight='w_lateral' and so in the drive"
                if name == weight
                else f"call it otherwise in your group, such as 'my_{name}'"
            )
            raise InvalidValue(f"group '{group.name}' has a variable '{name}', and so has '{rule.name}': {mend}.")


def whole_group(group: Any) -> Any:
    """The group itself, or the one that a subgroup is a part of."""
    return group.source if isinstance(group, Subgroup) else group  # a group may have a variable `source` of its own


def numbers(group: Any) -> range:
    """The numbers of its neurons within the whole group."""
    return range(group.start, group.stop) if isinstance(group, Subgroup) else range(len(group))
