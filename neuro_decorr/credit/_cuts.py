"""Pass whose graph is cut on both sides of every layer that learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from neuro_decorr.credit._layers import (
    Forward,
    ParameterUses,
    check_differentiated,
    is_plain_linear,
    name_of,
    own_parameters,
    owners,
    replaced,
    replaced_forwards,
)
from neuro_decorr.credit._run import EarlierGraphs, output_of
from neuro_decorr.errors import Unsupported

_OTHERS = "use backprop, weight_perturbation or node_perturbation, which take such layers."


@final
class Linearised:
    """Part of a pass as a linear map from changes of some tensors to changes of others, and its transpose.

    Args:
        starts: Tensors that change.
        ends: Tensors computed from them, with their graph; ends that depend on no start are left out.
    """

    def __init__(self, starts: list[Tensor], ends: list[Tensor]) -> None:
        self._starts = starts
        self.ends: list[Tensor] = []
        self.depends: list[bool] = []
        for end in ends:
            found = torch.autograd.grad(end, starts, torch.zeros_like(end), retain_graph=True, allow_unused=True)
            self.depends.append(any(each is not None for each in found))
        self.ends = [end for end, depends in zip(ends, self.depends, strict=True) if depends]
        # The map is the derivative of its transpose, since the transpose is linear.
        self._probes = [torch.zeros_like(end, requires_grad=True) for end in self.ends]
        with torch.enable_grad():
            self._transposed = self._pulled(self._probes, create_graph=True)

    def pulled(self, errors: list[Tensor]) -> list[Tensor]:
        """Errors at the starts for errors at the ends."""
        return self._pulled(errors, create_graph=False)

    def pushed(self, changes: list[Tensor]) -> list[Tensor]:
        """Changes of the ends for changes of the starts."""
        chosen = [(each, change) for each, change in zip(self._transposed, changes, strict=True) if each.requires_grad]
        if not chosen:
            return [torch.zeros_like(end) for end in self.ends]
        transposed, along = map(list, zip(*chosen, strict=True))
        return list(
            torch.autograd.grad(
                transposed, self._probes, along, retain_graph=True, allow_unused=True, materialize_grads=True
            )
        )

    def _pulled(self, errors: list[Tensor], create_graph: bool) -> list[Tensor]:
        if not self.ends:
            return [torch.zeros_like(start) for start in self._starts]
        return list(
            torch.autograd.grad(
                self.ends,
                self._starts,
                errors,
                retain_graph=True,
                create_graph=create_graph,
                allow_unused=True,
                materialize_grads=True,
            )
        )


@dataclass(slots=True)
class Visit:
    """Visit of a layer by a pass.

    Attributes:
        layer: The layer.
        parameters: Parameters of the layer that learn, by name.
        arriving: Input of the layer, with the graph to the outputs of earlier layers.
        given: Input of the layer as a leaf.
        received: Input of the weights of a linear layer, with the graph to `given`.
        output: Output of the layer, with the graph to its parameters.
        leaf: Output of the layer as a leaf.
        sent: Output with which the model continues, with the graph to `leaf`.
    """

    layer: nn.Module
    parameters: dict[str, Tensor]
    arriving: Tensor
    given: Tensor
    received: Tensor
    output: Tensor
    leaf: Tensor
    sent: Tensor

    def is_linear(self) -> bool:
        """True if the layer is a Linear with its own parameters."""
        return (
            is_plain_linear(self.layer) and "weight" in self.parameters and self.parameters.keys() <= {"weight", "bias"}
        )

    def sent_back(self, parameters: list[Tensor], delta: Tensor) -> Tensor:
        """Error at the input for an error at the output, through other parameters."""
        new = dict(zip(self.parameters, parameters, strict=True))
        with torch.enable_grad():
            if self.is_linear():
                outputs = F.linear(self.received, new["weight"])
            else:
                outputs = functional_call(self.layer, new, (self.given,))
            (error,) = torch.autograd.grad(outputs, self.given, delta)
        return error


def cut_pass(model: nn.Module, inputs: Any) -> tuple[list[Visit], Any]:
    """Run a model once.

    Args:
        model: The model.
        inputs: Inputs of the model.

    Returns:
        The visits of the layers that learn, in their order, and the outputs, with the graph to the layers' outputs.

    Raises:
        Unsupported: A layer is called twice, takes or returns anything but one tensor, or parameters are used outside
            of the layer that owns them.
    """
    visits: dict[nn.Module, Visit] = {}
    if isinstance(inputs, Tensor) and inputs.requires_grad:
        inputs = inputs.detach()

    def stand_in(layer: nn.Module) -> Forward:
        forward = layer.forward

        def visited(*arguments: Any, **keywords: Any) -> Tensor:
            check_differentiated(model, layer)
            if layer in visits:
                raise Unsupported(
                    f"{name_of(model, layer)} is called twice in a pass, so that it has no single output as a target: "
                    f"{_OTHERS}"
                )
            if keywords or len(arguments) != 1 or not isinstance(arguments[0], Tensor):
                raise Unsupported(f"{name_of(model, layer)} must be called with one tensor and nothing else: {_OTHERS}")
            (arriving,) = arguments
            given = received = arriving.detach()
            if given.is_floating_point():
                received = given.requires_grad_()

            kind: Any = type(layer)

            def transformed(values: Tensor) -> Any:
                nonlocal received
                received = kind.decorrelated_input(layer, values)
                return received

            with replaced([(layer, "decorrelated_input", transformed)] if hasattr(layer, "decorrelated_input") else []):
                output = forward(given)
            if not isinstance(output, Tensor):
                raise Unsupported(
                    f"{name_of(model, layer)} must return one tensor, got {type(output).__name__}: {_OTHERS}"
                )
            leaf = output.detach().requires_grad_()
            learning: dict[str, Tensor] = {n: each for n, each in layer.named_parameters() if each.requires_grad}
            sent = leaf.clone()  # later modules may work in place
            visits[layer] = Visit(layer, learning, arriving, given, received, output, leaf, sent)
            return sent

        return visited

    learning = [layer for layer in owners(model) if any(each.requires_grad for each in own_parameters(layer))]
    with replaced_forwards((layer, stand_in(layer)) for layer in learning), torch.enable_grad():
        earlier = EarlierGraphs(model)
        outputs = output_of(model(inputs))
        earlier.refuse(outputs, *(visit.arriving for visit in visits.values()))
    used = ParameterUses(model).reached(*(visit.arriving for visit in visits.values()), outputs)
    if used is not None:
        raise Unsupported(
            f"the model uses the parameter '{used}' outside of the forward of the layer that owns it, so that this "
            "credit misses it: call the layer, or freeze the parameter."
        )
    return list(visits.values()), outputs
