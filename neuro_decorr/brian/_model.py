"""Equations of the user's in the synapses of a rule, which may also hold the rule's parameters one a synapse."""

from __future__ import annotations

from typing import Any

from brian2 import Equations, Synapses, get_logger
from brian2.equations.equations import PARAMETER, EquationError
from brian2.units.fundamentalunits import get_unit_for_display

from neuro_decorr.errors import InvalidValue

MOVING = "moving = int(learning*pace != 0) : 1 (shared)"
"""Whether a spike changes the weight, even to keep it within its bounds: an equation of every rule."""
MOVED_TIME = "moved_time : second (shared)"
"""How long the weights have moved, for a report."""


def own_equations(model: Any) -> Equations:
    """What the user gave, as equations; InvalidValue where they are none."""
    try:
        return model if isinstance(model, Equations) else Equations(str(model))
    except (EquationError, SyntaxError, ValueError) as error:
        first = " ".join(str(error).split())
        raise InvalidValue(f"model must be equations, such as model='label : 1', got {model!r}: {first}") from error


def with_own(model: str, own: Equations) -> Equations:
    """Equations of a rule and the user's, which come instead of those of the same name.

    Args:
        model: Of the rule.
        own: Of the user.

    Raises:
        InvalidValue: A parameter in other units.
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
    """The rule's parameters that have a value from it: those that are shared."""
    shared = {name for name, entry in own.items() if entry.type == PARAMETER and "shared" in entry.flags}
    linked = {name for name, entry in own.items() if "linked" in entry.flags}
    return {name: value for name, value in rule.namespace.items() if name not in own.names - (shared - linked)}


def says_which_learn(equations: Equations) -> bool:
    """Whether `learning` is a parameter of every synapse, and so says which of them are fixed."""
    learning = equations.get("learning")
    return learning is not None and learning.type == PARAMETER and not {"shared", "linked"} & set(learning.flags)


def tell_what_learns(synapses: Synapses, own: Equations) -> None:
    """Say so where the user declared `learning` for every synapse and set it for none."""
    if not says_which_learn(own):
        return
    try:
        learning = synapses.variables["learning"].get_value()
    except NotImplementedError:  # in a standalone program it is not known yet
        return
    if learning.size > 0 and not learning.any():
        get_logger(__name__).warn(
            f"no synapse of '{synapses.name}' learns: model declares 'learning', which is 0 until it is set, such as "
            f"{synapses.name}.learning = 'int(j < 50)'.",
            "nothing_learns",
            once=True,
        )
