"""Leaky integrate-and-fire neurons that run step by step or over whole sequences."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor

from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse.homeostasis import ThresholdHomeostasis


class LIFState(NamedTuple):
    """State of `LIF` neurons after a time step.

    Attributes:
        potential: v after the reset, shape (..., features).
        current: i that remains for the next step, shape (..., features).
        refractory: Number of refractory steps that remain, shape (..., features).
    """

    potential: Tensor
    current: Tensor
    refractory: Tensor


@final
class LIF(Neurons[ThresholdHomeostasis | None, LIFState]):
    r"""Leaky integrate-and-fire neurons with the dynamics of Norse's `LIFCell` and `LIFBoxCell`.

    $$
    i_t = (1 - \Delta t / \tau_s)\, i_{t-1} + I_t, \qquad
    v_t = v_{t-1} + \frac{\Delta t}{\tau_m} (v_\text{leak} - v_{t-1} + i_t), \qquad
    z_t = \Theta(v_t - \theta)
    $$

    Beyond Norse's cells it runs single steps and sequences, has parameters per neuron in the state dict, and supports
    `vmap`, forward-mode derivatives and `torch.compile` without a graph break. A spike sets v to the reset, or
    subtracts the threshold; no gradient goes through the spike of a reset.

    Shapes: currents (steps, batch, features), or one step, (batch, features) or (features,), with `sequences=False`;
    spikes have the shape of the currents.

    Cost: about 15 flop per neuron and step.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> cell = nd.norse.LIF(3, threshold=0.5)
        >>> spikes, state = cell(torch.ones(20, 4, 3))
        >>> spikes.shape, state.potential.shape
        (torch.Size([20, 4, 3]), torch.Size([4, 3]))
    """

    state_class = LIFState

    def _at_rest(self, potential: Tensor) -> LIFState:
        nothing = torch.zeros_like(potential)
        return LIFState(potential, nothing, nothing)

    def _run(self, steps: Tensor, state: LIFState) -> tuple[Tensor, LIFState]:
        potential, current, refractory = state
        trains = []
        for arriving in steps.unbind():
            current = current + arriving
            potential = self.integrated(potential, current, refractory)
            spikes, potential, refractory = self.fired(potential, refractory)
            current = self.decayed(current)
            trains.append(spikes)
        spikes = torch.stack(trains)
        if self.is_observed():
            self._remember(spikes)
        return spikes, LIFState(potential, current, refractory)
