"""Synapses whose weights measure correlations, for circuits of excitation and inhibition (King 2013)."""

from __future__ import annotations

from dataclasses import dataclass

from brian2 import Quantity, second

from neuro_decorr.brian._checks import number, quantity
from neuro_decorr.brian._registry import register
from neuro_decorr.brian._rule import SpikingRule


@register
@dataclass(frozen=True, kw_only=True)
class CorrelationMeasuring(SpikingRule):
    r"""Synapse whose weight measures the excess of coincidences over those that the rates explain.

    $$
    \text{spike of } j:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_i - \bar x_i (1 + w_{ij})), \qquad
    \text{spike of } i:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_j - \bar x_j (1 + w_{ij}))
    $$

    The fixed point is $w = \langle y x \rangle / (\langle y \rangle \langle x \rangle) - 1$, with coincidences within
    the trace time. Weights are at least zero, so the drive sets the sign of the effect. For Dale's law use one set of
    synapses from E to I (`ge_post += w*mV`) and one from I to E (`gi_post -= w*mV`), which learn independently;
    inhibition then follows the correlations through the interneurons. The published network keeps rates by adaptive
    thresholds; here a `homeostasis` keeps them, if one is given.

    Cost: 2 N updates of a weight per spike in an all-to-all population of N neurons; one float per synapse.

    Source: King, Zylberberg, DeWeese (2013), Inhibitory interneurons decorrelate excitatory cells to drive sparse code
    formation in a spiking model of V1, doi:10.1523/JNEUROSCI.4188-12.2013.

    Attributes:
        mean_time: Averaging time of the means of the traces (time units), several seconds.
    """

    name = "correlation_measuring"
    title = "weights measure correlations, for E-I circuits that keep Dale's law"
    equation = "w <- w + rate (x_i - <x_i> (1 + w)) at a spike of j, and with i and j exchanged"
    fixed_point_text = "w = <y x> / (<y> <x>) - 1"
    locality = "traces of the two neurons and the weight"
    cost = "2 N a spike, all-to-all"
    source = "King, Zylberberg, DeWeese 2013, doi:10.1523/JNEUROSCI.4188-12.2013"
    seen = ("trace", "mean")

    largest_weight: float = number(10.0, above="smallest_weight")
    mean_time: Quantity = quantity(10 * second, above="trace_time", companion=True)

    @property
    def on_pre(self) -> str:
        """Plasticity at a presynaptic spike: the postsynaptic trace less its mean times 1 + w."""
        return self._step("target_trace - target_mean*(1 + w)")

    @property
    def on_post(self) -> str:
        """Plasticity at a postsynaptic spike: the presynaptic trace less its mean times 1 + w."""
        return self._step("source_trace - source_mean*(1 + w)")
