"""Rate homeostasis: a slow bias that keeps every neuron at its rate while inhibition grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from brian2 import Hz, Quantity, second

from neuro_decorr.brian._checks import check_quantity


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
    calibration: Quantity = field(default_factory=lambda: 20 * second)
    rate: Quantity = field(default_factory=lambda: 10 * Hz)
    average_time: Quantity = field(default_factory=lambda: 20 * second)

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A quantity that is not positive, or of other units.
        """
        if self.target_rate is not None:
            check_quantity(self, "target_rate", Hz)
        check_quantity(self, "calibration", second)
        check_quantity(self, "rate", Hz)
        check_quantity(self, "average_time", second)

    @property
    def start(self) -> Quantity:
        """How long after the first run homeostasis and plasticity begin."""
        return self.calibration if self.target_rate is None else 0 * second

    @property
    def equations(self) -> str:
        """What is added to the companion of a neuron; `balancing` is 1 while the bias moves."""
        own = "\ncounted : 1\ntarget_rate = counted/calibration : Hz" if self.target_rate is None else ""
        return (
            "dbias_rate/dt = balancing*homeostasis_rate*target_rate : Hz\n"
            "dbias_average/dt = balancing*(bias_rate - bias_average)/average_time : Hz\n"
            "bias = dt*(balancing*bias_rate + (1 - balancing)*bias_average) : 1" + own
        )

    @property
    def on_spike(self) -> str:
        """What a spike of the neuron does to it."""
        own = "\ncounted_post += counting_post" if self.target_rate is None else ""
        return f"bias_rate_post -= balancing_post*homeostasis_rate_post{own}"

    @property
    def values(self) -> dict[str, Any]:
        """Shared parameters of the equations."""
        target = {} if self.target_rate is None else {"target_rate": self.target_rate}
        return {
            "homeostasis": 1.0,
            "homeostasis_rate": self.rate,
            "average_time": self.average_time,
            **target,
        }
