"""Rule of lateral inhibition between spiking neurons, the same as `neuro_decorr.brian.LateralCovariance`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.norse.homeostasis import Homeostasis, ThresholdHomeostasis
from neuro_decorr.rules._pattern import pattern_of
from neuro_decorr.rules.connectivity import Connectivity


@final
@dataclass(frozen=True, kw_only=True)
class LateralCovariance:
    r"""Lateral inhibition that grows while the spikes of two neurons coincide more often than their rates explain.

    $$
    \text{spike of } j:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_i - \bar x_i), \qquad
    \text{spike of } i:\; w_{ij} \leftarrow w_{ij} + \eta\, (x_j - \bar x_j)
    $$

    The rule is `neuro_decorr.brian.LateralCovariance` with parameters in seconds and Hz. Each spike raises the trace x
    by one; x decays with the trace time, and $\bar x$ is its slow mean. Two spikes in one time step count as one pair:
    only the plasticity at the spike of i reads the other spike. A `NeuronPlasticity` that steps after every time step
    of one sequence computes the same as Brian2. A `NeuronPlasticity` that steps after whole sequences sums the changes
    over time, with the weights and means before the step, and averages them over the sequences.

    At the fixed point there is no covariance of spikes within the trace time, or w is at a bound. Without the
    homeostasis the same inhibition would silence the population.

    Cost: 10 features^2 flop per step of the plasticity.

    Source: Foldiak (1990), Forming sparse representations by local anti-Hebbian learning, doi:10.1007/BF02331346, in
    the spike-based, mean-subtracted form; traces of Vogels, Sprekeler, Zenke, Clopath, Gerstner (2011), Inhibitory
    plasticity balances excitation and inhibition in sensory pathways and memory networks, doi:10.1126/science.1211095.

    Attributes:
        rate: $\eta$, the change of a weight for a trace of one spike.
        trace_time: Decay time of the traces (s).
        mean_time: Averaging time of the means of the traces (s), several seconds.
        smallest_weight: Lower bound of the weights.
        largest_weight: Upper bound of the weights.
        homeostasis: Rate homeostasis of every neuron; None for none.
        connectivity: Pairs of neurons that inhibit each other, such as `nd.rules.connectivity.FanIn(16)`; None: all. At
            the fixed point there is no covariance between connected neurons, or w is at a bound; the covariance of
            other pairs is free.
    """

    rate: float = 1e-3
    trace_time: float = 50e-3
    mean_time: float = 10.0
    smallest_weight: float = 0.0
    largest_weight: float = 1.0
    homeostasis: Homeostasis | ThresholdHomeostasis | None = field(default_factory=Homeostasis)
    connectivity: Connectivity | None = None

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number is out of range, or the homeostasis or the connectivity is of another class.
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

        given: object = self.connectivity
        if given is not None and not isinstance(given, Connectivity):
            raise InvalidValue(
                "LateralCovariance: connectivity must be one of neuro_decorr.rules.connectivity, such as Groups(16), "
                f"or None, got {shown(given)}."
            )

    def update_(self, weight: Tensor, covariance: Tensor, together: Tensor, rate: float) -> None:
        r"""Update the weights once, in place: first by presynaptic spikes, then by postsynaptic ones.

        Args:
            weight: w, shape (features, features), from the neuron of the column onto the neuron of the row.
            covariance: Sum of $x_i - \bar x_i$ (rows) over spikes of j (columns), x without spikes of the same step.
            together: Number of steps in which both neurons spiked, the same shape.
            rate: $\eta$ of this update.
        """
        for change in (covariance, covariance.T + together):
            weight.add_(change, alpha=rate).clamp_(self.smallest_weight, self.largest_weight)
            weight.fill_diagonal_(0)
        if self.connectivity is not None:
            weight.mul_(pattern_of(self.connectivity, len(weight)).matrix.to(weight.device))
