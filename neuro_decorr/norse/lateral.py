"""Neurons that inhibit each other."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.norse._neurons import Neurons, PerNeuron
from neuro_decorr.norse._record import summed
from neuro_decorr.norse._surrogate import Surrogate
from neuro_decorr.norse.homeostasis import Homeostasis
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
class LateralLIF(Neurons):
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
    """

    weight: Tensor
    mean: Tensor
    elapsed: Tensor
    bias: Tensor
    bias_average: Tensor
    calibrated_spikes: Tensor

    def __init__(
        self,
        features: int,
        *,
        rule: LateralCovariance | None = None,
        threshold: PerNeuron = 1.0,
        leak: PerNeuron = 0.0,
        reset: PerNeuron = 0.0,
        membrane_time: PerNeuron = 10e-3,
        synapse_time: PerNeuron | None = 5e-3,
        dt: float = 1e-3,
        surrogate: Surrogate = "superspike",
        slope: float = 10.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Neurons at rest, without inhibition yet.

        Args:
            features: Number of neurons.
            rule: How they learn to inhibit each other; `LateralCovariance()` where None.
            threshold: theta; a neuron spikes above it.
            leak: The potential without input.
            reset: The potential after a spike, below the threshold.
            membrane_time: tau_m in seconds, at least dt.
            synapse_time: tau_s in seconds, at least dt; None for a current that acts in its own step only.
            dt: Time step, in seconds.
            surrogate: Shape of the surrogate derivative of a spike.
            slope: Its slope.
            device: Where the parameters live.
            dtype: float32 or float64.

        Raises:
            InvalidValue: A number of neurons, a parameter, a time or an option outside what is allowed.
        """
        rule = LateralCovariance() if rule is None else rule
        if not isinstance(rule, LateralCovariance):
            raise InvalidValue(f"LateralLIF: rule must be a nd.norse.LateralCovariance(...), got {rule!r}.")
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
            homeostasis=rule.homeostasis,
            device=device,
            dtype=dtype,
        )
        if rule.trace_time < dt:
            raise InvalidValue(f"LateralLIF: the rule's trace_time must be at least dt, {dt:g} s: {rule.trace_time!r}.")
        self.rule = rule
        self.register_buffer("weight", torch.zeros(features, features, dtype=dtype, device=device))
        self.register_buffer("elapsed", torch.zeros((), dtype=torch.float64, device=device))
        for name in ("mean", "bias", "bias_average", "calibrated_spikes"):
            self.register_buffer(name, torch.zeros(features, dtype=dtype, device=device))

    @property
    def learns(self) -> bool:
        """Always."""
        return True

    def initial_state(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> LateralState:
        """Neurons at their leak potential, without current or trace; what `state=None` stands for.

        Args:
            batch: Number of sequences side by side.
            device: Where it lives; that of the parameters where None.
            dtype: Its floating type, float32 or wider; that of the parameters where None.
        """
        potential = self.leak.to(device=device, dtype=dtype).expand(batch, -1)
        return LateralState(potential, torch.zeros_like(potential), torch.zeros_like(potential))

    def forward(self, inputs: Tensor, state: LateralState | None = None) -> tuple[Tensor, LateralState]:
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
        nothing = torch.zeros_like(steps[0])  # mapped wherever the inputs are
        potential, current, trace = state or LateralState(self.leak + nothing, nothing, nothing)
        trace = trace + nothing
        if isinstance(self.rule.homeostasis, Homeostasis):
            steps = steps + self.dt * (self.bias if self.training else self.bias_average)
        weight, left = self.weight.to(steps.dtype), 1 - self.dt / self.rule.trace_time
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
        outputs = spikes if currents.dim() > 2 else spikes[0]
        return outputs.to(inputs.dtype), LateralState(potential, current, trace)
