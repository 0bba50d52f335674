"""Rate homeostasis of neurons by a bias, as in the Brian2 rule, or by their thresholds."""

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
    r"""Rate homeostasis by a bias, which integrates the difference between target and actual rate.

    $$\dot b = k \rho, \qquad b \leftarrow b - k \text{ at every spike of the neuron}$$

    The homeostasis is that of `neuro_decorr.brian.Homeostasis`. The bias b is a number of spikes of weight 1 per
    second: in train mode b dt of them reach the neuron's current at every time step; in eval mode the running average
    of b replaces it, since the last value of b depends on the last spikes. The bias is bounded to a multiple of the
    target rate $\rho$, so that a neuron whose input was off for long returns near its rate.

    Without a target every neuron keeps its own rate, which is counted during the calibration; learning begins after
    that, at the beginning of the next sequence. Of neurons of 10 Hz with input correlations of 50 ms, 8 in 10 are
    within 10 % of their rate after 100 s of counting, and 6 in 10 after 20 s. In a batch the sequences are counted
    together: with 16 sequences 100 / 16 s give the same precision.

    Cost: a few flop per neuron and step.

    Attributes:
        target_rate: $\rho$ (Hz), the same for every neuron; None for each neuron's own rate.
        calibration: Time (s) of a sequence in which rates are counted if there is no target; learning begins after it.
        largest_bias: Bound of the bias in both directions, in multiples of $\rho$.
        rate: k (Hz), the change of the bias per second and Hz of difference.
        average_time: Averaging time of the running average (s).
    """

    target_rate: float | None = None
    calibration: float = 100.0
    largest_bias: float = 100.0
    rate: float = 10.0
    average_time: float = 20.0

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A number is not positive.
        """
        target = [] if self.target_rate is None else ["target_rate"]
        checks.positive("Homeostasis", self, "calibration", "largest_bias", "rate", "average_time", *target)

    @property
    def start(self) -> float:
        """Time (s) after which homeostasis and plasticity begin."""
        return self.calibration if self.target_rate is None else 0.0


@final
@dataclass(frozen=True, kw_only=True)
class ThresholdHomeostasis:
    r"""Rate homeostasis by thresholds, which rise with every spike and fall between spikes.

    $$\theta_i \leftarrow \theta_i + k\, (z_i - \rho\, \Delta t)$$

    At the fixed point a neuron spikes at the target rate $\rho$, or its threshold is at a bound; the threshold of a
    silent neuron is at the smallest one. There is no calibration: as published, $\rho$ is one rate for all, and the
    thresholds of neurons with another rate change from the first step on.

    Cost: 2 flop per neuron and update.

    Source: rate regulation by thresholds of Foldiak (1990), Forming sparse representations by local anti-Hebbian
    learning, doi:10.1007/BF02331346.

    Attributes:
        target_rate: $\rho$ (Hz).
        rate: k, the amount by which a spike raises the threshold, in units of the potential.
        smallest_threshold: Lower bound of the thresholds, above the reset.
        largest_threshold: Upper bound of the thresholds.
    """

    start: ClassVar[float] = 0.0

    target_rate: float = 20.0
    rate: float = 1e-2
    smallest_threshold: float = 1e-2
    largest_threshold: float = 1e2

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A rate is not positive, or the bounds are not in order.
        """
        checks.positive("ThresholdHomeostasis", self, "target_rate", "rate")
        if not -math.inf < self.smallest_threshold < self.largest_threshold < math.inf:
            raise InvalidValue(
                "ThresholdHomeostasis: smallest_threshold and largest_threshold must be finite numbers in this order, "
                f"got {self.smallest_threshold!r} and {self.largest_threshold!r}."
            )

    def update_(self, threshold: Tensor, spikes: Tensor, seconds: Tensor | float, rate: float) -> None:
        """Update the thresholds once, in place.

        Args:
            threshold: Thresholds, shape (features,).
            spikes: Number of spikes of every neuron in a sequence, shape (features,).
            seconds: Duration of the sequence (s).
            rate: k of this update.
        """
        threshold.add_(spikes - self.target_rate * seconds, alpha=rate)
        threshold.clamp_(self.smallest_threshold, self.largest_threshold)
