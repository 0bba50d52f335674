"""Checks of parameters with units and of groups; every error is one line that says what to write."""

from __future__ import annotations

import math
from dataclasses import field, fields
from typing import Any

import numpy as np
from brian2 import Equations, Quantity, Subgroup, get_unit, have_same_dimensions, second
from brian2.units.fundamentalunits import get_dimensions

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, shown


def number(default: float, *, above: float | str | None = None) -> Any:
    """Declare a field of a rule that is a finite number without units.

    Args:
        default: Default value.
        above: Bound that the number must exceed: a number, or the name of another field.

    Returns:
        The field of the dataclass.
    """
    return field(default=default, metadata={"above": above})


def quantity(default: Quantity, *, above: str | None = None, companion: bool = False) -> Any:
    """Declare a field of a rule that is one finite, positive quantity.

    Args:
        default: Default value; it sets the units.
        above: Name of another field, a quantity, that this one must exceed.
        companion: True for a parameter of the neurons' companions, which has the same name there.

    Returns:
        The field of the dataclass.
    """
    metadata = {"above": above, "example": default, "companion": companion}
    return field(default_factory=lambda: default, hash=False, metadata=metadata)  # quantities have no hash


def plain_numbers(rule: Any) -> None:
    """Convert NumPy numbers in the fields of a rule to Python's, so that they print, compare and hash alike."""
    for entry in fields(rule):
        value = getattr(rule, entry.name)
        if isinstance(value, np.ndarray | np.generic) and not isinstance(value, Quantity) and value.ndim == 0:
            object.__setattr__(rule, entry.name, value.item())


def check_fields(rule: Any) -> None:
    """Check every field that was declared by `number` or `quantity`.

    Raises:
        InvalidValue: Numbers or quantities are out of range or have other units; the message names all of them.
    """
    plain_numbers(rule)
    problems: dict[str, str | None] = {}
    for entry in fields(rule):
        if "above" not in entry.metadata:
            continue
        value, above = getattr(rule, entry.name), entry.metadata["above"]
        if isinstance(above, str):  # the name of another field; a wrong value there is a problem of its own
            above = getattr(rule, above) if problems.get(above) is None else None
        if "example" in entry.metadata:
            problems[entry.name] = _quantity(entry.name, value, entry.metadata["example"], above)
        else:
            problems[entry.name] = checks.number(entry.name, value, above=above, hint="without units")
    checks.refuse(rule.name, *problems.values())


def check_count(rule: Any, name: str) -> None:
    """Raise InvalidValue unless a parameter is a whole number of at least 1."""
    checks.refuse(rule.name, checks.whole_number(name, getattr(rule, name), least=1))


def check_choice(rule: Any, name: str, *choices: str) -> None:
    """Raise InvalidValue unless a parameter is one of the choices."""
    value = getattr(rule, name)
    if value not in choices:
        raise InvalidValue(f"{rule.name}: {name} must be {' or '.join(map(repr, choices))}, got {value!r}.")


def check_quantity(owner: str, name: str, value: Any, example: Quantity) -> None:
    """Raise InvalidValue unless a value is one finite, positive quantity of the dimensions of an example."""
    checks.refuse(owner, _quantity(name, value, example))


def _quantity(name: str, value: Any, example: Quantity, above: Any = None) -> str | None:
    """Problem of a value that must be one finite quantity of the dimensions of an example, above 0 or a bound."""
    if not isinstance(value, Quantity) or not have_same_dimensions(value, example):
        bare = isinstance(value, int | float | np.number) and not isinstance(value, Quantity) and value > 0
        got = f"{value!r} (units {get_dimensions(value)})" if isinstance(value, Quantity) else shown(value)
        meant = _written(float(value if bare else example), example)
        return f"{name} needs units of {get_unit(example.dim)}, got {got}; write {name}={meant}"
    bound = 0.0 if above is None else float(above)
    if getattr(value, "shape", ()) != () or not bound < float(value) < math.inf:
        what = "positive" if above is None else f"above {above}"
        return f"{name} must be one finite quantity, {what}, got {value!r}"
    return None


def _written(value: float, like: Quantity) -> str:
    """Text of a time or a rate as a user writes it, with milliseconds below a second."""
    if have_same_dimensions(like, second):
        return f"{value * 1e3:g}*ms" if value < 1 else f"{value:g}*second"
    return f"{value:g}*{get_unit(like.dim)}"


def event_names(on_event: Any) -> dict[str, str]:
    """Names of the events that count as presynaptic and as postsynaptic spikes, by 'pre' and 'post'."""
    if isinstance(on_event, str):
        return {"pre": on_event, "post": on_event}
    if not isinstance(on_event, dict) or not {"pre", "post"}.issuperset(on_event):
        raise InvalidValue(
            "on_event must be the name of an event, or a dict with the names for 'pre' and 'post', such as "
            f"on_event={{'pre': 'burst', 'post': 'spike'}}, got {on_event!r}."
        )
    return {"pre": "spike", "post": "spike"} | on_event


def check_group(group: Any, role: str, event: str = "spike") -> None:
    """Raise InvalidValue unless a group emits spikes, or events that count as spikes."""
    if not hasattr(group, "events"):
        raise InvalidValue(f"the {role} of the synapses must be a group of Brian2, got {type(group).__name__}.")
    if event in group.events:
        return
    if event != "spike":
        raise InvalidValue(
            f"on_event: the {role} '{group.name}' has no event {event!r}, which the NeuronGroup gets by "
            f"events={{{event!r}: ...}}; it has: {', '.join(group.events) or 'none'}."
        )
    raise InvalidValue(
        f"the {role} '{group.name}' emits no spikes, and lateral plasticity learns from spikes; give the NeuronGroup "
        "a threshold, such as threshold='v > -50*mV'."
    )


def check_step(rule: Any, group: Any) -> None:
    """Raise InvalidValue if the trace time is shorter than a time step of the group."""
    if float(rule.trace_time) < float(group.clock.dt) * (1 - 1e-9):
        raise InvalidValue(
            f"{rule.name}: trace_time must be at least a time step of group '{group.name}', {group.clock.dt}, got "
            f"{rule.trace_time}; a shorter trace does not relate spikes of different time steps."
        )


def check_sampling(rule: Any, group: Any, time: Quantity) -> None:
    """Raise InvalidValue if the period of the clock that moves weights is no whole number of a group's time steps."""
    steps = float(time) / float(group.clock.dt)
    if round(steps) < 1 or abs(steps - round(steps)) > 1e-6:
        raise InvalidValue(
            f"{rule.name}: the weights move every {time}, which is no whole number of the time steps of group "
            f"'{group.name}', now {group.clock.dt}; set the time step first, such as defaultclock.dt, and make the "
            "synapses after it."
        )


def check_clashes(rule: Any, weight: str, own: Equations, *groups: Any) -> None:
    """Raise InvalidValue if a variable of the synapses has the name of a variable of their neurons.

    Args:
        rule: Rule of the synapses.
        weight: Name of the weight.
        own: The user's own equations in the synapses.
        *groups: Presynaptic and postsynaptic group.

    Raises:
        InvalidValue: A name is taken, or the name of the weight is not allowed.
    """
    others = Equations(rule.model).names - {"w"}
    if declared := sorted(own.names & {weight, *others} - set(rule.namespace)):
        raise InvalidValue(
            f"model declares '{declared[0]}', a variable of the rule '{rule.name}': rename it. The parameters that a "
            f"model may declare, for one value per synapse, are {', '.join(rule.namespace)}."
        )
    if not str(weight).isidentifier() or weight.startswith("_") or weight.endswith(("_pre", "_post")):
        raise InvalidValue(
            f"weight must be the name of a variable without a leading _ and without the ending _pre or _post, such as "
            f"weight='w_lateral', got {weight!r}."
        )
    if weight in others:
        raise InvalidValue(
            f"weight={weight!r} is the name of another variable of the rule '{rule.name}'; choose another name, such "
            "as weight='w_lateral'."
        )
    for group in groups:
        for name in sorted({weight, *others, *own.names} & set(group.variables)):
            mend = (
                "rename the weight, with weight='w_lateral' here and w_lateral in the drive"
                if name == weight
                else f"rename it in your group, such as 'my_{name}'"
            )
            owner = "model" if name in own.names else f"'{rule.name}'"
            raise InvalidValue(f"group '{group.name}' has a variable '{name}', and so has {owner}: {mend}.")


def whole_group(group: Any) -> Any:
    """The group, or the whole group of a subgroup."""
    return group.source if isinstance(group, Subgroup) else group  # a group may have a variable `source` of its own


def numbers(group: Any) -> range:
    """Indices of a group's or subgroup's neurons within the whole group."""
    return range(group.start, group.stop) if isinstance(group, Subgroup) else range(len(group))
