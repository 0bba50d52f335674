"""Synapses of a network on a chip: all weights through which spikes pass, in whatever module they are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuro_decorr.errors import Unsupported
from neuro_decorr.libraries import runs_over_sequences, spiking_library
from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse.lateral import LateralLIF
from neuro_decorr.rate.cell import DecorrelationCell
from neuro_decorr.rate.decorrelation import Decorrelation

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Synapses(NamedTuple):
    """Weights of one kind in a module.

    Attributes:
        name: Name of the module, with the kind of weights if it has several kinds.
        module: Module that holds the weights.
        attribute: Name of the weights in the module.
        recurrent: True if they receive the spikes of the module, False if they receive its input.
    """

    name: str
    module: nn.Module
    attribute: str
    recurrent: bool

    @property
    def weight(self) -> Tensor:
        """Weights, outputs first, without a graph."""
        weight: Tensor = getattr(self.module, self.attribute)
        return weight.detach()


def synapses_of(network: nn.Module) -> list[Synapses]:
    """List all synapses of a network, in the order in which its modules were defined.

    Raises:
        Unsupported: The network holds a decorrelation, or weights whose synapses are not known, or no synapses.
    """
    for name, module in network.named_modules():
        if isinstance(module, (Decorrelation, DecorrelationCell)):
            raise Unsupported(
                f"module '{name}' is a Decorrelation, which no chip runs by itself: give the plain network of "
                "nd.fold(network)."
            )
    found: list[Synapses] = []
    for name, module in network.named_modules():
        shown = name or type(module).__name__
        if isinstance(module, LateralLIF):
            found.append(Synapses(f"{shown}, inhibition", module, "weight", True))
        elif hasattr(module, "recurrent_weights"):  # recurrent cells of Norse
            found.append(Synapses(f"{shown}, input", module, "input_weights", False))
            found.append(Synapses(f"{shown}, recurrent", module, "recurrent_weights", True))
        elif isinstance(module, KINDS):
            own = any(type(module).forward is kind.forward for kind in KINDS)
            if not own or "weight" not in module._parameters:
                raise Unsupported(
                    f"module '{name}' ({type(module).__name__}) computes its weight from other parameters, or has a "
                    "forward of its own: make it a plain layer (torch.nn.utils.prune.remove, "
                    "torch.nn.utils.parametrize.remove_parametrizations)."
                )
            found.append(Synapses(shown, module, "weight", False))
        elif module._parameters and not isinstance(module, Neurons):
            raise Unsupported(
                f"module '{name}' ({type(module).__name__}) has parameters that are not known to be synapses; fold the "
                "parameters of a normalisation into the layer before it."
            )
    if not found:
        raise Unsupported(
            "the network has no synapses; give one with a Linear, a convolution, a recurrent cell of Norse or a "
            "LateralLIF."
        )
    return found


def populations_of(network: nn.Module) -> dict[str, nn.Module]:
    """Spiking neurons of a network, by name."""
    return {
        name or type(module).__name__: module
        for name, module in network.named_modules()
        if isinstance(module, Neurons) or (spiking_library(module) is not None and not module._modules)
    }


def takes_sequences(module: nn.Module) -> bool:
    """True if neurons take sequences (steps, samples, ...)."""
    return module.sequences if isinstance(module, Neurons) else runs_over_sequences(module)


def met_by(synapses: Synapses, spikes: Tensor) -> Tensor:
    """Number of nonzero weights through which the given spikes (ones and zeros) reach each target."""
    counted = (synapses.weight != 0).to(spikes.dtype)
    module = synapses.module
    if isinstance(module, KINDS) and not isinstance(module, nn.Linear):
        arriving: Tensor = module._conv_forward(spikes, counted, None)
        return arriving
    if isinstance(module, LateralLIF):  # inhibition acts between the channels of a place
        spikes = spikes.movedim(-1 - module.spatial, -1)
    return torch.nn.functional.linear(spikes, counted)
