"""Spiking neurons whose threshold rises with their spikes."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.norse._neurons import Neurons, PerNeuron, per_neuron
from neuro_decorr.norse._record import summed
from neuro_decorr.norse._surrogate import spike
from neuro_decorr.norse.homeostasis import ThresholdHomeostasis


class AdaptiveState(NamedTuple):
    """Where neurons have come to.

    Attributes:
        potential: v, after the reset, shape (..., features).
        current: i, that is left for the next step, shape (..., features).
        adaptation: a, the trace of their spikes, shape (..., features).
    """

    potential: Tensor
    current: Tensor
    adaptation: Tensor


@final
class AdaptiveLIF(Neurons[ThresholdHomeostasis | None, AdaptiveState]):
    r"""`LIF` with an adaptive threshold, the neurons of long short-term memory spiking networks.

    $$
    z_t = \Theta(v_t - \theta - \beta a_t), \qquad a_{t+1} = (1 - \Delta t / \tau_a)\, a_t + z_t
    $$

    with v as in `LIF`. Gradients go through the adaptation, so that a spike counts for as long as it lasts; none goes
    through the reset. Cost: some 20 flop a neuron and step.

    Source: Bellec, Salaj, Subramoney, Legenstein & Maass 2018, Long short-term memory and learning-to-learn in networks
    of spiking neurons, arXiv:1803.09574.

    Attributes:
        adaptation_time: Buffer, tau_a in seconds, shape (features,).
        adaptation_strength: Buffer, beta, shape (features,).
    """

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
        """Neurons at rest.

        Args:
            features: Number of neurons.
            adaptation_time: tau_a in seconds, at least dt.
            adaptation_strength: beta, at least 0: by how much a spike raises the threshold; 0 for neurons as `LIF`.
            **parameters: Those of `LIF`.

        Raises:
            InvalidValue: A number of neurons, a parameter, a time or an option outside what is allowed.
        """
        super().__init__(features, **parameters)
        given = {"adaptation_time": (adaptation_time, self.dt), "adaptation_strength": (adaptation_strength, 0.0)}
        for name, (value, least) in given.items():
            like = self.threshold
            values = per_neuron(f"AdaptiveLIF: {name}", value, features, least, like.device, like.dtype)
            self.register_buffer(name, values)

    def _own_rule(self, given: object) -> ThresholdHomeostasis | None:
        if given is None or isinstance(given, ThresholdHomeostasis):
            return given
        raise InvalidValue(
            f"AdaptiveLIF: rule must be a nd.norse.ThresholdHomeostasis(...) or None, got {shown(given)}."
        )

    @property
    def homeostasis(self) -> ThresholdHomeostasis | None:
        """The rule, which moves the thresholds theta so that every neuron keeps its rate, if there is one."""
        return self.rule

    def fired(  # type: ignore[override]  # one number more that a spike changes
        self, potential: Tensor, adaptation: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Spikes, the potential after their reset, and the adaptation with them."""
        distance = potential - self.threshold - self.adaptation_strength * adaptation
        spikes = spike(distance, self.surrogate, self.slope)
        left = (1 - self.dt / self.adaptation_time).to(adaptation.dtype) * adaptation
        return spikes, torch.where(spikes.detach() > 0, self.reset, potential), left + spikes

    def _at_rest(self, potential: Tensor) -> AdaptiveState:
        nothing = torch.zeros_like(potential)
        return AdaptiveState(potential, nothing, nothing)

    def _run(self, steps: Tensor, state: AdaptiveState) -> tuple[Tensor, AdaptiveState]:
        potential, current, adaptation = state
        trains = []
        for arriving in steps.unbind():
            current = current + arriving
            spikes, potential, adaptation = self.fired(self.integrated(potential, current), adaptation)
            current = self.decayed(current)
            trains.append(spikes)
        spikes = torch.stack(trains)
        if self.is_observed():
            self._add_record(summed(spikes))
        return spikes, AdaptiveState(potential, current, adaptation)
