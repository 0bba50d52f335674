"""Rate homeostasis: a slow bias that keeps every neuron at its rate while inhibition grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from brian2 import Hz, Quantity, second

from neuro_decorr.brian._checks import check_fields, check_quantity, quantity


@dataclass(frozen=True, kw_only=True)
class Homeostasis:
    r"""An integrator of the difference between target and actual rate, a neuron.

    $$\dot b = k \rho, \qquad b \leftarrow b - k \text{ at every spike of the neuron}$$

    The bias b counts spikes of weight 1 a second: at every time step b dt of them reach the neuron by the `bias_drive`
    of `SpikingRule.synapses`. Held (by `freeze(synapses, homeostasis=True)`), it is replaced by its running average,
    since its last value depends on the last spikes.

    Without a target every neuron keeps its own rate: it is counted during the calibration, and learning begins after.
    Count over many correlation times of the input: over 10 s a rate is easily wrong by 5 %.

    Attributes:
        target_rate: rho, the same for every neuron; None for each neuron's own.
        calibration: How long rates are counted where there is no target; no learning before that.
        rate: k, spikes of weight 1 a second, for each second and Hz of difference.
        average_time: Of the running average.
    """

    name: ClassVar[str] = "homeostasis"

    target_rate: Quantity | None = None
    calibration: Quantity = quantity(20 * second)
    rate: Quantity = quantity(10 * Hz)
    average_time: Quantity = quantity(20 * second)

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A quantity that is not positive, or of other units.
        """
        if self.target_rate is not None:
            check_quantity(self, "target_rate", Hz)
        check_fields(self)
