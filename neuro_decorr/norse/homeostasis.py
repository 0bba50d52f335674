"""Rate homeostasis of neurons: a bias, as in the Brian2 rule, or their thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue


@final
@dataclass(frozen=True, kw_only=True)
class Homeostasis:
    r"""An integrator of the difference between target and actual rate: the bias of `neuro_decorr.brian.Homeostasis`.

    $$\dot b = k \rho, \qquad b \leftarrow b - k \text{ at every spike of the neuron}$$

    The bias b counts spikes of weight 1 a second; in train mode b dt of them reach the neuron's current at every time
    step, in eval mode those of its running average, since its last value depends on the last spikes. It is bounded to
    some multiples of rho, so that neurons whose input was off for long come back near their rate.

    Without a target every neuron keeps its own rate, counted during the calibration, and learning begins after, at the
    beginning of the next sequence. Of a neuron of 10 Hz with input correlations of 50 ms, 100 s of counting leave 8 in
    10 neurons within 10 % of their rate, and 20 s leave 6. A batch of sequences counts all of them in the time of one:
    with 16, 100 / 16 s are as good.

    Attributes:
        target_rate: rho in Hz, the same for every neuron; None for each neuron's own.
        calibration: For how many seconds of a sequence rates are counted where there is no target; no learning before.
        largest_bias: Bound of the bias in both directions, in multiples of rho.
        rate: k in Hz, for each second and Hz of difference.
        average_time: Of the running average, in seconds.
    """

    target_rate: float | None = None
    calibration: float = 100.0
    largest_bias: float = 100.0
    rate: float = 10.0
    average_time: float = 20.0

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number that is not positive.
        """
        target = [] if self.target_rate is None else ["target_rate"]
        checks.positive("Homeostasis", self, "calibration", "largest_bias", "rate", "average_time", *target)

    @property
    def start(self) -> float:
        """After how many seconds homeostasis and plasticity begin."""
        return self.calibration if self.target_rate is None else 0.0


@final
@dataclass(frozen=True, kw_only=True)
class ThresholdHomeostasis:
    r"""Thresholds that rise with every spike and fall meanwhile, so that every neuron keeps its target rate.

    $$\theta_i \leftarrow \theta_i + k\, (z_i - \rho\, \Delta t)$$

    At rest a neuron spikes at the rate rho, or its threshold is at a bound: a silent neuron's at the smallest. There is
    no calibration: as published, rho is one rate for all, and neurons of another rate move from the first step on.

    Source: the rate regulation by thresholds of Foldiak (1990), doi:10.1007/BF02331346.

    Attributes:
        target_rate: rho in Hz.
        rate: k, by how much a spike raises the threshold.
        smallest_threshold: Bound; above the reset.
        largest_threshold: Bound.
    """

    start: ClassVar[float] = 0.0

    target_rate: float = 20.0
    rate: float = 1e-2
    smallest_threshold: float = 1e-2
    largest_threshold: float = 1e2

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A rate that is not positive, or bounds that are not in order.
        """
        checks.positive("ThresholdHomeostasis", self, "target_rate", "rate")
        if not -math.inf < self.smallest_threshold < self.largest_threshold < math.inf:
            raise InvalidValue(
                "ThresholdHomeostasis: smallest_threshold and largest_threshold must be finite numbers in this order, "
                f"got {self.smallest_threshold!r} and {self.largest_threshold!r}."
            )

    def update_(self, threshold: Tensor, spikes: Tensor, seconds: Tensor | float, rate: float) -> None:
        """One update of the thresholds, in place.

        Args:
            threshold: theta, shape (features,).
            spikes: Spikes of every neuron in a sequence, shape (features,).
            seconds: How long it was.
            rate: k of this update.
        """
        threshold.add_(spikes - self.target_rate * seconds, alpha=rate)
        threshold.clamp_(self.smallest_threshold, self.largest_threshold)
