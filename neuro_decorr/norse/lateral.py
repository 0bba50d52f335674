"""Neurons that inhibit each other."""

from __future__ import annotations

import math
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse._record import summed
from neuro_decorr.norse.homeostasis import Homeostasis, ThresholdHomeostasis
from neuro_decorr.norse.lateral_covariance import LateralCovariance
from neuro_decorr.rate.precision import exactly


class LateralState(NamedTuple):
    """Where neurons have come to.

    Attributes:
        potential: v, after the reset, shape (..., features).
        current: i that is left for the next step, the inhibition by the last spikes in it, shape (..., features).
        trace: x, the last spikes in it, shape (..., features), without a graph.
    """

    potential: Tensor
    current: Tensor
    trace: Tensor


@final
class LateralLIF(Neurons[LateralCovariance, LateralState]):
    r"""Leaky integrate-and-fire neurons with lateral inhibition between all of them, which decorrelates their spikes.

    $$
    i_t = (1 - \Delta t / \tau_s)\, i_{t-1} + I_t - W z_{t-1} + b\, \Delta t, \qquad
    v_t = v_{t-1} + \frac{\Delta t}{\tau_m} (v_\text{leak} - v_{t-1} + i_t), \qquad
    z_t = \Theta(v_t - \theta)
    $$

    Inhibition arrives one time step after the spike, in the synapse of the input. W starts at zero, so that the
    neurons start as those of `LIF`; without self-inhibition. A `NeuronPlasticity` moves W, the bias b and the means by
    the rule; a forward pass never does. In train mode the cell remembers sums over its spikes for that.

    Weights, means, bias and thresholds are buffers, float32 or wider; gradients go through the inhibition to the
    spikes, and not into W.

    Shapes: currents (steps, batch, features), or one step (batch, features) or (features,); spikes the same.
    Cost: 2 features^2 flop a row and step for the inhibition, as much again to remember in train mode.

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
        rule: How W and the bias learn.
        weight: Buffer, W, from the column's neuron onto the row's, shape (features, features).
        mean: Buffer, the slow mean of the traces, shape (features,).
        elapsed: Buffer, how many seconds it has learnt from, shape ().
        bias: Buffer, b in Hz, shape (features,).
        bias_average: Buffer, its running average, which stands for it in eval mode, shape (features,).
        calibrated_spikes: Buffer, spikes counted during the calibration, shape (features,).
        calibrated_time: Buffer, for how many seconds they were counted, shape ().
    """

    weight: Tensor
    mean: Tensor
    elapsed: Tensor
    bias: Tensor
    bias_average: Tensor
    calibrated_spikes: Tensor
    calibrated_time: Tensor

    def _own_rule(self, given: object) -> LateralCovariance:
        rule = LateralCovariance() if given is None else given
        if not isinstance(rule, LateralCovariance):
            raise InvalidValue(f"LateralLIF: rule must be a nd.norse.LateralCovariance(...), got {shown(rule)}.")
        if rule.trace_time < self.dt:
            raise InvalidValue(
                f"LateralLIF: the rule's trace_time must be at least dt, {self.dt:g} s: {rule.trace_time!r}."
            )
        self.register_buffer("weight", self.threshold.new_zeros(self.features, self.features))
        for name in ("elapsed", "calibrated_time"):
            self.register_buffer(name, self.threshold.new_zeros((), dtype=torch.float64))
        for name in ("mean", "bias", "bias_average", "calibrated_spikes"):
            self.register_buffer(name, torch.zeros_like(self.threshold))
        return rule

    @property
    def homeostasis(self) -> Homeostasis | ThresholdHomeostasis | None:
        """That of the rule, which keeps every neuron's rate, if there is one."""
        return self.rule.homeostasis

    def _at_rest(self, potential: Tensor) -> LateralState:
        nothing = torch.zeros_like(potential)
        return LateralState(potential, nothing, nothing)

    def _run(self, steps: Tensor, state: LateralState) -> tuple[Tensor, LateralState]:
        potential, current, trace = state
        trace = trace + torch.zeros_like(steps[0])  # mapped wherever the inputs are
        if isinstance(self.rule.homeostasis, Homeostasis):
            steps = steps + self.dt * (self.bias if self.training else self.bias_average)
        weight, left = self.weight.to(steps.dtype), math.exp(-self.dt / self.rule.trace_time)
        trains, traces = [], []
        with exactly(steps):
            for arriving in steps.unbind():
                current = current + arriving
                spikes, potential = self.fired(self.integrated(potential, current))
                current = self.decayed(current) - F.linear(spikes, weight)
                trains.append(spikes)
                traces.append(left * trace)
                trace = traces[-1] + spikes.detach()
            spikes = torch.stack(trains)
            if self.is_observed():
                self._add_record(summed(spikes, torch.stack(traces)))
        return spikes, LateralState(potential, current, trace)
