"""Synapses that measure a correlation instead of removing it: circuits of excitation and inhibition (King 2013)."""

from __future__ import annotations

from dataclasses import dataclass

from brian2 import Quantity, second

from neuro_decorr.brian._checks import number, quantity
from neuro_decorr.brian._registry import register
from neuro_decorr.brian._rule import SpikingRule


@register
@dataclass(frozen=True, kw_only=True)
class CorrelationMeasuring(SpikingRule):
    r"""A weight comes to rest at the relative excess of coincidences over what rates explain.

    $$
    \text{spike of } j:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_i - \bar x_i (1 + w_{ij})), \qquad
    \text{spike of } i:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_j - \bar x_j (1 + w_{ij}))
    $$

    It rests at $w = \langle y x \rangle / (\langle y \rangle \langle x \rangle) - 1$, with coincidences counted within
    the trace time. Weights are at least zero, so signs are the drives': for Dale's law use one set of synapses from E
    to I (`ge_post += w*mV`), one from I to E (`gi_post -= w*mV`), each learning on its own; inhibition then follows the
    correlation through the interneurons. The published network keeps rates by adapting thresholds; here a `homeostasis`
    does, where one is given.

    Source: King, Zylberberg, DeWeese (2013), Inhibitory interneurons decorrelate excitatory cells to drive sparse code
    formation in a spiking model of V1, doi:10.1523/JNEUROSCI.4188-12.2013.

    Attributes:
        mean_time: Averaging time of the means of the traces, several seconds.
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
        """The postsynaptic trace against its mean, times what was measured so far."""
        return self._step("target_trace - target_mean*(1 + w)")

    @property
    def on_post(self) -> str:
        """The presynaptic trace against its mean, times what was measured so far."""
        return self._step("source_trace - source_mean*(1 + w)")
