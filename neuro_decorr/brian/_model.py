"""The user's own equations in the synapses of a rule; they may also declare parameters of the rule per synapse."""

from __future__ import annotations

from typing import Any

from brian2 import Equations, Synapses, get_logger
from brian2.equations.equations import PARAMETER, EquationError
from brian2.units.fundamentalunits import get_unit_for_display

from neuro_decorr.errors import InvalidValue

MOVING = "moving = int(learning*pace != 0) : 1 (shared)"
"""Equation of every rule: 1 while a spike changes the weight, even if only to keep it within its bounds."""
MOVED_TIME = "moved_time : second (shared)"
"""Time in which the weights have moved, for a report."""


def own_equations(model: Any) -> Equations:
    """Convert the user's model to equations; raises InvalidValue for anything else."""
    try:
        return model if isinstance(model, Equations) else Equations(str(model))
    except (EquationError, SyntaxError, ValueError) as error:
        first = " ".join(str(error).split())
        raise InvalidValue(f"model must be equations, such as model='label : 1', got {model!r}: {first}") from error


def with_own(model: str, own: Equations) -> Equations:
    """Combine the equations of a rule with the user's, which replace those of the same name.

    Args:
        model: Equations of the rule.
        own: Equations of the user.

    Returns:
        All equations.

    Raises:
        InvalidValue: The user's equation has other units.
    """
    if "learning" in own and "shared" not in own["learning"].flags:
        model = model.replace(MOVING, MOVING.removesuffix(" (shared)"))
    equations = Equations(model)
    for name in own.names & equations.names:
        if own[name].dim is not equations[name].dim:
            raise InvalidValue(
                f"model declares '{name}' in units of {own[name].unit}, and the rule has it in {equations[name].unit}; "
                f"write '{name} : {get_unit_for_display(equations[name].dim)}'."
            )
    return Equations([*(equation for name, equation in equations.items() if name not in own), *own.values()])


def set_by_rule(rule: Any, own: Equations) -> dict[str, Any]:
    """Values of the parameters that the rule sets: those that are shared."""
    shared = {name for name, entry in own.items() if entry.type == PARAMETER and "shared" in entry.flags}
    linked = {name for name, entry in own.items() if "linked" in entry.flags}
    return {name: value for name, value in rule.namespace.items() if name not in own.names - (shared - linked)}


def says_which_learn(equations: Equations) -> bool:
    """True if `learning` is a parameter of every synapse, which marks the synapses that are fixed."""
    learning = equations.get("learning")
    return learning is not None and learning.type == PARAMETER and not {"shared", "linked"} & set(learning.flags)


def tell_what_learns(synapses: Synapses, own: Equations) -> None:
    """Warn if the user declared `learning` for every synapse and set it for none."""
    if not says_which_learn(own):
        return
    try:
        learning = synapses.variables["learning"].get_value()
    except NotImplementedError:  # in a standalone program the value is not known yet
        return
    if learning.size > 0 and not learning.any():
        get_logger(__name__).warn(
            f"no synapse of '{synapses.name}' learns: model declares 'learning', which is 0 until it is set, such as "
            f"{synapses.name}.learning = 'int(j < 50)'.",
            "nothing_learns",
            once=True,
        )
