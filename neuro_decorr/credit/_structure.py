"""Reading a spiking network as a chain of linear layers with neurons, and what reads them out."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from neuro_decorr.credit._eligibility import SpikingCell, SpikingLayer
from neuro_decorr.credit._layers import is_plain_linear, name_of, own_parameters, walk
from neuro_decorr.errors import Unsupported
from neuro_decorr.libraries import spiking_library


class SpikingChain(NamedTuple):
    """A network of linear layers with neurons behind each, read out by something without spikes.

    Attributes:
        layers: The spiking layers, from input to output.
        readout: Names and layers that learn behind the last neurons.
    """

    layers: list[SpikingLayer]
    readout: list[tuple[str, nn.Module]]

    def linear_readout(self) -> list[tuple[str, nn.Linear]]:
        """The linear layers of a readout through which nothing else would transport its weights.

        Raises:
            Unsupported: Something else would.
        """
        found = []
        for name, part in self.readout:
            if is_plain_linear(part):
                found.append((name, part))
            elif any(parameter.dim() > 1 for parameter in own_parameters(part)):
                raise Unsupported(
                    f"eprop with random feedback needs a readout of nn.Linear layers; '{name}' ({type(part).__name__}) "
                    "would send the error through its weights. Use feedback='symmetric'."
                )
        return found


def spiking_chain(model: nn.Module) -> SpikingChain:
    """The layers of a spiking network, in the order in which the model defines them.

    Raises:
        Unsupported: There are no such layers, or others that e-prop has no eligibility traces for.
    """
    parts = _parts(model)
    cells = [index for index, (_, part) in enumerate(parts) if isinstance(part, SpikingCell)]
    layers: list[SpikingLayer] = []
    for index in cells:
        cell: Any = parts[index][1]
        layer = parts[index - 1][1] if index else None
        if layer is None or not is_plain_linear(layer):
            if not index:
                continue  # neurons that encode the input
            raise Unsupported(f"eprop needs a nn.Linear before the neurons {name_of(model, cell)}; there is none.")
        if layers and layer.in_features != layers[-1].cell.features:
            raise Unsupported(
                f"eprop needs a chain of layers: {name_of(model, layer)} takes {layer.in_features} inputs, the neurons "
                f"before it are {layers[-1].cell.features}."
            )
        layers.append(SpikingLayer(layer, cell, (name_of(model, layer), name_of(model, cell))))
    if not layers:
        raise Unsupported(
            "eprop needs spiking neurons, nd.norse.LIF or nd.norse.LateralLIF, each behind a nn.Linear; this model has "
            "none. Use backprop, node_perturbation or forward_gradient for models without spikes."
        )
    spiking = {id(layer.layer) for layer in layers}
    for _, part in parts[: cells[-1]]:
        if id(part) not in spiking and not isinstance(part, SpikingCell):
            raise Unsupported(
                f"eprop has no eligibility traces for {name_of(model, part)}: every layer with weights before the last "
                "neurons must be a nn.Linear, followed by nd.norse.LIF or nd.norse.LateralLIF."
            )
    return SpikingChain(layers, parts[cells[-1] + 1 :])


def _parts(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Linear layers, neurons and everything else that learns, in the order of definition."""
    parts: list[tuple[str, nn.Module]] = []
    inside: set[nn.Module] = set()  # what hangs on a linear layer (a decorrelating transform) is part of that layer
    for name, module in model.named_modules():
        if module in inside:
            continue
        if (library := spiking_library(module)) is not None:
            raise Unsupported(
                f"eprop knows the neurons nd.norse.LIF and nd.norse.LateralLIF; {name_of(model, module)} comes from "
                f"{library}, which tells no eligibility traces. nd.norse.LIF has the dynamics of Norse's LIFCell."
            )
        if is_plain_linear(module):
            inside.update(walk(module))
        if isinstance(module, SpikingCell) or own_parameters(module):
            parts.append((name, module))
    return parts


def is_spiking(model: nn.Module) -> bool:
    """Whether a model holds spiking neurons: with the methods of `SpikingCell`, or of a library that is known."""
    return any(isinstance(module, SpikingCell) or spiking_library(module) is not None for module in walk(model))
