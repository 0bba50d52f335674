"""Lateral inhibition that grows with the covariance of two neurons' spikes and so decorrelates them."""

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
    r"""Lateral inhibition that grows while the spikes of two neurons coincide more often than their rates explain.

    $$
    \text{spike of } j:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_i - \bar x_i), \qquad
    \text{spike of } i:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_j - \bar x_j)
    $$

    Each spike raises the trace x by one; x decays with the trace time, and $\bar x$ is its slow mean. The mean change
    $\dot w$ is $\eta$ times the covariance of the two trains within the trace time, so w stops where the covariance is
    zero: pairs are decorrelated, or w is at a bound. A pair that is less correlated than its rates explain loses
    inhibition. Without the homeostasis the same inhibition would silence the population.

    By default the gain of the drive is measured, so that weights and the rate are in units of spikes, and everything is
    held after 400 s: `schedule=None` learns without end, `gain=None` leaves the units of the drive. The default rate
    brings 20 to 400 neurons near their fixed point within the learning; with a larger rate weights scatter more, and a
    report says if another rate is needed.

    Cost: 2 N updates of a weight per spike in an all-to-all population of N neurons; one float per synapse.

    Source: anti-Hebbian decorrelation of Foldiak (1990), Forming sparse representations by local anti-Hebbian learning,
    doi:10.1007/BF02331346, in the spike-based, mean-subtracted form; traces of Vogels, Sprekeler, Zenke, Clopath,
    Gerstner (2011), Inhibitory plasticity balances excitation and inhibition in sensory pathways and memory networks,
    doi:10.1126/science.1211095.

    Attributes:
        mean_time: Averaging time of the means of the traces (time units), several seconds.
        moved_by: Cause of a change of weight: `"spikes"`, as above, or a `"clock"` once every half of a trace time, by
            $\eta\, (x_i - \bar x_i)(x_j - \bar x_j)$. The mean change is the same, since the product of two traces
            weights pairs of spikes by the same exponential; single weights scatter somewhat more. Large populations run
            faster with the clock, which goes through all weights in the order of memory, whereas a neuron's incoming
            weights lie far apart.
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
            InvalidValue: A number or a quantity is out of range or has other units; `moved_by` is unknown.
        """
        super().__post_init__()
        check_choice(self, "moved_by", "spikes", "clock")

    @property
    def _entering(self) -> dict[int, float]:
        """Share of a spike by order; with a clock, spikes enter after all samples of their time step."""
        return super()._entering if self.moved_by == "spikes" else {max(self._orders) + 1: 1.0}

    @property
    def seen_by_all(self) -> dict[str, str]:
        """Units of the shared variables that are read; with a clock also the factor of products of deviations."""
        return super().seen_by_all if self.moved_by == "spikes" else {**super().seen_by_all, "sampled": "Hz"}

    @property
    def namespace(self) -> dict[str, Any]:
        """Values of the shared parameters in `model`, by name; with a clock also the time between two samples."""
        return super().namespace | ({} if self.moved_by == "spikes" else {"sampling_time": self.trace_time / 2})

    @property
    def on_pre(self) -> str:
        """Plasticity at a presynaptic spike: the postsynaptic trace less its mean."""
        return self._step("target_deviation") if self.moved_by == "spikes" else ""

    @property
    def on_post(self) -> str:
        """Plasticity at a postsynaptic spike: the presynaptic trace less its mean."""
        return self._step("source_deviation") if self.moved_by == "spikes" else ""

    @property
    def on_clock(self) -> str:
        """Plasticity at a tick of the clock: the product of both traces less their means."""
        return self._step("sampling_time*sampled*source_deviation*target_deviation") if self.moved_by == "clock" else ""
