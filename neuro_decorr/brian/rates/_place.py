"""Variables, unit and stimuli of a user's model on which a rate rule acts, checked before anything is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from brian2 import DimensionMismatchError, NeuronGroup, Quantity, get_unit, have_same_dimensions, second
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER
from brian2.parsing.sympytools import str_to_sympy, sympy_to_str
from brian2.units.fundamentalunits import DIMENSIONLESS, get_dimensions
from brian2.utils.stringtools import get_identifiers
from sympy import Derivative, Symbol  # type: ignore[import-untyped]  # it carries no types

from neuro_decorr.brian._checks import whole_group
from neuro_decorr.errors import InvalidValue, unknown_name


@final
@dataclass(frozen=True)
class Place:
    """Description of rate units by their user.

    Attributes:
        group: The NeuronGroup or a subgroup.
        output: Name of the variable of the activity x.
        inhibition: Name of the variable that receives the lateral input M x, in the units of x.
        inputs: Name of the variable of the drive z, in the same units; empty if the rule needs none.
        scale: Activity that counts as 1 in the rule.
        hold: Duration of each stimulus.
    """

    group: Any
    output: str
    inhibition: str
    inputs: str
    scale: Quantity
    hold: Quantity

    @property
    def unit(self) -> str:
        """Unit of the activity, as equations write it."""
        return "1" if get_dimensions(self.scale) is DIMENSIONLESS else repr(get_unit(get_dimensions(self.scale)))

    @property
    def whole(self) -> Any:
        """The group, or the whole group of a subgroup."""
        return whole_group(self.group)

    @property
    def steps(self) -> int:
        """Number of time steps of a stimulus."""
        return round(float(self.hold) / float(self.group.clock.dt))


def check_place(
    place: Place, needs_inputs: bool, least: Any, time_constant: Quantity | None, namespace: dict[str, Any]
) -> None:
    """Check the names, the units and the times of a place.

    Args:
        place: Description by the user.
        needs_inputs: True if the rule learns from the drive.
        least: Number of time constants that a stimulus must last.
        time_constant: Time constant of the activity; None: derived from its equation.
        namespace: Namespace of the caller, for constants of the equations.

    Raises:
        InvalidValue: Something does not fit; the message is one line that says what to write instead.
        UnknownName: The group lacks a variable.
    """
    whole = place.whole
    if not isinstance(whole, NeuronGroup):
        raise InvalidValue(f"rate rules work on a NeuronGroup of rate units, got {type(place.group).__name__}.")
    if needs_inputs and not place.inputs:
        raise InvalidValue("this rule learns from the drive of each unit too: name its variable, such as inputs='z'.")
    dimensions = _dimensions(place, "output", place.output)
    if not have_same_dimensions(place.scale, Quantity(1, dim=dimensions)):
        unit = repr(get_unit(dimensions))
        raise InvalidValue(
            f"'{place.output}' has units of {unit}, and rules have none: give the activity that counts as 1 in these "
            f"units, such as scale=10*{unit}; got scale={place.scale!r}."
        )
    if np.shape(place.scale) != () or not 0 < float(place.scale) < math.inf:
        raise InvalidValue(f"scale must be one finite activity above zero, got {place.scale!r}.")
    for what, name in (("inhibition", place.inhibition), ("inputs", place.inputs)):
        if name and _dimensions(place, what, name) is not dimensions:
            raise InvalidValue(
                f"{what} must have the units of the output '{place.output}', since they add up, and '{name}' of group "
                f"'{whole.name}' has others; declare it as '{name} : {place.unit}'."
            )
    taker = whole.equations.get(place.inhibition)
    if taker is None or taker.type != PARAMETER or {"constant", "shared"} & set(taker.flags):
        raise InvalidValue(
            f"inhibition must be a variable that synapses can set at every time step; declare "
            f"'{place.inhibition} : {place.unit}' in the equations of group '{whole.name}', and subtract it there."
        )
    _check_times(place, least, time_constant, namespace)


def check_linear(place: Place, rule: str) -> None:
    """Raise InvalidValue if the equations show that the output does not respond linearly to its inhibition."""
    equations = place.whole.equations
    substituted = dict(equations.get_substituted_expressions(include_subexpressions=True))
    if place.output not in substituted:
        return
    own = {place.output, place.inhibition, *equations.diff_eq_names}
    slopes = [_slope(substituted[place.output].code, name) for name in own]
    symbols = [Symbol(name, real=True) for name in own]
    if any(slope is None or slope.has(Derivative) or slope.has(*symbols) for slope in slopes):
        raise InvalidValue(
            f"the rule '{rule}' needs units that respond linearly to their inhibition, and '{place.output}' of group "
            f"'{place.whole.name}' rectifies or saturates: the weights would grow without bound or not decorrelate. "
            "Use nd.brian.get('anti_hebbian'), which learns from activities alone."
        )


def _slope(code: str, variable: str) -> Any:
    """Derivative of an expression by a variable; None for a comparison, which Sympy cannot differentiate."""
    try:
        return str_to_sympy(code).diff(Symbol(variable, real=True))
    except AttributeError:
        return None


def _dimensions(place: Place, what: str, name: str) -> Any:
    """Dimensions of a variable of the group."""
    if name not in place.whole.variables:
        known = [known for known in place.whole.equations.names if not known.startswith("_")]
        raise unknown_name(f"variable of group '{place.whole.name}' for {what}", name, known)
    return place.whole.variables[name].dim


def _check_times(place: Place, least: Any, time_constant: Quantity | None, namespace: dict[str, Any]) -> None:
    for what, time in (("hold", place.hold), ("time_constant", time_constant)):
        if time is None:
            continue
        if not have_same_dimensions(time, second) or np.shape(time) != () or not 0 < float(time) < math.inf:
            raise InvalidValue(f"{what} must be one finite duration above zero, such as {what}=100*ms, got {time!r}.")
    step, hold = float(place.group.clock.dt), float(place.hold)
    if place.steps < 2 or abs(place.steps * step - hold) > 1e-6 * step:
        below = max(2, math.floor(hold / step)) * step
        raise InvalidValue(
            f"hold, the duration of each stimulus, must be a whole number of at least 2 time steps of group "
            f"'{place.whole.name}' ({step * second}), got {place.hold}; use {below * second}, or another time step."
        )
    if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least < math.inf:
        raise InvalidValue(f"least_hold must be a number of time constants, 0 or more, got {least!r}.")
    if least == 0:
        return
    longest = float(time_constant) if time_constant is not None else _time_constant(place, namespace)
    if longest is None:
        raise InvalidValue(
            f"the time constant of '{place.output}' cannot be derived from the equations of group "
            f"'{place.whole.name}'; give it, such as time_constant=10*ms."
        )
    if hold < least * longest * (1 - 1e-9):
        raise InvalidValue(
            f"a stimulus must be held for {least:g} time constants of '{place.output}' for the activity to settle, "
            f"here {least * longest * second}, got hold={place.hold}; hold the stimulus longer, or pass least_hold="
            f"{hold / longest:.3g} to learn from activity that has not settled."
        )


def _time_constant(place: Place, namespace: dict[str, Any]) -> float | None:
    """Longest time constant of the output, -1 / (dx'/dx); None if it cannot be derived from the equations."""
    equation = place.whole.equations.get(place.output)
    if equation is None or equation.type != DIFFERENTIAL_EQUATION:
        return None
    slope = _slope(equation.expr.code, place.output)
    if slope is None:
        return None
    code = sympy_to_str(slope)
    identifiers = get_identifiers(code)
    try:
        found = place.whole.resolve_all(identifiers, run_namespace=namespace, user_identifiers=identifiers)
        if any(getattr(variable, "dynamic", False) or name == place.output for name, variable in found.items()):
            return None
        values = {name: variable.get_value() for name, variable in found.items()}
        rates = -np.asarray(eval(code, {"__builtins__": {}}, values), dtype=float)
    except (KeyError, TypeError, NotImplementedError, NameError, DimensionMismatchError):
        return None
    return float((1 / rates).max()) if rates.size and (rates > 0).all() else None
