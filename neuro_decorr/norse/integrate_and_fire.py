"""Spiking neurons without a leak."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse._parameters import PerNeuron
from neuro_decorr.norse.homeostasis import ThresholdHomeostasis


class IFState(NamedTuple):
    """State of `IF` neurons after a time step.

    Attributes:
        potential: v after the reset, shape (..., features).
        refractory: Number of refractory steps that remain, shape (..., features).
    """

    potential: Tensor
    refractory: Tensor


@final
class IF(Neurons[ThresholdHomeostasis | None, IFState]):
    r"""Integrate-and-fire neurons without a leak, which sum their input, as Norse's `IAFCell`.

    $$v_t = v_{t-1} + I_t, \qquad z_t = \Theta(v_t - \theta)$$

    There is no time constant, so that the effect of an input does not depend on dt; only the refractory time and a
    homeostasis use dt. With `reset_method="subtract"` the rate is the input divided by the threshold, and no input is
    lost. At the start of a sequence v is the reset. Gradients and types are those of `LIF`.

    Cost: about 5 flop per neuron and step.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> cell = nd.norse.IF(1, threshold=1.0, reset_method="subtract")
        >>> spikes, _ = cell(torch.full((8, 1, 1), 0.375))
        >>> int(spikes.sum())
        2
    """

    state_class = IFState
    leaky: ClassVar[bool] = False

    def __init__(self, features: int, *, threshold: PerNeuron = 1.0, reset: PerNeuron = 0.0, **parameters: Any) -> None:
        """Make neurons.

        Args:
            features: Number of neurons, or of channels if there are dimensions of space.
            threshold: Threshold above which a neuron spikes.
            reset: Potential after a spike, below the threshold; 0 if the threshold is subtracted.
            **parameters: Parameters of `LIF`, except the leak and the times of membrane and synapse.

        Raises:
            InvalidValue: A number of neurons, a parameter, a time or an option is not allowed.
            TypeError: Neurons without a leak have no such parameter.
        """
        absent = {"leak", "membrane_time", "synapse_time"} & parameters.keys()
        if absent:
            raise TypeError(f"IF has no {', '.join(sorted(absent))}, since it has no leak; use LIF, or leave them out.")
        super().__init__(features, threshold=threshold, reset=reset, **parameters)

    @property
    def resting(self) -> Tensor:
        """Potential at the start of a sequence."""
        return self.reset

    def _moved(self, potential: Tensor, current: Tensor) -> Tensor:
        return potential + current

    def _at_rest(self, potential: Tensor) -> IFState:
        return IFState(potential, torch.zeros_like(potential))

    def _run(self, steps: Tensor, state: IFState) -> tuple[Tensor, IFState]:
        potential, refractory = state
        trains = []
        for arriving in steps.unbind():
            spikes, potential, refractory = self.fired(self.integrated(potential, arriving, refractory), refractory)
            trains.append(spikes)
        spikes = torch.stack(trains)
        if self.is_observed():
            self._remember(spikes)
        return spikes, IFState(potential, refractory)
