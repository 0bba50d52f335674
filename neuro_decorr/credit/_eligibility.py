"""Eligibility traces of the synapses of one spiking layer, forward in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, final, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr.credit._layers import arriving
from neuro_decorr.errors import Unsupported


@runtime_checkable
class SpikingCell(Protocol):
    """Leaky integrate-and-fire neurons whose every time step goes through `fired`, as those of `nd.norse` do."""

    dt: float
    features: int
    membrane_time: Tensor
    synapse_time: Tensor

    def fired(self, potential: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes, and the potential after their reset."""

    def pseudo_derivative(self, potential: Tensor) -> Tensor:
        """What stands for the derivative of a spike."""


@final
class SpikingLayer:
    """A linear layer with the neurons behind it, and stand-ins for both that keep eligibility traces for a pass.

    Args:
        layer: The linear layer.
        cell: The neurons that get its output.
        names: How messages call the two.
    """

    def __init__(self, layer: nn.Linear, cell: SpikingCell, names: tuple[str, str]) -> None:
        self.layer = layer
        self.cell = cell
        self.names = names
        self.begin()

    def begin(self) -> None:
        """Forget everything, before or after a pass."""
        self.total: Tensor | None = None
        self._current: Tensor | None = None
        self._eligibility: Tensor | None = None
        self._output: Tensor | None = None
        self._arriving: Iterator[Tensor] = iter(())

    @property
    def learns(self) -> bool:
        """Whether any synapse of the layer is to get a gradient."""
        bias: Tensor | None = self.layer.bias
        return self.layer.weight.requires_grad or (bias is not None and bias.requires_grad)

    def linear(self, input: Tensor) -> Tensor:
        """The layer's forward: currents (..., out_features) of inputs (..., in_features), without graph."""
        with torch.no_grad():
            seen = arriving(self.layer, input.detach())
            if self.learns:
                inputs = seen
                if self.layer.bias is not None:  # a synapse whose input is always 1
                    inputs = F.pad(inputs, (0, 1), value=1.0)
                self._arriving = iter(inputs if inputs.dim() > 2 else inputs[None])
            self._output = output = F.linear(seen, self.layer.weight, self.layer.bias)
        return output

    def neurons(self, forward: Any, inputs: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The neurons' forward, without graph."""
        if inputs is not self._output or inputs.dim() not in (2, 3):
            raise Unsupported(
                f"eprop needs the output of {self.names[0]} to reach {self.names[1]} as it is, (samples, units) or "
                "(time, samples, units); something changed or skipped it on the way."
            )
        self._output = None
        if state is None:
            self._current = self._eligibility = None
        with torch.no_grad():
            spikes, state = forward(inputs, state)
        return spikes, state

    def fired(self, fired: Any, potential: Tensor) -> tuple[Tensor, Tensor]:
        """One time step of the neurons, and of the eligibility of their synapses."""
        if not self.learns:
            step: tuple[Tensor, Tensor] = fired(potential)
            return step
        cell, arriving = self.cell, next(self._arriving).to(potential.dtype)[:, None]
        current = arriving if self._current is None else self._current + arriving
        share = (cell.dt / cell.membrane_time).to(potential.dtype)[:, None]
        if self._eligibility is None:
            shape = (*potential.shape, arriving.shape[-1])
            self._eligibility = potential.new_zeros(shape)
        if self.total is None:
            self.total = torch.zeros_like(self._eligibility)
        # dv/dw of this step before the threshold, and its product with the derivative of the spike.
        eligibility = torch.lerp(self._eligibility, current, share, out=self._eligibility)
        self.total.addcmul_(eligibility, cell.pseudo_derivative(potential)[..., None])
        spikes, reset = fired(potential)
        eligibility.mul_((1 - spikes)[..., None])  # the reset forgets what led to it
        left = (1 - cell.dt / cell.synapse_time).to(potential.dtype)
        # One filtered input serves all neurons where they share the time constant of their synapses.
        self._current = current * (left[0] if bool((left == left[0]).all()) else left[:, None])
        return spikes, reset

    def receive(self, signal: Tensor) -> None:
        """Add the product of learning signals (samples, units), the same at all steps, and eligibility to `.grad`."""
        if self.total is None:
            return
        gradient = torch.einsum("no,noi->oi", signal.to(self.total.dtype), self.total)
        parts = [(self.layer.weight, gradient[:, : self.layer.in_features])]
        if self.layer.bias is not None:
            parts.append((self.layer.bias, gradient[:, -1]))
        learning = [(parameter, part) for parameter, part in parts if parameter.requires_grad]
        torch.autograd.backward([p for p, _ in learning], [g.to(p.dtype) for p, g in learning])
