"""Spiking neurons in a model."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from neuro_decorr.credit._layers import name_of, walk
from neuro_decorr.errors import Unsupported
from neuro_decorr.libraries import runs_over_sequences, spiking_library


@runtime_checkable
class SpikingCell(Protocol):
    """Neurons, called with (currents, state), that call `fired` in every time step, as those of `nd.norse` do."""

    features: int
    sequences: bool

    def fired(self, potential: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """Spikes and the parts of the state that they change, beginning with the potential after its reset."""


def is_spiking(model: nn.Module) -> bool:
    """True if a model holds spiking neurons: with the methods of `SpikingCell`, or of a known library."""
    return any(isinstance(module, SpikingCell) or spiking_library(module) is not None for module in walk(model))


def takes_sequences(module: nn.Module) -> bool | None:
    """True if a module takes sequences (time, samples, ...), False for single steps; None if it takes both.

    Cells and other modules of `nd.norse` declare it by an attribute, recurrent layers of torch by another, modules of a
    known library by their class.
    """
    said = vars(module).get("sequences")
    if isinstance(said, bool):
        decorrelation = module._modules.get("decorrelation")  # without a trace it takes both
        return None if decorrelation is not None and getattr(decorrelation, "trace", None) is None else said
    if isinstance(module, nn.RNNBase):
        return not module.batch_first
    return True if runs_over_sequences(module) else None


def over_sequences(model: nn.Module) -> str | None:
    """Name of a module of a model that takes sequences (time, samples, ...); None if there is none."""
    return next((name_of(model, module) for module in walk(model) if takes_sequences(module)), None)


def spiking_cells(model: nn.Module) -> list[Any]:
    """Neurons of a model, each once.

    Raises:
        Unsupported: The model has none, or has others whose spikes e-prop cannot tell from their state.
    """
    modules = dict.fromkeys(walk(model))
    for module in modules:
        if (library := spiking_library(module)) is not None:
            raise Unsupported(
                "eprop has to cut the graph where spikes leave a neuron, and can do so for nd.norse.LIF, AdaptiveLIF "
                f"and LateralLIF; {name_of(model, module)} comes from {library}. nd.norse.LIF has the dynamics of "
                "Norse's LIFCell, and AdaptiveLIF has an adaptive threshold, as LSNNCell has; put the weights of "
                "recurrent cells into nn.Linear layers. To keep the cell use backprop, weight_perturbation or "
                "node_perturbation."
            )
    cells = [module for module in modules if isinstance(module, SpikingCell)]
    if not cells:
        raise Unsupported(
            "eprop needs spiking neurons, nd.norse.LIF, AdaptiveLIF or LateralLIF; this model has none: use backprop, "
            "node_perturbation or forward_gradient for models without spikes."
        )
    return cells
