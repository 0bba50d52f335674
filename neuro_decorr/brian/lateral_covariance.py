"""Lateral inhibition that grows with the covariance of two neurons' spikes: the rule that decorrelates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from brian2 import Quantity, second

from neuro_decorr.brian._checks import check_choice, number, quantity
from neuro_decorr.brian._registry import register
from neuro_decorr.brian._rule import SpikingRule
from neuro_decorr.brian.gain import Gain
from neuro_decorr.brian.homeostasis import Homeostasis
from neuro_decorr.brian.schedule import Schedule


@register
@dataclass(frozen=True, kw_only=True)
class LateralCovariance(SpikingRule):
    r"""Inhibition between two neurons grows while their spikes coincide more often than their rates explain.

    $$
    \text{spike of } j:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_i - \bar x_i), \qquad
    \text{spike of } i:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_j - \bar x_j)
    $$

    x is a trace that each spike raises by one and that decays with the trace time, x-bar its slow mean. On average
    dw/dt is eta times the covariance of the two trains within the trace time, so w rests where that is zero: pairs
    are decorrelated, or w is at a bound. A pair that is less correlated than its rates explain loses inhibition.
    Without the homeostasis the same inhibition silences the population.

    Source: anti-Hebbian decorrelation of Foldiak (1990), doi:10.1007/BF02331346, in the spike-based, mean-subtracted
    form; traces of Vogels et al. (2011), doi:10.1126/science.1211095.

    By default the gain of the drive is measured, so that weights and the rate are about spikes, and all is held after
    400 s: `schedule=None` learns without end, `gain=None` takes the drive as it is. The default rate brings 20 to 400
    neurons to their fixed point in some tens of seconds; a larger one scatters more.

    Attributes:
        mean_time: Averaging time of the means of the traces, several seconds.
        moved_by: Whose spikes move a weight: those of `"both"` neurons, or those of the `"presynaptic"` one alone, by
            $2 \eta\, (x_i - \bar x_i)$ at the time $\tau \ln 2$ after the spike, when half of what the trace says of
            spikes near to it is of later ones. A spike of i that is s later than that of j then counts $e^{s/\tau}$
            for s below $\tau \ln 2$, instead of $e^{-|s|/\tau}$: as much in all, and as much for two that coincide.
            At once, it would see earlier spikes of i, which w_ji changes and not w_ij, and the two weights would drift
            apart. Single weights scatter more, and large populations run faster: a neuron's incoming weights lie far
            apart in memory.
    """

    name = "lateral_covariance"
    title = "lateral inhibition decorrelates spikes, each neuron's rate kept"
    equation = "w <- w + rate (x_i - <x_i>) at a spike of j, and with i and j exchanged"
    fixed_point_text = "no covariance of spikes within the trace time (or w at a bound)"
    locality = "traces of the two neurons"
    cost = "2 N a spike, all-to-all"
    source = "Foldiak 1990, doi:10.1007/BF02331346; Vogels et al. 2011, doi:10.1126/science.1211095"
    seen = ("deviation",)
    decorrelates = True

    rate: float = number(3e-3, above=0)
    mean_time: Quantity = quantity(10 * second, above="trace_time", companion=True)
    homeostasis: Homeostasis | None = field(default_factory=Homeostasis)
    schedule: Schedule | None = field(default_factory=Schedule)
    gain: Gain | None = field(default_factory=Gain)
    moved_by: Literal["both", "presynaptic"] = "both"

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number or a quantity outside its range, or of other units; a choice that there is not.
        """
        super().__post_init__()
        check_choice(self, "moved_by", "both", "presynaptic")

    @property
    def _late(self) -> Quantity | None:
        """So long that half of the trace is of spikes after the presynaptic one."""
        return self.trace_time * np.log(2) if self.moved_by == "presynaptic" else None

    @property
    def _entering(self) -> dict[int, float]:
        """Of spikes that are `_late` apart half is seen, since the mean is that of before and after the spikes."""
        if self.moved_by == "both":
            return super()._entering
        return {min(self._orders) - 1: 0.5, max(self._orders) + 1: 0.5}

    @property
    def on_pre(self) -> str:
        """The postsynaptic trace against its mean."""
        return self._step("target_deviation" if self.moved_by == "both" else "2*target_deviation")

    @property
    def on_post(self) -> str:
        """The presynaptic trace against its mean; nothing where presynaptic spikes alone move weights."""
        return self._step("source_deviation") if self.moved_by == "both" else ""
