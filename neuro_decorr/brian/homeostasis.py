"""Rate homeostasis: a slow bias that keeps every neuron at its rate while inhibition grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from brian2 import Hz, Quantity, second

from neuro_decorr.brian._checks import check_fields, check_quantity, number, quantity
from neuro_decorr.brian._keywords import known_keywords
from neuro_decorr.errors import InvalidValue, shown


@known_keywords
@dataclass(frozen=True, kw_only=True)
class Homeostasis:
    r"""Rate homeostasis: a bias of each neuron that integrates the difference between target and actual rate.

    $$\dot b = k \rho, \qquad b \leftarrow b - k \text{ at every spike of the neuron}$$

    The bias b is a number of spikes of weight 1 per second: at every time step b dt of them reach the neuron by the
    `bias_drive` of `SpikingRule.synapses`. It is bounded to a multiple of the target rate $\rho$, so that a neuron
    whose input was off for long returns near its rate; it can compensate inhibitory weights whose sum is that multiple.
    When the bias is held (by `freeze(synapses, homeostasis=True)`), its running average replaces it, since its last
    value depends on the last spikes.

    Without a target every neuron keeps its own rate, which is counted during the calibration; learning begins after
    that. The calibration should last many correlation times of the input: of neurons of 10 Hz with input correlations
    of 50 ms, 6 in 10 are within 10 % of their rate after 20 s of counting, and more than 8 in 10 after 100 s.

    Cost: a few floats per neuron.

    Attributes:
        target_rate: $\rho$ (Hz), the same for every neuron, or one for each neuron of the target group (an array, such
            as `[5, 8, 10] * Hz`; with `foldiak`, which needs target rates of the source too, only within one group);
            None for each neuron's own rate.
        calibration: Duration in which rates are counted if there is no target; learning begins after it.
        largest_bias: Bound of the bias in both directions, in multiples of $\rho$.
        rate: k, the change of the bias (spikes of weight 1 per second) per second and Hz of difference. None: 0.3 Hz if
            the gain of the drive is measured (`nd.brian.Gain`), with which an unconnected neuron returns to its rate
            within 3 s, and 10 Hz otherwise.
        average_time: Averaging time of the running average.
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
            InvalidValue: A quantity is not positive or has other units.
        """
        if self.target_rate is not None and np.ndim(self.target_rate) == 1:  # tuples compare to one truth value
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
        """Rate k; by default 0.3 Hz if the gain of the drive is measured, and 10 Hz otherwise."""
        if self.rate is not None:
            return self.rate
        return 0.3 * Hz if measured else 10 * Hz

    @property
    def kind(self) -> Literal["own", "one", "each"]:
        """Kind of target rate: each neuron's own, one for all, or one for each."""
        if self.target_rate is None:
            return "own"
        return "each" if isinstance(self.target_rate, tuple) else "one"
