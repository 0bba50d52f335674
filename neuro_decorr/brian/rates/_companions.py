"""Companions of rate rules, outside the user's group: the last activity of each unit, and one neuron for the layer."""

from __future__ import annotations

from typing import Any

from brian2 import CodeRunner, Equations, NeuronGroup, Quantity, Synapses, linked_var

from neuro_decorr.brian._checks import numbers
from neuro_decorr.brian._companion import give, set_values
from neuro_decorr.brian._strings import declared
from neuro_decorr.brian.rates._place import Place
from neuro_decorr.brian.rates._rule import RateRule
from neuro_decorr.errors import InvalidValue

ELAPSED = """\
elapsed : second (shared)
stimulus_time : second (shared, constant)
whole = int(elapsed + dt/2 >= stimulus_time) : 1 (shared)"""
"""`whole`: 1 if the synapses have run since the beginning of the stimulus, at the time when the weights move."""
PLASTIC = "frozen : 1 (shared, constant)\nplastic = learning*(1 - frozen) : 1 (shared)"
"""The user sets `learning`, `freeze` and `thaw` set `frozen`: neither overwrites the other."""
BEFORE = -10
"""Order of statements at the start of the first step of a stimulus, before the user's own statements."""


def sampler(
    place: Place, name: str, variables: tuple[str, ...], equations: str, statements: str, order: int = 0
) -> NeuronGroup:
    """Make the companion of the whole group's units, linked to their variables.

    Args:
        place: The user's variables.
        name: Name of the companion.
        variables: Those of `output` and `inputs` that the equations declare as `seen_...`.
        equations: Equations of the companion.
        statements: Statements at the end of every time step.
        order: Order of the statements.

    Returns:
        The companion.
    """
    group = place.whole
    made = NeuronGroup(
        len(group), equations, clock=group.clock, name=name, namespace=dict(group.namespace or {}), method="euler"
    )
    for variable in variables:
        setattr(made, f"seen_{variable}", linked_var(group, getattr(place, variable)))
    set_values(made, {"unit_activity": place.scale, "stimulus_time": place.hold})
    regularly(made, "sampling", statements, clock=group.clock, when="end", order=order)
    return made


def regularly(group: Any, what: str, code: str, **times: Any) -> None:
    """Run a statement regularly; unlike `run_regularly` this does not add synapses to their source.

    Args:
        group: Group that the statement belongs to.
        what: Ending of the name of the statement.
        code: The statement.
        **times: `dt` or `clock`, and `when` and `order`.
    """
    group.contained_objects.append(CodeRunner(group, "stateupdate", code=code, name=f"{group.name}_{what}", **times))


def part(place: Place, companion: NeuronGroup) -> Any:
    """Part of a companion that belongs to the user's subgroup."""
    if place.group is place.whole:
        return companion
    own = numbers(place.group)
    return companion[own.start : own.stop]


def layer(units: Any, name: str, equations: str, sums: str, hold: Quantity) -> tuple[NeuronGroup, Synapses]:
    """Make one neuron that sums over the units of a layer, once a stimulus.

    Args:
        units: Units to sum over.
        name: Name of the neuron.
        equations: Equations of the neuron.
        sums: Summed variables, as the model of the synapses onto the neuron.
        hold: Duration of a stimulus.

    Returns:
        The neuron, and the synapses onto it.
    """
    neuron = NeuronGroup(1, equations, dt=hold, name=name, namespace={})
    summing = Synapses(units, neuron, sums, name=f"{name}_sums", namespace={})
    summing.connect()
    for updater in summing.summed_updaters.values():
        updater.when, updater.order = "start", BEFORE
    return neuron, summing


def pair_model(rule: RateRule, output: str = "output", inhibition: str = "inhibition", unit: str = "1") -> str:
    """Equations of the weight, of the inhibition, and of linked variables of the two units and of the layer.

    Args:
        rule: The rule.
        output: Name of the user's variable of the activity.
        inhibition: Name of the user's variable of the inhibition.
        unit: Unit of both variables.

    Returns:
        Equations of the synapses.
    """
    linked = "".join(f"{name} : 1 (linked)\n" for name in rule.linked)
    return (
        f"w : 1\n{inhibition}_post = w*{output}_pre : {unit} (summed)\n{linked}"
        f"whole_stimulus : 1 (linked, shared)\n{PLASTIC}\n{declared(rule.namespace)}"
    )


def _sampled(rule: RateRule) -> tuple[str, ...]:
    """Variables of the units that the rule reads."""
    return ("output", "inputs") if rule.needs_inputs else ("output",)


def pair_parts(rule: RateRule, unit: str = "1") -> dict[str, str]:
    """Text of the companion that samples the variables of the units, without units, in the last step of a stimulus."""
    lines = [f"seen_{name} : {unit} (linked)\n{name} : 1" for name in _sampled(rule)]
    return {
        "companion of the units": "\n".join([*lines, f"unit_activity : {unit} (shared, constant)", ELAPSED]),
        "companion, at the end of a time step": "\n".join(
            ["elapsed += dt", *(f"{name} = seen_{name}/unit_activity" for name in _sampled(rule))]
        ),
    }


def pairs(rule: RateRule, place: Place, options: dict[str, Any]) -> Synapses:
    """Make synapses between the units, linked to their companion; the user connects them.

    Args:
        rule: The rule.
        place: The user's variables.
        options: Options of `brian2.Synapses`.

    Returns:
        The synapses.

    Raises:
        InvalidValue: The group has variables with names that the synapses need.
    """
    model = Equations(pair_model(rule, place.output, place.inhibition, place.unit))
    taken = sorted(model.names & set(place.whole.variables))
    if taken:
        raise InvalidValue(
            f"variables of group '{place.whole.name}' have names that the synapses of rule '{rule.name}' need: "
            f"{', '.join(taken)}; rename them in your equations."
        )
    synapses = Synapses(place.group, place.group, model=model, **options)
    summing = synapses.summed_updaters[f"{place.inhibition}_post"]
    summing.order = place.whole.order - 1  # for a subgroup, Brian2 would sum after the units' equations, a step late
    set_values(synapses, rule.namespace)
    equations, statements = pair_parts(rule, place.unit).values()
    units = sampler(place, f"{synapses.name}_target_traces", _sampled(rule), equations, statements)
    synapses.whole_stimulus = linked_var(units, "whole")
    for side, index in (("source", "_synaptic_pre"), ("target", "_synaptic_post")):
        for variable in _sampled(rule):
            if f"{side}_{variable}" in rule.linked:
                setattr(synapses, f"{side}_{variable}", linked_var(units, variable, index=index))
    regularly(synapses, "learning", rule.on_stimulus, dt=place.hold, when="start", order=BEFORE + 2)
    give(synapses, units, units)
    synapses.contained_objects.append(units)
    return synapses
