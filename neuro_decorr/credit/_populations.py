"""Currents and spikes of neurons in a pass, with the graph cut where spikes leave a neuron."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from neuro_decorr.credit._layers import Forward, name_of
from neuro_decorr.errors import Unsupported


@final
class Populations:
    """Neurons of a model in one pass, in the order in which they were first called.

    Neurons that a model has in several places count as several populations: a call belongs to the population that
    returned its state, and a call without a state begins another population.

    Args:
        model: The model, for messages.
        cells: Neurons of the model.
    """

    def __init__(self, model: nn.Module, cells: list[Any]) -> None:
        self._model = model
        self._cells = cells
        self._called: list[_Population] = []

    def stand_ins(self) -> list[tuple[nn.Module, str, Forward]]:
        """Stand-ins for methods of the neurons that cut the graph at spikes and keep both ends."""
        return [stand_in for cell in self._cells for stand_in in self._stand_ins(cell)]

    def spikes(self) -> list[Tensor]:
        """Spikes of the neurons in the calls so far, with the graphs within the neurons."""
        return [spikes for one in self._called for spikes in one.spikes]

    def assign(self, learning: list[Tensor]) -> None:
        """Send the learning signals down, and add their products with the derivatives within neurons to `.grad`.

        Args:
            learning: Parameters that get a gradient.

        Raises:
            Unsupported: The loss depends on no spike.
        """
        populations = self._called
        if all(end.grad is None for one in populations for end in one.handed_on):
            raise Unsupported(
                "eprop: the loss depends on no spike of neurons that learn: compute the loss from their spikes, or "
                "unfreeze their weights."
            )
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
            before = state
            outputs, state = forward(inputs, before)
            if not any(step.requires_grad for step in spikes):  # neurons that encode the input, or are frozen
                return outputs, state
            steps = torch.stack(spikes) if cell.sequences else spikes[0]
            if steps.shape != outputs.shape:
                raise Unsupported(
                    f"eprop: the neurons {name_of(self._model, cell)} returned {tuple(outputs.shape)} and fired "
                    f"{tuple(steps.shape)}: call their method `fired` once for every step."
                )
            handed_on = outputs.detach().requires_grad_()
            population = self._going_on(cell, before)
            population.add(inputs, steps.to(outputs.dtype), handed_on)
            population.state = state
            return handed_on.clone(), state  # later modules may work in place

        return [(cell, "forward", running), (cell, "fired", firing)]

    def _going_on(self, cell: nn.Module, state: Any) -> _Population:
        """Population to which a call of a cell belongs."""
        known = [one for one in self._called if one.cell is cell] if state is not None else []
        found = next((one for one in known if one.state is state), None)
        if found is None and len(known) > 1:
            raise Unsupported(
                f"eprop: the neurons {name_of(self._model, cell)} are in several places and got a state that they did "
                "not return: give each place its own neurons, copy.deepcopy(neurons)."
            )
        if found is None:
            found = known[0] if known else _Population(cell)
        if not known:
            self._called.append(found)
        return found


@final
class _Population:
    """Calls of one group of neurons: their currents, their spikes with a graph, and the same spikes without."""

    def __init__(self, cell: nn.Module) -> None:
        self.cell = cell
        self.state: Any = None  # that it returned last
        self.currents: list[Tensor] = []
        self.spikes: list[Tensor] = []
        self.handed_on: list[Tensor] = []

    def add(self, currents: Tensor, spikes: Tensor, handed_on: Tensor) -> None:
        """Add one call."""
        self.currents.append(currents)
        self.spikes.append(spikes)
        self.handed_on.append(handed_on)
