"""Rate homeostasis: a slow bias that keeps every neuron at its rate while inhibition grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from brian2 import Hz, Quantity, second

from neuro_decorr.brian._checks import check_fields, check_quantity, number, quantity
from neuro_decorr.errors import InvalidValue, shown


@dataclass(frozen=True, kw_only=True)
class Homeostasis:
    r"""An integrator of the difference between target and actual rate, a neuron.

    $$\dot b = k \rho, \qquad b \leftarrow b - k \text{ at every spike of the neuron}$$

    The bias b counts spikes of weight 1 a second: at every time step b dt of them reach the neuron by the `bias_drive`
    of `SpikingRule.synapses`. It is bounded to some multiples of rho, so that a neuron whose input was off for long
    comes back near its rate; it can make up for inhibitory weights that sum to that many. Held (by `freeze(synapses,
    homeostasis=True)`), it is replaced by its running average, since its last value depends on the last spikes.

    Without a target every neuron keeps its own rate: it is counted during the calibration, and learning begins after.
    Count over many correlation times of the input. Of a neuron of 10 Hz with input correlations of 50 ms, 20 s of
    counting leave 6 in 10 neurons within 10 % of their rate, and 100 s more than 8.

    Attributes:
        target_rate: rho, the same for every neuron, or one for each neuron of the target group (an array, such as
            `[5, 8, 10] * Hz`; with `foldiak`, which needs those of the source too, within one group); None for each
            neuron's own.
        calibration: How long rates are counted where there is no target; no learning before that.
        largest_bias: Bound of the bias in both directions, in multiples of rho.
        rate: k, spikes of weight 1 a second, for each second and Hz of difference; where None, 0.3 Hz where the gain of
            the drive is measured (`nd.brian.Gain`), so that a neuron alone comes back within 3 s, and 10 Hz otherwise.
        average_time: Of the running average.
    """

    name: ClassVar[str] = "homeostasis"

    target_rate: Quantity | tuple[Quantity, ...] | None = field(default=None, hash=False)  # quantities have no hash
    calibration: Quantity = quantity(100 * second)
    largest_bias: float = number(100.0, above=0)
    rate: Quantity | None = field(default=None, hash=False)
    average_time: Quantity = quantity(20 * second)

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A quantity that is not positive, or of other units.
        """
        if self.target_rate is not None and np.ndim(self.target_rate) == 1:  # the tuple has an equality of one truth
            each = tuple(self.target_rate)
            if each and not any(isinstance(rate, Quantity) for rate in each):
                first = ", ".join([*map("{:g}".format, each[:2]), "..."][: len(each)])
                raise InvalidValue(
                    f"{self.name}: target_rate needs units of Hz, got {shown(self.target_rate)}; write "
                    f"target_rate=[{first}]*Hz."
                )
            for rate in each or (0 * Hz,):
                check_quantity(self.name, "target_rate", rate, Hz)
            object.__setattr__(self, "target_rate", each)
        elif self.target_rate is not None:
            check_quantity(self.name, "target_rate", self.target_rate, Hz)
        if self.rate is not None:
            check_quantity(self.name, "rate", self.rate, Hz)
        check_fields(self)

    def rate_of(self, *, measured: bool) -> Quantity:
        """k, for weights in spikes or in whatever the drive makes of them."""
        if self.rate is not None:
            return self.rate
        return 0.3 * Hz if measured else 10 * Hz

    @property
    def kind(self) -> Literal["own", "one", "each"]:
        """Whose the target rate is: each neuron's own, one for all, or one for each."""
        if self.target_rate is None:
            return "own"
        return "each" if isinstance(self.target_rate, tuple) else "one"
