"""What rate rules hold outside of the user's group: what each unit showed last, and one neuron for the layer."""

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
"""`whole`: whether a stimulus was seen from its beginning, at the time when the weights move."""
PLASTIC = "frozen : 1 (shared, constant)\nplastic = learning*(1 - frozen) : 1 (shared)"
"""`learning` is the user's, `frozen` is what `freeze` and `thaw` set: neither overwrites the other."""
BEFORE = -10
"""Order of what happens at the start of the first step of a stimulus, before statements of the user's own."""


def sampler(
    place: Place, name: str, variables: tuple[str, ...], equations: str, statements: str, order: int = 0
) -> NeuronGroup:
    """The companion of the whole group's units, linked to their variables.

    Args:
        place: The user's variables.
        name: Of the companion.
        variables: Of `output` and `inputs`, which the equations declare as `seen_...`.
        equations: Its equations.
        statements: At the end of every time step.
        order: Of the statements.
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
    """Run a statement again and again, as `run_regularly` does, which would also put synapses into their source.

    Args:
        group: What it belongs to.
        what: Ending of its name.
        code: The statement.
        **times: `dt` or `clock`, and `when` and `order`.
    """
    group.contained_objects.append(CodeRunner(group, "stateupdate", code=code, name=f"{group.name}_{what}", **times))


def part(place: Place, companion: NeuronGroup) -> Any:
    """The part of a companion that belongs to the user's subgroup."""
    if place.group is place.whole:
        return companion
    own = numbers(place.group)
    return companion[own.start : own.stop]


def layer(units: Any, name: str, equations: str, sums: str, hold: Quantity) -> tuple[NeuronGroup, Synapses]:
    """One neuron that sums over the units of a layer, once a stimulus.

    Args:
        units: What it sums over.
        name: Of the neuron.
        equations: Of the neuron.
        sums: Summed variables, as a model of synapses onto it.
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
    """The weight, the inhibition, and what the two units and the layer show (linked).

    Args:
        rule: The rule.
        output: Name of the user's variable.
        inhibition: Name of the user's variable.
        unit: Of both.
    """
    linked = "".join(f"{name} : 1 (linked)\n" for name in rule.linked)
    return (
        f"w : 1\n{inhibition}_post = w*{output}_pre : {unit} (summed)\n{linked}"
        f"whole_stimulus : 1 (linked, shared)\n{PLASTIC}\n{declared(rule.namespace)}"
    )


def _sampled(rule: RateRule) -> tuple[str, ...]:
    """The variables of the units that the rule sees."""
    return ("output", "inputs") if rule.needs_inputs else ("output",)


def pair_parts(rule: RateRule, unit: str = "1") -> dict[str, str]:
    """The companion of the units that samples their variables, free of units, in the last step of a stimulus."""
    lines = [f"seen_{name} : {unit} (linked)\n{name} : 1" for name in _sampled(rule)]
    return {
        "companion of the units": "\n".join([*lines, f"unit_activity : {unit} (shared, constant)", ELAPSED]),
        "companion, at the end of a time step": "\n".join(
            ["elapsed += dt", *(f"{name} = seen_{name}/unit_activity" for name in _sampled(rule))]
        ),
    }


def pairs(rule: RateRule, place: Place, options: dict[str, Any]) -> Synapses:
    """Synapses of the units with each other, linked to a companion of them, to be connected by the user.

    Args:
        rule: The rule.
        place: The user's variables.
        options: Of `brian2.Synapses`.

    Raises:
        InvalidValue: The group has variables of the synapses' names.
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
    summing.order = place.whole.order - 1  # of a subgroup, Brian2 would sum after the units' equations, a step late
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
