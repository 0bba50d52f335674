"""Lateral inhibition that grows with the covariance of two neurons' spikes: the rule that decorrelates."""

from __future__ import annotations

from dataclasses import dataclass, field

from brian2 import Quantity, second

from neuro_decorr.brian._checks import quantity
from neuro_decorr.brian._registry import register
from neuro_decorr.brian._rule import SpikingRule
from neuro_decorr.brian.homeostasis import Homeostasis


@register
@dataclass(frozen=True, kw_only=True)
class LateralCovariance(SpikingRule):
    r"""Inhibition between two neurons grows while their spikes coincide more often than their rates explain.

    .. math:: \text{spike of } j:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_i - \bar x_i), \qquad
              \text{spike of } i:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_j - \bar x_j)

    x is a trace that each spike raises by one and that decays with the trace time, x-bar its slow mean. On average
    dw/dt is eta times the covariance of the two trains within the trace time, so w rests where that is zero: pairs
    are decorrelated, or w is at a bound. A pair that is less correlated than its rates explain loses inhibition.
    Without the homeostasis the same inhibition silences the population.

    Source: anti-Hebbian decorrelation of Foldiak (1990), doi:10.1007/BF02331346, in the spike-based, mean-subtracted
    form; traces of Vogels et al. (2011), doi:10.1126/science.1211095.

    Attributes:
        mean_time: Averaging time of the means of the traces, several seconds.
    """

    name = "lateral_covariance"
    title = "lateral inhibition decorrelates spikes, each neuron's rate kept"
    equation = "w <- w + rate (x_i - <x_i>) at a spike of j, and with i and j exchanged"
    fixed_point_text = "no covariance of spikes within the trace time (or w at a bound)"
    locality = "traces of the two neurons"
    cost = "2 N a spike, all-to-all"
    reference = "Foldiak 1990, doi:10.1007/BF02331346; Vogels et al. 2011, doi:10.1126/science.1211095"
    seen = ("deviation",)

    mean_time: Quantity = field(
        default_factory=lambda: 10 * second, metadata=quantity(second, above="trace_time", companion=True)
    )
    homeostasis: Homeostasis | None = field(default_factory=Homeostasis)

    @property
    def on_pre(self) -> str:
        """The postsynaptic trace against its mean."""
        return self._step("target_deviation")

    @property
    def on_post(self) -> str:
        """The presynaptic trace against its mean."""
        return self._step("source_deviation")
