"""The circuit of interneurons: its equations and statements, and how they are put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from brian2 import NeuronGroup, Synapses, TimedArray, linked_var, second
from brian2.core.names import find_name

from neuro_decorr.brian._companion import set_values
from neuro_decorr.brian.rates import _companions
from neuro_decorr.brian.rates._place import Place
from neuro_decorr.brian.rates._rule import declared
from neuro_decorr.errors import InvalidValue

if TYPE_CHECKING:
    from neuro_decorr.brian.rates.interneuron_local import InterneuronLocal

_TURN = "turn = timestep(t, dt) % timestep(stimulus_time, dt) : integer (shared)"
"""The place of a time step within its stimulus: interneuron i answers in the step with turn i."""
UNITS = f"""\
seen_output : {{unit}} (linked)
seen_inputs : {{unit}} (linked)
output = seen_output/unit_activity : 1
inputs : 1
left : 1
taken : 1
inhibition : 1
unit_activity : {{unit}} (shared, constant)
{_companions.ELAPSED}
{_TURN}"""
ON_STEP = """\
elapsed += dt
inputs = int(turn == 0)*seen_inputs/unit_activity + int(turn > 0)*inputs
left = int(turn == 0)*inputs + int(turn > 0)*(left - taken)"""
INTERNEURONS = f"""\
activity : 1
heard : 1
volley : 1
strength : 1
variance : 1
power : 1
updates : 1
gain : 1
weight_step : 1
present : 1 (linked)
plastic : 1 (linked)
whole : 1 (linked)
stimulus_time : second (shared, constant)
unit_count : 1 (shared, constant)
{_TURN}"""
ANSWER = "volley = int(i == turn)*heard + int(i != turn)*volley"
AVERAGES = """\
moving = plastic*whole*int(present > 1e-30)
updates += moving
counted = clip(present, 0, 1e4*power + int(power == 0)*present)
loudness = counted/(present + int(present == 0))
newest = clip(4/(4 + updates), learning_rate, 1)
averaging = moving*newest/(1 + newest*unit_count/(1 + damping))
power += moving*(int(updates == 1) + int(updates > 1)*averaging)*(counted - power)
variance += averaging*(loudness*volley**2 - variance)
weight_step = averaging*loudness/(variance + 0.001*power + int(power == 0))
relative = variance/(damping*(power + int(power == 0)))
gain = int(recruit == 0 or relative > recruit or i < fewest)*(sqrt(1 + relative) - 1)"""
RELAY = "{inhibition}_post = inhibition_pre*unit_activity_pre : {unit} (summed)"
LAYER = "power : 1"
SUMS = "power_post = inputs_pre**2/N_pre : 1 (summed)"
ORDER = """\
start of a stimulus: sums of the layer, interneurons, synapses, strength, synapses after that
every time step: activity, inhibition, synapses onto the units, equations of the units
end of a time step: companion, heard, interneurons, synapses, taken"""
_END = 10
"""Order of the first volley, at the end of a time step, after statements of the user's own."""


def circuit(rule: InterneuronLocal, place: Place, options: dict[str, Any]) -> Synapses:
    """Synapses from the units' companion to interneurons and back, to be connected by the user.

    Args:
        rule: The rule.
        place: The user's variables.
        options: Of `brian2.Synapses`.

    Raises:
        InvalidValue: More interneurons than units, or than time steps in a stimulus.
    """
    if rule.interneurons > place.steps:
        raise InvalidValue(
            f"{rule.name}: its {rule.interneurons} interneurons answer one after the other, one a time step, and a "
            f"stimulus of {place.hold} has {place.steps} steps; use fewer interneurons or a smaller time step."
        )
    name, clock, first = find_name(options.pop("name", "synapses*")), place.whole.clock, place.whole.order
    units = _companions.sampler(
        place, f"{name}_units", ("output", "inputs"), UNITS.format(unit=place.unit), ON_STEP, order=_END
    )
    part = _companions.part(place, units)
    interneurons = NeuronGroup(
        rule.interneurons,
        f"{INTERNEURONS}\n{declared(rule.interneuron_values)}",
        clock=clock,
        name=f"{name}_target_traces",
        namespace={},
    )
    set_values(interneurons, {**rule.interneuron_values, "stimulus_time": place.hold, "unit_count": len(place.group)})
    start = rule.library.initial_state(len(place.group), dtype=torch.float64)["synapses"].numpy()
    options["namespace"]["random_start"] = TimedArray(start.reshape(1, -1), dt=1 * second)
    synapses = Synapses(part, interneurons, rule.model, name=name, **options)
    set_values(synapses, rule.namespace)
    layer, summing = _companions.layer(part, f"{name}_layer", LAYER, SUMS, place.hold)
    interneurons.present, interneurons.whole = linked_var(layer, "power"), linked_var(units, "whole")
    interneurons.plastic = linked_var(synapses, "learning")
    relay = Synapses(
        part,
        place.group,
        RELAY.format(inhibition=place.inhibition, unit=place.unit),
        name=f"{name}_relay",
        namespace={},
    )
    relay.connect(j="i")
    _schedule(
        synapses,
        activity_post=("groups", first - 4),
        inhibition_pre=("groups", first - 3),  # the relay follows at first - 1, and then the units' equations
        heard_post=("end", _END + 1),
        taken_pre=("end", _END + 4),
        strength_post=("start", _companions.BEFORE + 3),
    )
    regularly, before = _companions.regularly, _companions.BEFORE
    regularly(interneurons, "answer", ANSWER, clock=clock, when="end", order=_END + 2)
    regularly(synapses, "volley", rule.on_turn, clock=clock, when="end", order=_END + 3)
    regularly(interneurons, "averages", AVERAGES, dt=place.hold, when="start", order=before + 1)
    regularly(synapses, "learning", rule.on_stimulus, dt=place.hold, when="start", order=before + 2)
    regularly(synapses, "scaling", rule.on_learnt, dt=place.hold, when="start", order=before + 4)
    synapses.contained_objects.extend([units, interneurons, layer, summing, relay])
    return synapses


def _schedule(synapses: Synapses, **times: tuple[str, int]) -> None:
    """When each sum over the synapses is taken: slot and order."""
    for variable, (slot, order) in times.items():
        synapses.summed_updaters[variable].when, synapses.summed_updaters[variable].order = slot, order
