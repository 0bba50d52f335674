"""Lateral inhibition that grows with the product of a unit's drive and its neighbours' activity, in Brian2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from brian2 import Synapses, linked_var

from neuro_decorr import rules
from neuro_decorr.brian._registry import register
from neuro_decorr.brian.rates import _companions
from neuro_decorr.brian.rates._place import Place
from neuro_decorr.brian.rates._rule import RateRule

_LAYER = "input_power : 1\noutput_power : 1\ngain : 1"
_SUMS = "input_power_post = inputs_pre**2 : 1 (summed)\noutput_power_post = output_pre**2 : 1 (summed)"
_GAIN = """\
active = int(input_power > 0 and output_power > 0)
gain = active*sqrt(input_power/(output_power + 1 - active)) + 1 - active"""


@register
@dataclass(frozen=True, kw_only=True)
class Lateral(RateRule):
    r"""Lateral rule, the published form of `nd.rules.Lateral`, in Brian2: inhibition learns from drive times activity.

    $$I + M \leftarrow (I + M + \eta\, z x^T) / g, \quad g = \lVert z \rVert / \lVert x \rVert$$

    after every stimulus; the weight w of the synapse from j to i is $M_{ij}$. It is the update of `nd.rules` for one
    row: with all-to-all connections, autapses included, the weights follow those of `nd.rules`, as far as the activity
    is settled. Without autapses (`connect(condition="i != j")`) the off-diagonal weights learn in the same way, and
    units do not inhibit themselves.

    The units must be linear, since the update removes correlations only for $x = (I + M)^{-1} z$: with rectifying units
    weights grow without bound, with saturating units they do not decorrelate. Such units are refused; `anti_hebbian`,
    which learns from activities alone, decorrelates them.

    For single stimuli the rate must be well below $1 / |x|^2$, and correlations stay at about
    $1.5\, (\eta |x_i|^2 / 2)^{1/2}$: choose a smaller rate for more units.

    Cost: $N^2$ per time step for the sums, as for any lateral synapses; $5 N^2$ per stimulus for learning; one float
    per synapse.

    Source: local form of Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780.

    Attributes:
        rate: $\eta$, per stimulus and per unit of input power.
    """

    described = rules.Lateral
    needs_inputs = True
    needs_linear_units = True
    name = rules.Lateral.name
    title = rules.Lateral.title
    equation = "M_ij <- M_ij + rate z_i x_j, I + M <- (I + M) / g, D = (I + M)^-1"
    fixed_point_text = "C = c I, <|x|> about <|z|>"
    locality = "drive of i, activity of j, and a scalar a layer"
    cost = "N^2 a time step, 5 N^2 a stimulus"
    source = rules.Lateral.source

    linked = ("source_output", "target_inputs", "layer_gain")

    rate: float = 1e-3

    @property
    def library(self) -> rules.Rule:
        """Rule of `nd.rules` in the published form, whose rate is per unit of input power."""
        return rules.Lateral(rate=self.rate, form="published")

    @property
    def model(self) -> str:
        """Equations of the weight, of the inhibition, and of linked variables of the two units and the layer."""
        return _companions.pair_model(self)

    @property
    def on_stimulus(self) -> str:
        """Statement of the update M <- (I + M + rate z x^T) / g - I, as an increment that is zero while frozen."""
        hebbian = "learning_rate*target_inputs*source_output"
        return f"w += plastic*whole_stimulus*((1 - layer_gain)*(w + int(i == j)) + {hebbian})/layer_gain"

    @property
    def namespace(self) -> dict[str, Any]:
        """Values of the shared parameters: learning and its rate."""
        return {"learning": 1.0, "learning_rate": self.rate}

    def _parts(self) -> dict[str, str]:
        return {
            **_companions.pair_parts(self),
            "one neuron for the layer": _LAYER,
            "synapses of the companion onto it": _SUMS,
            "that neuron, at the end of every stimulus": _GAIN,
            "order": "start of a stimulus: sums of the layer, its neuron, synapses\nend of a time step: companion",
        }

    def _make(self, place: Place, options: dict[str, Any]) -> Synapses:
        synapses = _companions.pairs(self, place, options)
        units = _companions.part(place, synapses.companions.target)
        layer, summing = _companions.layer(units, f"{synapses.name}_layer", _LAYER, _SUMS, place.hold)
        _companions.regularly(layer, "gain", _GAIN, dt=place.hold, when="start", order=_companions.BEFORE + 1)
        synapses.layer_gain = linked_var(layer, "gain")
        synapses.contained_objects.extend([layer, summing])
        return synapses
