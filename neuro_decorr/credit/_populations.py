"""What neurons get, fire and hand on in a pass, with the graph cut where spikes leave a neuron."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from neuro_decorr.credit._layers import Forward, name_of
from neuro_decorr.errors import Unsupported


@final
class Populations:
    """The neurons of a model in one pass, in the order in which they were first called.

    Args:
        model: The model, for messages.
        cells: Its neurons.
    """

    def __init__(self, model: nn.Module, cells: list[Any]) -> None:
        self._model = model
        self._cells = cells
        self._called: dict[nn.Module, _Population] = {}

    def stand_ins(self) -> list[tuple[nn.Module, str, Forward]]:
        """What stands in for the methods of the neurons: it cuts spikes off the graph, and keeps both ends."""
        return [stand_in for cell in self._cells for stand_in in self._stand_ins(cell)]

    def assign(self, learning: list[Tensor]) -> None:
        """Send the learning signals down, and add their products with the derivatives within neurons to `.grad`.

        Args:
            learning: All that is to get a gradient.

        Raises:
            Unsupported: The loss depends on no spike.
        """
        populations = list(self._called.values())
        if all(end.grad is None for one in populations for end in one.handed_on):
            raise Unsupported("eprop: the loss depends on no spike of neurons that learn.")
        for place in reversed(range(len(populations))):
            one = populations[place]
            signals = [torch.zeros_like(end) if end.grad is None else end.grad for end in one.handed_on]
            torch.autograd.backward(one.spikes, signals, retain_graph=True, inputs=learning)
            lower = [end for earlier in populations[:place] for end in earlier.handed_on]
            reaching = [(c, s) for c, s in zip(one.currents, signals, strict=True) if c.requires_grad]
            if not (lower and reaching):
                continue
            currents, sent = zip(*reaching, strict=True)
            arriving = torch.autograd.grad(currents, lower, sent, retain_graph=True, allow_unused=True)
            for end, signal in zip(lower, arriving, strict=True):
                if signal is not None:
                    end.grad = signal if end.grad is None else end.grad + signal

    def _stand_ins(self, cell: Any) -> list[tuple[nn.Module, str, Forward]]:
        forward, fired = cell.forward, cell.fired
        spikes: list[Tensor] = []

        def firing(*state: Tensor) -> tuple[Tensor, ...]:
            found, *rest = fired(*state)
            spikes.append(found)
            return found.detach(), *rest

        def running(inputs: Tensor, state: Any = None) -> tuple[Tensor, Any]:
            spikes.clear()
            outputs, state = forward(inputs, state)
            if not any(step.requires_grad for step in spikes):  # neurons that encode the input, or are frozen
                return outputs, state
            steps = torch.stack(spikes) if inputs.dim() > 2 else spikes[0]
            if steps.shape != outputs.shape:
                raise Unsupported(
                    f"eprop: the neurons {name_of(self._model, cell)} returned {tuple(outputs.shape)} and fired "
                    f"{tuple(steps.shape)}; every step has to go through their method `fired`, once."
                )
            handed_on = outputs.detach().requires_grad_()
            self._called.setdefault(cell, _Population()).add(inputs, steps.to(outputs.dtype), handed_on)
            return handed_on.clone(), state  # what follows may work in place

        return [(cell, "forward", running), (cell, "fired", firing)]


@final
class _Population:
    """The calls of one group of neurons: their currents, their spikes with a graph, and these without."""

    def __init__(self) -> None:
        self.currents: list[Tensor] = []
        self.spikes: list[Tensor] = []
        self.handed_on: list[Tensor] = []

    def add(self, currents: Tensor, spikes: Tensor, handed_on: Tensor) -> None:
        """One call."""
        self.currents.append(currents)
        self.spikes.append(spikes)
        self.handed_on.append(handed_on)
