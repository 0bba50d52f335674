"""Spiking neurons whose threshold rises with their spikes."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse._parameters import PerNeuron
from neuro_decorr.norse.homeostasis import ThresholdHomeostasis


class AdaptiveState(NamedTuple):
    """State of `AdaptiveLIF` neurons after a time step.

    Attributes:
        potential: v after the reset, shape (..., features).
        current: i that remains for the next step, shape (..., features).
        adaptation: a, the trace of a neuron's spikes, shape (..., features).
        refractory: Number of refractory steps that remain, shape (..., features).
    """

    potential: Tensor
    current: Tensor
    adaptation: Tensor
    refractory: Tensor


@final
class AdaptiveLIF(Neurons[ThresholdHomeostasis | None, AdaptiveState]):
    r"""Leaky integrate-and-fire neurons with an adaptive threshold, as in long short-term memory spiking networks.

    $$
    z_t = \Theta(v_t - \theta - \beta a_t), \qquad a_{t+1} = (1 - \Delta t / \tau_a)\, a_t + z_t
    $$

    with v as in `LIF`. Gradients go through the adaptation, so that a spike has a gradient as long as its adaptation
    lasts; no gradient goes through the reset.

    Cost: about 20 flop per neuron and step.

    Source: Bellec, Salaj, Subramoney, Legenstein, Maass (2018), Long short-term memory and learning-to-learn in
    networks of spiking neurons, arXiv:1803.09574.

    Attributes:
        adaptation_time: Buffer, $\tau_a$ (s), shape (features,).
        adaptation_strength: Buffer, $\beta$, in units of the potential, shape (features,).
    """

    state_class = AdaptiveState

    adaptation_time: Tensor
    adaptation_strength: Tensor

    def __init__(
        self,
        features: int,
        *,
        adaptation_time: PerNeuron = 200e-3,
        adaptation_strength: PerNeuron = 0.1,
        **parameters: Any,
    ) -> None:
        """Make neurons.

        Args:
            features: Number of neurons, or of channels if there are dimensions of space.
            adaptation_time: Time constant of the adaptation (s), at least dt.
            adaptation_strength: Amount by which a spike raises the threshold, at least 0; with 0 the neurons are those
                of `LIF`.
            **parameters: Parameters of `LIF`.

        Raises:
            InvalidValue: A number of neurons, a parameter, a time or an option is not allowed.
        """
        super().__init__(features, **parameters)
        given = {"adaptation_time": (adaptation_time, self.dt), "adaptation_strength": (adaptation_strength, 0.0)}
        for name, (value, least) in given.items():
            self._hold(name, value, least, self.threshold.device, self.threshold.dtype)

    def fired(self, potential: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Spikes, potential after the reset, refractory steps and adaptation.

        Args:
            potential: Potential before the threshold.
            *state: Number of refractory steps that remained before, and the adaptation.

        Returns:
            Spikes, potential, refractory steps and adaptation, all of the shape of the potential.
        """
        refractory, adaptation = state
        distance = potential - self.placed(self.threshold) - self.placed(self.adaptation_strength) * adaptation
        spikes, potential, refractory = self._fired(potential, distance, refractory)
        left = self.placed(1 - self.dt / self.adaptation_time).to(adaptation.dtype) * adaptation
        return spikes, potential, refractory, left + spikes

    def _at_rest(self, potential: Tensor) -> AdaptiveState:
        nothing = torch.zeros_like(potential)
        return AdaptiveState(potential, nothing, nothing, nothing)

    def _run(self, steps: Tensor, state: AdaptiveState) -> tuple[Tensor, AdaptiveState]:
        potential, current, adaptation, refractory = state
        trains = []
        for arriving in steps.unbind():
            current = current + arriving
            potential = self.integrated(potential, current, refractory)
            spikes, potential, refractory, adaptation = self.fired(potential, refractory, adaptation)
            current = self.decayed(current)
            trains.append(spikes)
        spikes = torch.stack(trains)
        if self.is_observed():
            self._remember(spikes)
        return spikes, AdaptiveState(potential, current, adaptation, refractory)
