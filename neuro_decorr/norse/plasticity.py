"""Optimiser of the neurons' local plasticity: lateral inhibition and homeostasis."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from neuro_decorr.errors import Diverged, InvalidValue
from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse._record import NeuronRecord, cast, is_finite
from neuro_decorr.norse.homeostasis import Homeostasis, ThresholdHomeostasis
from neuro_decorr.norse.lateral import LateralLIF


@final
class NeuronPlasticity(torch.optim.Optimizer):
    r"""Optimiser of torch that changes the lateral weights, biases and thresholds of a network's neurons.

    Every `LateralLIF`, and every `LIF` with a rule, remembers sums over its forward passes in train mode. One `step()`
    takes these sums since the last step and changes the buffers of each cell once. A step after every time step of one
    sequence is the online rule; a step after a batch of sequences makes the sum of its changes over time, averaged over
    the batch.

    `lr` of a group is the rate of one cell: of its lateral weights, or of its thresholds if it has no lateral weights.
    Everything that is learnt is in the state dict of the network.

    Cost: 10 features^2 flop per step for each `LateralLIF`.
    """

    def __init__(self, model: nn.Module) -> None:
        """Attach to the neurons of a network, one group of parameters for each cell that learns.

        Args:
            model: A network that contains `LateralLIF` or `LIF(rule=...)`, or one of these alone. As for any
                optimiser, move the network to its device first.

        Raises:
            InvalidValue: The network contains no neurons that learn.
        """
        self._cells = [
            (name, cell) for name, cell in model.named_modules() if isinstance(cell, Neurons) and cell.learns
        ]
        if not self._cells:
            raise InvalidValue(
                f"{type(model).__name__} holds no neurons that learn by themselves: use nd.norse.LateralLIF(features), "
                "or nd.norse.LIF(features, rule=nd.norse.ThresholdHomeostasis())."
            )
        self._warned = False
        super().__init__([{"params": [_moved(cell)], "lr": _rate(cell)} for _, cell in self._cells], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every cell once from its forward passes in train mode since the last step.

        Cells without a forward pass since the last step do not change; one warning names them.

        Args:
            closure: Function that is called first, with gradients enabled, as in torch's optimisers; None: none.

        Returns:
            The value that the closure returned; None without a closure.

        Raises:
            Diverged: The activity of neurons is not finite; the message names them.
        """
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        idle = []
        for (name, cell), group in zip(self._cells, self.param_groups, strict=True):
            group["params"] = [_moved(cell)]  # Module.to() makes new buffers
            record = cell.take_record()
            if record is None:
                idle.append(name or type(cell).__name__)
                continue
            if not is_finite(record):
                raise Diverged(f"the activity of neurons '{name}' is not finite; lower the currents or the weights.")
            _update(cell, cast(record, cell.threshold), float(group["lr"]))
        if idle and not self._warned:
            self._warned = True
            warnings.warn(
                f"NeuronPlasticity.step() found no forward pass in train mode since the last step for: "
                f"{', '.join(idle)}; nothing was learnt there. Call model.train() and run a batch before each step.",
                stacklevel=2,
            )
        return result


def _moved(cell: Neurons[Any, Any]) -> Tensor:
    """Buffer that represents a cell as a parameter of the optimiser."""
    return cell.weight if isinstance(cell, LateralLIF) else cell.threshold


def _rate(cell: Neurons[Any, Any]) -> float:
    if isinstance(cell, LateralLIF):
        return cell.rule.rate
    assert cell.homeostasis is not None  # it learns
    return cell.homeostasis.rate


def _update(cell: Neurons[Any, Any], record: NeuronRecord, lr: float) -> None:
    homeostasis = cell.homeostasis
    if isinstance(homeostasis, ThresholdHomeostasis):
        rate = homeostasis.rate if isinstance(cell, LateralLIF) else lr
        homeostasis.update_(cell.threshold, record.spikes, cell.dt * record.steps, rate)
    if isinstance(cell, LateralLIF):
        _update_lateral(cell, record, lr)


def _update_lateral(cell: LateralLIF, record: NeuronRecord, lr: float) -> None:
    """Update by one time step in Brian2's order; by several steps with the weights and means before them."""
    rule, homeostasis = cell.rule, cell.homeostasis
    assert record.coincidences is not None and record.together is not None  # of a cell with a rule
    steps, dt = float(record.steps), cell.dt
    elapsed = float(cell.elapsed)
    begun = homeostasis is None or elapsed + dt / 2 >= homeostasis.start
    # The mean relaxes to the mean trace, one Euler step per time step; its time grows with the time elapsed.
    time = min(max(elapsed, rule.trace_time), rule.mean_time)
    # Synapses read the trace before the spikes of its step and after them, half of the time each.
    seen = (1 + math.exp(dt / rule.trace_time)) / 2
    cell.mean.lerp_(seen * record.traces / steps, _approach(steps, dt, time))
    if isinstance(homeostasis, Homeostasis):
        _update_bias(cell, homeostasis, record, begun)
    if begun:
        covariance = record.coincidences - torch.outer(cell.mean, record.spikes)
        rule.update_(cell.weight, covariance, record.together, lr)
    cell.elapsed.add_(steps * dt)


def _approach(steps: float, dt: float, time: float) -> float:
    """Share of the distance to the target that Euler steps of relaxation cover: 1 - (1 - dt / time)^steps."""
    return -math.expm1(steps * math.log1p(-dt / time)) if dt < time else 1.0


def _update_bias(cell: LateralLIF, homeostasis: Homeostasis, record: NeuronRecord, begun: bool) -> None:
    steps, dt = float(record.steps), cell.dt
    if not begun:
        cell.calibrated_spikes.add_(record.spikes)
        cell.calibrated_time.add_(steps * dt)  # sequences may go on past the calibration
        return
    cell.bias_average.lerp_(cell.bias, _approach(steps, dt, homeostasis.average_time))
    if homeostasis.target_rate is None:
        target = cell.calibrated_spikes / cell.calibrated_time.to(cell.bias.dtype)
    else:
        target = torch.full_like(cell.bias, homeostasis.target_rate)
    cell.bias.add_(target * (steps * dt) - record.spikes, alpha=homeostasis.rate)
    cell.bias.clamp_(-homeostasis.largest_bias * target, homeostasis.largest_bias * target)
