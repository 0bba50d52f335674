"""Spiking neurons that run step by step or over whole sequences."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse._record import summed
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
class LIF(Neurons[ThresholdHomeostasis | None, LIFState]):
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

    def _own_rule(self, given: object) -> ThresholdHomeostasis | None:
        if given is None or isinstance(given, ThresholdHomeostasis):
            return given
        raise InvalidValue(f"LIF: rule must be a nd.norse.ThresholdHomeostasis(...) or None, got {shown(given)}.")

    @property
    def homeostasis(self) -> ThresholdHomeostasis | None:
        """The rule, which moves the thresholds so that every neuron keeps its rate, if there is one."""
        return self.rule

    def _at_rest(self, potential: Tensor) -> LIFState:
        return LIFState(potential, torch.zeros_like(potential))

    def _run(self, steps: Tensor, state: LIFState) -> tuple[Tensor, LIFState]:
        potential, current = state
        trains = []
        for arriving in steps.unbind():
            current = current + arriving
            spikes, potential = self.fired(self.integrated(potential, current))
            current = self.decayed(current)
            trains.append(spikes)
        spikes = torch.stack(trains)
        if self.is_observed():
            self._add_record(summed(spikes))
        return spikes, LIFState(potential, current)
