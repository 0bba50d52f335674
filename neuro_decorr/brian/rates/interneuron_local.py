"""Interneurons that learn and damp the leading common modes of rate units in Brian2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from brian2 import NeuronGroup, Synapses, TimedArray, linked_var, second
from brian2.core.names import find_name

from neuro_decorr import rules
from neuro_decorr.brian._companion import give, set_values
from neuro_decorr.brian._registry import register
from neuro_decorr.brian._strings import assigned, declared
from neuro_decorr.brian.rates._companions import BEFORE, ELAPSED, PLASTIC, layer, part, regularly, sampler
from neuro_decorr.brian.rates._place import Place
from neuro_decorr.brian.rates._rule import RateRule
from neuro_decorr.errors import InvalidValue

_TURN = "turn = timestep(t, dt) % timestep(stimulus_time, dt) : integer (shared)"
"""Index of a time step within its stimulus: interneuron i responds in the step with turn i."""
_UNITS = f"""\
seen_output : {{unit}} (linked)
seen_inputs : {{unit}} (linked)
output = seen_output/unit_activity : 1
inputs : 1
left : 1
taken : 1
inhibition : 1
unit_activity : {{unit}} (shared, constant)
{ELAPSED}
{_TURN}"""
_ON_STEP = """\
elapsed += dt
inputs = int(turn == 0)*seen_inputs/unit_activity + int(turn > 0)*inputs
left = int(turn == 0)*inputs + int(turn > 0)*(left - taken)"""
_INTERNEURONS = f"""\
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
_ANSWER = "volley = int(i == turn)*heard + int(i != turn)*volley"
_AVERAGES = """\
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
_ON_TURN = "met = int(j == turn_post)*(left_pre - w*volley_post) + int(j != turn_post)*met"
"""Remainder of each unit's drive after the response of the interneuron whose turn it is."""
_ON_LEARNT = (
    "w = int(strength_post > 0)*w/(1 + plastic*whole_pre*(clip(sqrt(strength_post), 1, inf) - 1))"
    " + int(strength_post == 0)*random_start(0*second, i*N_post + j)"
)
"""The sum of squares of an interneuron's weights is kept at 1 at most; weights that are all zero get random values."""
_RELAY = "{inhibition}_post = inhibition_pre*unit_activity_pre : {unit} (summed)"
_LAYER = "power : 1"
_SUMS = "power_post = inputs_pre**2/N_pre : 1 (summed)"
_ORDER = """\
start of a stimulus: sums of the layer, interneurons, synapses, strength, synapses after that
every time step: activity, inhibition, synapses onto the units, equations of the units
end of a time step: companion, heard, interneurons, synapses, taken"""
_END = 10
"""Order of the first volley at the end of a time step, after the user's own statements."""


@register
@dataclass(frozen=True, kw_only=True)
class InterneuronLocal(RateRule):
    r"""Local rule `nd.rules.InterneuronLocal` in Brian2: k interneurons damp the k leading directions.

    $$\tau \dot x = -x + z - U \operatorname{diag}(g)\, n, \quad n = U^T x$$

    The weight w of the synapse from unit j to interneuron i is $U_{ji}$, and the synapse back has the same weight. The
    interneurons are fast compared with the units. They learn in the first volley of each stimulus, one after the other
    in its first k time steps, each from the remainder r of the earlier ones: $r \leftarrow z$, then in turn
    $u_i = U_i^T r,\; r \leftarrow r - U_i u_i$. At the end of the stimulus

    $$U_{ji} \leftarrow U_{ji} + \frac{\eta}{v_i} u_i\, r^{(i)}_j$$

    and power, variances and gains change as in `nd.rules`. The update is that of `nd.rules` for one row with `every` =
    1 and `preserve_power` = False (no scalar restores the power that the units lose): with all-to-all connections the
    weights follow those of `nd.rules`, whether the activity is settled or not. If all synapses of an interneuron are
    zero, they take the random start of `nd.rules` at the next stimulus; `set_weights` gives another start.

    Cost: 5 N k per time step and 5 N k per stimulus; two floats per synapse.

    Source: Sanger (1989), Optimal unsupervised learning in a single-layer linear feedforward neural network,
    doi:10.1016/0893-6080(89)90044-0; circuit of Lipshutz, Pehlevan, Chklovskii (2023), Interneurons accelerate learning
    dynamics in recurrent neural networks for statistical adaptation, arXiv:2209.10634.

    Attributes:
        rate: Smallest $\eta$, per stimulus, in (0, 1]; the first stimuli have a larger one, as in `nd.rules`.
        interneurons: Number k of interneurons, at most the number of time steps of a stimulus.
        damping: Damping c relative to the mean power; smaller values damp more.
        recruit: Variance of the input of an interneuron, in units of damping times mean power, above which it inhibits;
            0: all inhibit.
        fewest: Number of interneurons, the first ones, that inhibit at any variance.
        seed: Seed of the random initial directions.
    """

    described = rules.InterneuronLocal
    needs_inputs = True
    name = rules.InterneuronLocal.name
    title = rules.InterneuronLocal.title
    equation = rules.InterneuronLocal.equation
    fixed_point_text = rules.InterneuronLocal.fixed_point_text
    locality = rules.InterneuronLocal.locality
    cost = "5 N k a time step, 5 N k a stimulus"
    source = rules.InterneuronLocal.source

    rate: float = 1e-2
    interneurons: int = 16
    damping: float = 3.0
    recruit: float = 0.0
    fewest: int = 0
    seed: int = 0

    @property
    def library(self) -> rules.InterneuronLocal:
        """Rule of `nd.rules` with the same parameters, an update for every row, and no scalar that restores power."""
        return rules.InterneuronLocal(**vars(self), every=1, preserve_power=False)

    @property
    def model(self) -> str:
        """Equations of the weight, of both directions of the circuit, and of the first volley."""
        return (
            "w : 1\nmet : 1\n"
            "activity_post = w*output_pre : 1 (summed)\n"
            "inhibition_pre = w*gain_post*activity_post : 1 (summed)\n"
            "heard_post = w*left_pre : 1 (summed)\n"
            "taken_pre = w*volley_post*int(j == turn_post) : 1 (summed)\n"
            "strength_post = w**2 : 1 (summed)\n"
            f"{PLASTIC}\n{declared(self.namespace)}"
        )

    @property
    def on_stimulus(self) -> str:
        """Statement of the Hebbian update from the remainder of the drive."""
        return "w += weight_step_post*volley_post*met"

    @property
    def namespace(self) -> dict[str, Any]:
        """Values of the shared parameters of the synapses, by name."""
        return {"learning": 1.0}

    @property
    def _learning(self) -> dict[str, float]:
        """Values of the shared parameters of the interneurons, by name."""
        own = {"damping": self.damping, "recruit": self.recruit, "fewest": float(self.fewest)}
        return {"learning_rate": self.rate, **own}

    def _parts(self) -> dict[str, str]:
        return {
            "synapses, after that (random_start: the synapses of library.initial_state)": _ON_LEARNT,
            "synapses, at the end of a time step (third)": _ON_TURN,
            "companion of the units, which the synapses start from": _UNITS.format(unit="1"),
            "companion, at the end of a time step (first)": _ON_STEP,
            "interneurons": f"{_INTERNEURONS}\n{declared(self._learning)}",
            "parameters of the interneurons": assigned(self._learning),
            "interneurons, at the end of a time step (second)": _ANSWER,
            "interneurons, at the end of every stimulus, before the synapses": _AVERAGES,
            "synapses from the companion onto the units, one to one": _RELAY.format(inhibition="inhibition", unit="1"),
            "one neuron for the layer": _LAYER,
            "synapses of the companion onto it": _SUMS,
            "order": _ORDER,
        }

    def _make(self, place: Place, options: dict[str, Any]) -> Synapses:
        if self.interneurons > place.steps:
            raise InvalidValue(
                f"{self.name}: its {self.interneurons} interneurons respond one after the other, one a time step, and "
                f"a stimulus of {place.hold} has {place.steps} steps; use fewer interneurons or a smaller time step."
            )
        name, clock, first = find_name(options.pop("name", "synapses*")), place.whole.clock, place.whole.order
        units = sampler(
            place, f"{name}_units", ("output", "inputs"), _UNITS.format(unit=place.unit), _ON_STEP, order=_END
        )
        own = part(place, units)
        interneurons = NeuronGroup(
            self.interneurons,
            f"{_INTERNEURONS}\n{declared(self._learning)}",
            clock=clock,
            name=f"{name}_interneurons",
            namespace={},
        )
        set_values(interneurons, self._learning)
        set_values(interneurons, {"stimulus_time": place.hold, "unit_count": len(place.group)})
        start = self.library.initial_state(len(place.group), dtype=torch.float64)["synapses"].numpy()
        options["namespace"]["random_start"] = TimedArray(start.reshape(1, -1), dt=1 * second)
        synapses = Synapses(own, interneurons, self.model, name=name, **options)
        set_values(synapses, self.namespace)
        sums, summing = layer(own, f"{name}_layer", _LAYER, _SUMS, place.hold)
        interneurons.present, interneurons.whole = linked_var(sums, "power"), linked_var(units, "whole")
        interneurons.plastic = linked_var(synapses, "plastic")
        relaying = _RELAY.format(inhibition=place.inhibition, unit=place.unit)
        relay = Synapses(own, place.group, relaying, name=f"{name}_relay", namespace={})
        relay.connect(j="i")
        relay.summed_updaters[f"{place.inhibition}_post"].order = first - 1  # Brian2's order for a subgroup is later
        for variable, slot, order in (
            ("activity_post", "groups", first - 4),
            ("inhibition_pre", "groups", first - 3),  # the relay follows at first - 1, and then the units' equations
            ("heard_post", "end", _END + 1),
            ("taken_pre", "end", _END + 4),
            ("strength_post", "start", BEFORE + 3),
        ):
            synapses.summed_updaters[variable].when, synapses.summed_updaters[variable].order = slot, order
        regularly(interneurons, "answer", _ANSWER, clock=clock, when="end", order=_END + 2)
        regularly(synapses, "volley", _ON_TURN, clock=clock, when="end", order=_END + 3)
        regularly(interneurons, "averages", _AVERAGES, dt=place.hold, when="start", order=BEFORE + 1)
        regularly(synapses, "learning", self.on_stimulus, dt=place.hold, when="start", order=BEFORE + 2)
        regularly(synapses, "scaling", _ON_LEARNT, dt=place.hold, when="start", order=BEFORE + 4)
        give(synapses, interneurons, units)
        synapses.contained_objects.extend([units, interneurons, sums, summing, relay])
        return synapses
