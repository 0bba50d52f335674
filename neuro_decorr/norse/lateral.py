"""Spiking neurons with lateral inhibition."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse.homeostasis import Homeostasis, ThresholdHomeostasis
from neuro_decorr.norse.lateral_covariance import LateralCovariance
from neuro_decorr.rate.precision import exactly
from neuro_decorr.rules import State, transform
from neuro_decorr.rules._pattern import pattern_of

_MANY = 512
"""Number of neurons below which a full product is as fast as a sparse one."""


class LateralState(NamedTuple):
    """State of `LateralLIF` neurons after a time step.

    Attributes:
        potential: v after the reset, shape (..., features).
        current: i that remains for the next step, with the inhibition by the last spikes, shape (..., features).
        trace: x with the last spikes, shape (..., features), without a graph.
        refractory: Number of refractory steps that remain, shape (..., features).
    """

    potential: Tensor
    current: Tensor
    trace: Tensor
    refractory: Tensor


@final
class LateralLIF(Neurons[LateralCovariance, LateralState]):
    r"""Leaky integrate-and-fire neurons with lateral inhibition that decorrelates their spikes.

    $$
    i_t = (1 - \Delta t / \tau_s)\, i_{t-1} + I_t - W z_{t-1} + b\, \Delta t, \qquad
    v_t = v_{t-1} + \frac{\Delta t}{\tau_m} (v_\text{leak} - v_{t-1} + i_t), \qquad
    z_t = \Theta(v_t - \theta)
    $$

    Inhibition arrives one time step after the spike, in the synapse of the input. W starts at zero, so that the
    neurons start as those of `LIF`, and there is no self-inhibition. A `NeuronPlasticity` changes W, the bias b and the
    means by the rule; a forward pass does not. In train mode the cell remembers sums over its spikes for the
    plasticity.

    Weights, means, bias and thresholds are buffers, float32 or wider; gradients go through the inhibition to the
    spikes, and not into W.

    Shapes: currents (steps, batch, features), or one step, (batch, features) or (features,), with `sequences=False`;
    spikes have the shape of the currents.

    Cost: 2 features^2 flop per row and step for the inhibition, and as much again in train mode for the sums. With a
    `connectivity` of the rule, 2 flop per connection for the inhibition; W and the sums stay matrices of all pairs.

    Source: Foldiak (1990), Forming sparse representations by local anti-Hebbian learning, doi:10.1007/BF02331346.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> cell = nd.norse.LateralLIF(20, rule=nd.norse.LateralCovariance(rate=1e-2))
        >>> plasticity = nd.norse.NeuronPlasticity(cell)
        >>> spikes, state = cell(0.5 * torch.rand(100, 8, 20))
        >>> plasticity.step()
        >>> spikes.shape, float(cell.elapsed)
        (torch.Size([100, 8, 20]), 0.1)

    Attributes:
        rule: Rule by which W and the bias learn.
        weight: Buffer, W, from the neuron of the column onto the neuron of the row, shape (features, features).
        mean: Buffer, slow mean of the traces, shape (features,).
        elapsed: Buffer, time (s) from which the cell has learnt, shape ().
        bias: Buffer, b (Hz), shape (features,).
        bias_average: Buffer, running average of b (Hz), which replaces b in eval mode, shape (features,).
        calibrated_spikes: Buffer, number of spikes counted during the calibration, shape (features,).
        calibrated_time: Buffer, duration of the calibration so far (s), shape ().
    """

    state_class = LateralState

    weight: Tensor
    mean: Tensor
    elapsed: Tensor
    bias: Tensor
    bias_average: Tensor
    calibrated_spikes: Tensor
    calibrated_time: Tensor

    def _own_rule(self, given: Any) -> LateralCovariance:
        rule = LateralCovariance() if given is None else given
        if not isinstance(rule, LateralCovariance):
            raise InvalidValue(f"LateralLIF: rule must be a nd.norse.LateralCovariance(...), got {shown(rule)}.")
        if rule.trace_time < self.dt:
            raise InvalidValue(
                f"LateralLIF: the rule's trace_time must be at least dt, {self.dt:g} s, got {rule.trace_time!r}."
            )
        if rule.connectivity is not None:
            pattern_of(rule.connectivity, self.features).matrix  # raises if it does not fit  # noqa: B018
        self.register_buffer("weight", self.threshold.new_zeros(self.features, self.features))
        for name in ("elapsed", "calibrated_time"):
            self.register_buffer(name, self.threshold.new_zeros((), dtype=torch.float64))
        for name in ("mean", "bias", "bias_average", "calibrated_spikes"):
            self.register_buffer(name, self.threshold.new_zeros(self.features))
        return rule

    @property
    def homeostasis(self) -> Homeostasis | ThresholdHomeostasis | None:
        """Homeostasis of the rule, which keeps every neuron's rate; None for none."""
        return self.rule.homeostasis

    def _at_rest(self, potential: Tensor) -> LateralState:
        nothing = torch.zeros_like(potential)
        return LateralState(potential, nothing, nothing, nothing)

    def _run(self, steps: Tensor, state: LateralState) -> tuple[Tensor, LateralState]:
        potential, current, trace, refractory = state
        trace = trace + torch.zeros_like(steps[0])  # mapped wherever the inputs are
        if isinstance(self.rule.homeostasis, Homeostasis):
            steps = steps + self.dt * self.placed(self.bias if self.training else self.bias_average)
        left = math.exp(-self.dt / self.rule.trace_time)
        weight = self._connections(self.weight.to(steps.dtype))
        trains, traces = [], []
        with exactly(steps):
            for arriving in steps.unbind():
                current = current + arriving
                potential = self.integrated(potential, current, refractory)
                spikes, potential, refractory = self.fired(potential, refractory)
                current = self.decayed(current) - self._inhibition(spikes, weight)
                trains.append(spikes)
                traces.append(left * trace)
                trace = traces[-1] + spikes.detach()
            spikes = torch.stack(trains)
            if self.is_observed():
                self._remember(spikes, torch.stack(traces))
        return spikes, LateralState(potential, current, trace, refractory)

    def _connections(self, weight: Tensor) -> State:
        """Convert W to a sparse matrix if few of many neurons are connected; the product is the same."""
        connectivity = self.rule.connectivity
        if connectivity is None or self.features < _MANY or torch.compiler.is_compiling():
            return {"matrix": weight}
        pattern = pattern_of(connectivity, self.features)
        if pattern.is_full:
            return {"matrix": weight}
        columns, starts = pattern.columns.to(weight.device), pattern.row_starts.to(weight.device)
        rows = torch.arange(self.features, device=weight.device).repeat_interleave(starts.diff())
        return {"values": weight[rows, columns.long()], "columns": columns, "row_starts": starts}

    def _inhibition(self, spikes: Tensor, weight: State) -> Tensor:
        """Product W z at every place."""
        channel = -1 - self.spatial
        return transform(weight, spikes.movedim(channel, -1)).movedim(-1, channel)
