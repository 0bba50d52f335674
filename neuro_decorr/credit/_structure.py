"""Spiking neurons in a model."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from neuro_decorr.credit._layers import name_of, walk
from neuro_decorr.errors import Unsupported
from neuro_decorr.libraries import spiking_library


@runtime_checkable
class SpikingCell(Protocol):
    """Neurons, called with (currents, state), whose every time step goes through `fired`, as those of `nd.norse` do."""

    features: int

    def fired(self, potential: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """Spikes, and what of the state they change: the potential after its reset, first."""


def is_spiking(model: nn.Module) -> bool:
    """Whether a model holds spiking neurons: with the methods of `SpikingCell`, or of a library that is known."""
    return any(isinstance(module, SpikingCell) or spiking_library(module) is not None for module in walk(model))


def spiking_cells(model: nn.Module) -> list[Any]:
    """The neurons of a model, each once.

    Raises:
        Unsupported: There are none, or others of which e-prop cannot tell the spikes from the state.
    """
    modules = dict.fromkeys(walk(model))
    for module in modules:
        if (library := spiking_library(module)) is not None:
            raise Unsupported(
                "eprop has to cut spikes off where they leave a neuron, and knows how for nd.norse.LIF, AdaptiveLIF "
                f"and LateralLIF; {name_of(model, module)} comes from {library}. nd.norse.LIF has the dynamics of "
                "Norse's LIFCell; recurrent weights go into a nn.Linear of their own."
            )
    cells = [module for module in modules if isinstance(module, SpikingCell)]
    if not cells:
        raise Unsupported(
            "eprop needs spiking neurons, nd.norse.LIF, AdaptiveLIF or LateralLIF; this model has none. Use backprop, "
            "node_perturbation or forward_gradient for models without spikes."
        )
    return cells
