"""Lateral inhibition that grows with the covariance of two neurons' spikes: the rule that decorrelates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from brian2 import Quantity, second

from neuro_decorr.brian._checks import check_choice, quantity
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
    neurons near their fixed point within the learning; a larger one scatters more, and a report says which is needed.

    Attributes:
        mean_time: Averaging time of the means of the traces, several seconds.
        moved_by: What moves a weight: `"spikes"`, as above, or a `"clock"` in every half of a trace time, by
            $\eta\, (x_i - \bar x_i)(x_j - \bar x_j)$. The mean change is the same, since the trace of a trace counts
            pairs with the same exponential; single weights scatter somewhat more. Large populations run faster: a
            neuron's incoming weights lie far apart in memory, and the clock goes through all of them in their order.
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

    mean_time: Quantity = quantity(10 * second, above="trace_time", companion=True)
    homeostasis: Homeostasis | None = field(default_factory=Homeostasis)
    schedule: Schedule | None = field(default_factory=Schedule)
    gain: Gain | None = field(default_factory=Gain)
    moved_by: Literal["spikes", "clock"] = "spikes"

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number or a quantity outside its range, or of other units; a choice that there is not.
        """
        super().__post_init__()
        check_choice(self, "moved_by", "spikes", "clock")

    @property
    def _entering(self) -> dict[int, float]:
        """A clock sees what there is before them."""
        return super()._entering if self.moved_by == "spikes" else {max(self._orders) + 1: 1.0}

    @property
    def seen_by_all(self) -> dict[str, str]:
        """With what products of deviations are multiplied, where a clock moves the weights."""
        return super().seen_by_all if self.moved_by == "spikes" else {**super().seen_by_all, "sampled": "Hz"}

    @property
    def namespace(self) -> dict[str, Any]:
        """With the time between two samples, in whole time steps."""
        return super().namespace | ({} if self.moved_by == "spikes" else {"sampling_time": self.trace_time / 2})

    @property
    def on_pre(self) -> str:
        """The postsynaptic trace against its mean."""
        return self._step("target_deviation") if self.moved_by == "spikes" else ""

    @property
    def on_post(self) -> str:
        """The presynaptic trace against its mean."""
        return self._step("source_deviation") if self.moved_by == "spikes" else ""

    @property
    def on_clock(self) -> str:
        """Both against their means."""
        return self._step("sampling_time*sampled*source_deviation*target_deviation") if self.moved_by == "clock" else ""
