"""The rule of lateral inhibition between spiking neurons: the twin of the one for Brian2."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue
from neuro_decorr.norse.homeostasis import Homeostasis, ThresholdHomeostasis


@final
@dataclass(frozen=True, kw_only=True)
class LateralCovariance:
    r"""Inhibition between two neurons grows while their spikes coincide more often than their rates explain.

    $$
    \text{spike of } j:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_i - \bar x_i), \qquad
    \text{spike of } i:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_j - \bar x_j)
    $$

    The rule `neuro_decorr.brian.LateralCovariance`, its parameters in seconds and Hz: x is a trace that each spike
    raises by one and that decays with the trace time, x-bar its slow mean. Two spikes of one time step are one pair:
    the spike of j does not see that of i, and the spike of i sees that of j. A `NeuronPlasticity` that steps after
    every time step of one sequence does what Brian2 does. One that steps after whole sequences adds up their
    changes, each with the weights and means of before, as a mean over the sequences.

    At rest there is no covariance of spikes within the trace time, or w is at a bound. Without the homeostasis the same
    inhibition silences the population.

    Source: Foldiak (1990), doi:10.1007/BF02331346, in the spike-based, mean-subtracted form; traces of Vogels et al.
    (2011), doi:10.1126/science.1211095.

    Attributes:
        rate: eta, change of a weight for a trace of one spike.
        trace_time: Decay of the traces, in seconds.
        mean_time: Averaging time of their means, several seconds.
        smallest_weight: Bound of the weights.
        largest_weight: Bound of the weights.
        homeostasis: Keeps every neuron's rate; None for none.
    """

    rate: float = 1e-3
    trace_time: float = 50e-3
    mean_time: float = 10.0
    smallest_weight: float = 0.0
    largest_weight: float = 1.0
    homeostasis: Homeostasis | ThresholdHomeostasis | None = field(default_factory=Homeostasis)

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number outside its range, or something else as homeostasis.
        """
        checks.positive("LateralCovariance", self, "rate", "trace_time", "mean_time")
        if self.mean_time <= self.trace_time:
            raise InvalidValue(
                f"LateralCovariance: mean_time must be above trace_time, {self.trace_time:g} s, got {self.mean_time!r}."
            )
        if not -math.inf < self.smallest_weight < self.largest_weight < math.inf:
            raise InvalidValue(
                "LateralCovariance: smallest_weight and largest_weight must be finite numbers in this order, got "
                f"{self.smallest_weight!r} and {self.largest_weight!r}."
            )
        if not (self.homeostasis is None or isinstance(self.homeostasis, Homeostasis | ThresholdHomeostasis)):
            raise InvalidValue(
                "LateralCovariance: homeostasis must be nd.norse.Homeostasis(...), ThresholdHomeostasis(...) or None, "
                f"got {self.homeostasis!r}."
            )

    def update_(self, weight: Tensor, covariance: Tensor, together: Tensor, rate: float) -> None:
        """One update of the weights, in place: first what presynaptic spikes do, then what postsynaptic ones do.

        Args:
            weight: w, shape (features, features), from the column's neuron onto the row's.
            covariance: Sum of x_i - x-bar_i (rows) over spikes of j (columns), x without the spikes of the same step.
            together: How often both spiked in one step, the same shape.
            rate: eta of this update.
        """
        for change in (covariance, covariance.T + together):
            weight.add_(change, alpha=rate).clamp_(self.smallest_weight, self.largest_weight)
            weight.fill_diagonal_(0)
