"""Inhibitory plasticity that brings the postsynaptic neuron to a target rate (Vogels 2011)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from brian2 import Hz, Quantity, ms

from neuro_decorr.brian._checks import number, quantity
from neuro_decorr.brian._registry import register
from neuro_decorr.brian._rule import SpikingRule


@register
@dataclass(frozen=True, kw_only=True)
class Vogels(SpikingRule):
    r"""Inhibitory spike-timing-dependent plasticity (STDP) with a target rate, as published.

    $$
    \text{spike of } j:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_i - 2 \rho_0 \tau), \qquad
    \text{spike of } i:\; w_{ij} \leftarrow w_{ij} + \eta\, x_j
    $$

    For independent spikes the mean change of a weight is $2 \eta \tau \nu_j (\nu_i - \rho_0)$ with the rates $\nu$: the
    postsynaptic rate goes to $\rho_0$ for any time step, since in steps of dt the rule replaces $\tau$ by
    $\tfrac{dt}{2} \coth(dt / (2 \tau)) = \tau (1 + (dt / \tau)^2 / 12 - \dots)$. Coincidences increase weights further
    (detailed balance), but this is a rule for rates: all-to-all within a population it decorrelates far less than
    `lateral_covariance`.

    Cost: 2 N updates of a weight per spike in an all-to-all population of N neurons; one float per synapse.

    Source: Vogels, Sprekeler, Zenke, Clopath, Gerstner (2011), Inhibitory plasticity balances excitation and
    inhibition in sensory pathways and memory networks, doi:10.1126/science.1211095.

    Attributes:
        target_rate: $\rho_0$ (Hz).
    """

    name = "vogels"
    title = "inhibition brings each postsynaptic neuron to a target rate"
    equation = "w <- w + rate (x_i - 2 rho_0 tau) at a spike of j, w + rate x_j at a spike of i"
    fixed_point_text = "postsynaptic rate rho_0 (for independent spikes)"
    locality = "traces of the two neurons"
    cost = "2 N a spike, all-to-all"
    source = "Vogels et al. 2011, doi:10.1126/science.1211095"

    rate: float = number(1e-2, above=0)
    trace_time: Quantity = quantity(20 * ms, companion=True)
    largest_weight: float = number(100.0, above="smallest_weight")
    target_rate: Quantity = quantity(5 * Hz)

    @property
    def seen_by_all(self) -> dict[str, str]:
        """Units of the shared variables that are read, with `window`, the mean trace per Hz of rate."""
        return {**super().seen_by_all, "window": "second"}

    @property
    def namespace(self) -> dict[str, Any]:
        """Values of the shared parameters in `model`, by name, with the target rate."""
        return {**super().namespace, "target_rate": self.target_rate}

    @property
    def on_pre(self) -> str:
        """Plasticity at a presynaptic spike: the postsynaptic trace less twice its mean at the target rate."""
        return self._step("target_trace - 2*target_rate*window")

    @property
    def on_post(self) -> str:
        """Plasticity at a postsynaptic spike: the presynaptic trace."""
        return self._step("source_trace")
