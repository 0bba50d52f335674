"""Spiking neurons that run step by step or over whole sequences."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.norse._neurons import Neurons, PerNeuron
from neuro_decorr.norse._record import summed
from neuro_decorr.norse._surrogate import Surrogate
from neuro_decorr.norse.homeostasis import ThresholdHomeostasis


class LIFState(NamedTuple):
    """Where neurons have come to.

    Attributes:
        potential: v, after the reset, shape (..., features).
        current: i, that is left for the next step, shape (..., features).
    """

    potential: Tensor
    current: Tensor


@final
class LIF(Neurons):
    r"""Leaky integrate-and-fire neurons: the dynamics of Norse's `LIFCell` and `LIFBoxCell`, with what these lack.

    $$
    i_t = (1 - \Delta t / \tau_s)\, i_{t-1} + I_t, \qquad
    v_t = v_{t-1} + \frac{\Delta t}{\tau_m} (v_\text{leak} - v_{t-1} + i_t), \qquad
    z_t = \Theta(v_t - \theta)
    $$

    One cell for single steps and for sequences; parameters a neuron, in the state dict; `vmap`, forward-mode
    derivatives, `torch.compile` without a graph break. See `Neurons` for the rest.

    Shapes: currents (steps, batch, features), or one step (batch, features) or (features,); spikes the same.
    Cost: some 15 flop a neuron and step.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> cell = nd.norse.LIF(3, threshold=0.5)
        >>> spikes, state = cell(torch.ones(20, 4, 3))
        >>> spikes.shape, state.potential.shape
        (torch.Size([20, 4, 3]), torch.Size([4, 3]))
    """

    def __init__(
        self,
        features: int,
        *,
        threshold: PerNeuron = 1.0,
        leak: PerNeuron = 0.0,
        reset: PerNeuron = 0.0,
        membrane_time: PerNeuron = 10e-3,
        synapse_time: PerNeuron | None = 5e-3,
        dt: float = 1e-3,
        surrogate: Surrogate = "superspike",
        slope: float = 10.0,
        homeostasis: ThresholdHomeostasis | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Neurons at rest.

        Args:
            features: Number of neurons.
            threshold: theta; a neuron spikes above it.
            leak: The potential without input.
            reset: The potential after a spike, below the threshold.
            membrane_time: tau_m in seconds, at least dt.
            synapse_time: tau_s in seconds, at least dt; None for a current that acts in its own step only.
            dt: Time step, in seconds.
            surrogate: Shape of the surrogate derivative of a spike.
            slope: Its slope.
            homeostasis: Lets a `NeuronPlasticity` move the thresholds so that every neuron keeps its rate.
            device: Where the parameters live.
            dtype: float32 or float64.

        Raises:
            InvalidValue: A number of neurons, a parameter, a time or an option outside what is allowed.
        """
        if not (homeostasis is None or isinstance(homeostasis, ThresholdHomeostasis)):
            raise InvalidValue(
                f"LIF: homeostasis must be a nd.norse.ThresholdHomeostasis(...) or None, got {homeostasis!r}."
            )
        super().__init__(
            features,
            threshold=threshold,
            leak=leak,
            reset=reset,
            membrane_time=membrane_time,
            synapse_time=synapse_time,
            dt=dt,
            surrogate=surrogate,
            slope=slope,
            homeostasis=homeostasis,
            device=device,
            dtype=dtype,
        )

    @property
    def learns(self) -> bool:
        """Whether there is a homeostasis."""
        return self.homeostasis is not None

    def initial_state(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> LIFState:
        """Neurons at their leak potential, without current; what `state=None` stands for.

        Args:
            batch: Number of sequences side by side.
            device: Where it lives; that of the parameters where None.
            dtype: Its floating type, float32 or wider; that of the parameters where None.
        """
        potential = self.leak.to(device=device, dtype=dtype).expand(batch, -1)
        return LIFState(potential, torch.zeros_like(potential))

    def forward(self, inputs: Tensor, state: LIFState | None = None) -> tuple[Tensor, LIFState]:
        """Run one time step or a sequence.

        Args:
            inputs: Currents I, shape (steps, batch, features), (batch, features) or (features,).
            state: Of the step before; None at the start of a sequence.

        Returns:
            Spikes, the same shape and dtype, and the state after the last step.

        Raises:
            InvalidValue: Another number of neurons, or an empty input.
        """
        currents = self.checked(inputs)
        steps = currents if currents.dim() > 2 else currents.unsqueeze(0)
        if state is None:
            potential = self.leak.to(steps.dtype).expand(steps.shape[1:])
            current = torch.zeros_like(potential)
        else:
            potential, current = state
        trains = []
        for arriving in steps.unbind():
            current = current + arriving
            spikes, potential = self.fired(self.integrated(potential, current))
            current = self.decayed(current)
            trains.append(spikes)
        outputs = torch.stack(trains) if currents.dim() > 2 else trains[0]
        if self.is_observed():
            self._add_record(summed(outputs))
        return outputs.to(inputs.dtype), LIFState(potential, current)
