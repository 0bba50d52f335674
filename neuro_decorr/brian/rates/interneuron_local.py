"""Interneurons that learn the leading common modes of rate units, and damp them, in Brian2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from brian2 import Synapses

from neuro_decorr import rules
from neuro_decorr.brian._registry import register
from neuro_decorr.brian.rates import _interneurons
from neuro_decorr.brian.rates._place import Place
from neuro_decorr.brian.rates._rule import RateRule, declared


@register
@dataclass(frozen=True, kw_only=True)
class InterneuronLocal(RateRule):
    r"""`nd.rules.InterneuronLocal` in Brian2: k interneurons damp the k leading directions, by local plasticity.

    $$\tau \dot x = -x + z - U \operatorname{diag}(g)\, n, \quad n = U^T x$$

    with w of the synapse from unit j to interneuron i as U_ji, the synapse back being the same one, and interneurons
    that are fast compared with the units. They learn in the first volley of each stimulus, one after the other in its
    first k time steps, each from what the earlier ones have left: r <- z, then in turn u_i = U_i r, r <- r - U_i u_i.
    At the end of the stimulus

    $$U_{ji} \leftarrow U_{ji} + \frac{\eta}{v_i} u_i\, r^{(i)}_j$$

    and power, variances and gains follow as in the library, of which this is the update for one row at `every` = 1 and
    `preserve_power` = False (the units are not scaled by what they lost): connected all to all the weights take its
    course, whether the activity is settled or not. While all synapses of an
    interneuron are zero they take the library's random start at the next stimulus; `set_weights` gives them another.

    Cost: 5 N k a time step and 5 N k a stimulus; two floats a synapse.

    Source: Sanger (1989), doi:10.1016/0893-6080(89)90044-0; circuit: Lipshutz et al. (2023), arXiv:2209.10634.

    Attributes:
        rate: The least eta, per stimulus, in (0, 1]; the first stimuli count for more, as in the library.
        interneurons: k.
        damping: Strength relative to the mean power; the smaller the stronger.
        recruit: Variance that an interneuron hears, in units of damping c, above which it inhibits; 0: all do.
        fewest: So many interneurons, the first ones, inhibit whatever they hear.
        seed: Of the random initial directions.
    """

    described = rules.InterneuronLocal
    needs_inputs = True
    name = rules.InterneuronLocal.name
    title = rules.InterneuronLocal.title
    equation = rules.InterneuronLocal.equation
    fixed_point_text = rules.InterneuronLocal.fixed_point_text
    locality = rules.InterneuronLocal.locality
    cost = "5 N k a time step, 5 N k a stimulus"
    reference = rules.InterneuronLocal.reference

    rate: float = 1e-2
    interneurons: int = 16
    damping: float = 3.0
    recruit: float = 0.0
    fewest: int = 0
    seed: int = 0

    @property
    def library(self) -> rules.InterneuronLocal:
        """The same rule of `nd.rules`, moving at every update, without the scalar that gives power back."""
        return rules.InterneuronLocal(**self.parameters(), every=1, preserve_power=False)

    @property
    def model(self) -> str:
        """The weight, both directions of the circuit, and the first volley."""
        return (
            "w : 1\nmet : 1\n"
            "activity_post = w*output_pre : 1 (summed)\n"
            "inhibition_pre = w*gain_post*activity_post : 1 (summed)\n"
            "heard_post = w*left_pre : 1 (summed)\n"
            "taken_pre = w*volley_post*int(j == turn_post) : 1 (summed)\n"
            "strength_post = w**2 : 1 (summed)\n"
            f"{declared(self.namespace)}"
        )

    @property
    def on_turn(self) -> str:
        """At the end of each time step: what the interneuron whose turn it is has left of each unit."""
        return "met = int(j == turn_post)*(left_pre - w*volley_post) + int(j != turn_post)*met"

    @property
    def on_stimulus(self) -> str:
        """Hebbian onto what is left."""
        return "w += weight_step_post*volley_post*met"

    @property
    def on_learnt(self) -> str:
        """After that: the sum of squares is at most 1, and synapses that have not started start."""
        scaling = "1 + learning*whole_pre*(clip(sqrt(strength_post), 1, inf) - 1)"
        return (
            f"w = int(strength_post > 0)*w/({scaling}) + int(strength_post == 0)*random_start(0*second, i*N_post + j)"
        )

    @property
    def namespace(self) -> dict[str, Any]:
        """Whether it learns, and the parameters."""
        return {"learning": 1.0}

    @property
    def interneuron_values(self) -> dict[str, float]:
        """The values of the shared parameters of the interneurons."""
        return {
            "learning_rate": self.rate,
            "damping": self.damping,
            "recruit": self.recruit,
            "fewest": float(self.fewest),
        }

    def _parts(self) -> dict[str, str]:
        values = "\n".join(f"{name} = {value}" for name, value in self.interneuron_values.items())
        return {
            "synapses, after that (random_start: the synapses of library.initial_state)": self.on_learnt,
            "synapses, at the end of a time step (third)": self.on_turn,
            "companion of the units, which the synapses start from": _interneurons.UNITS.format(unit="1"),
            "companion, at the end of a time step (first)": _interneurons.ON_STEP,
            "interneurons": f"{_interneurons.INTERNEURONS}\n{declared(self.interneuron_values)}",
            "parameters of the interneurons": values,
            "interneurons, at the end of a time step (second)": _interneurons.ANSWER,
            "interneurons, at the end of every stimulus, before the synapses": _interneurons.AVERAGES,
            "synapses from the companion onto the units, one to one": _interneurons.RELAY.format(
                inhibition="inhibition", unit="1"
            ),
            "one neuron for the layer": _interneurons.LAYER,
            "synapses of the companion onto it": _interneurons.SUMS,
            "order": _interneurons.ORDER,
        }

    def _make(self, place: Place, options: dict[str, Any]) -> Synapses:
        return _interneurons.circuit(self, place, options)
