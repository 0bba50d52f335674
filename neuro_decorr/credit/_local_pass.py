"""Pass in which every block of layers stands alone: directions of its nodes, and the derivative of its output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.batchnorm import _NormBase

from neuro_decorr.credit._blocks import Blocks, channels_first
from neuro_decorr.credit._forward_mode import needing_derivatives, with_tangent
from neuro_decorr.credit._layers import (
    Forward,
    check_differentiated,
    name_of,
    own_parameters,
    owners,
    replaced,
    replaced_forwards,
)
from neuro_decorr.credit._run import run
from neuro_decorr.errors import Unsupported

Draw: TypeAlias = Callable[[int, int, Tensor], "Tensor | None"]
"""Function that returns the direction of a node tensor, from the index of its block, its place there and the tensor."""

_NORMALISATIONS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(slots=True)
class Node:
    """Output of a layer and of a normalisation that directly follows it.

    Attributes:
        output: Output with the graph of its own layer and nothing more.
        channels_first: True if its channels come before its positions.
        direction: Direction along which the output moves; None if it does not move.
        arriving: Derivative of the output along the directions of earlier layers of the block.
        sent: Output with which the model continues.
        version: Version of `sent`, by which operations in place are detected.
    """

    output: Tensor
    channels_first: bool
    direction: Tensor | None
    arriving: Tensor | None
    sent: Tensor
    version: int


class End(NamedTuple):
    """Output of a block as it arrives at the next weight layer.

    Attributes:
        output: Output of the block, a leaf.
        derivative: Derivative along the directions of the block's nodes; None if nothing moved.
        received: Input of the weights of the next layer, after its Decorrelation; with the graph to `output`.
        channels_first: True if its channels come before its positions.
        nodes: Nodes of the block, in the order of the calls.
    """

    output: Tensor
    derivative: Tensor | None
    received: Tensor
    channels_first: bool
    nodes: list[Node]


@final
class LocalPass:
    """Pass of a model in which derivatives exist within blocks and end where the next block begins.

    All tensors lose their derivative there, so that no derivative bypasses the next layer.

    Args:
        model: The model.
        blocks: Blocks of the model.
        draw: Function that returns the directions.
    """

    def __init__(self, model: nn.Module, blocks: Blocks, draw: Draw) -> None:
        self.ends: list[End] = []
        self._model = model
        self._blocks = blocks
        self._position = blocks.position()
        self._draw = draw
        self._block = -1  # before the first weight layer
        self._read_out = not blocks.layers
        self._called: set[nn.Module] = set()
        self._nodes: list[Node] = []
        self._first = True  # whether the channels of the nodes come first, by the last weight layer

    def run(self, inputs: Any) -> Any:
        """Run the model and return its outputs, with the graph of the readout.

        Raises:
            Unsupported: The layers are not called once each, block after block; the model uses trainable parameters
                outside of the layers that own them; or an operation has no forward-mode derivative.
        """
        if isinstance(inputs, Tensor) and inputs.requires_grad:
            inputs = inputs.detach()
        stand_ins: dict[nn.Module, Forward] = {}
        for module in self._model.modules():
            if isinstance(module, _NORMALISATIONS):
                stand_ins[module] = self._following(module)
        for owner in owners(self._model):
            stand_ins[owner] = self._following(owner)
        stand_ins.update((layer, self._weighing(layer)) for layer in self._position)
        with replaced_forwards(stand_ins.items()), torch.enable_grad(), needing_derivatives():
            forward_ad.enter_dual_level()  # type: ignore[no-untyped-call]
            try:
                outputs = run(self._model, inputs)
            finally:
                forward_ad.exit_dual_level()  # type: ignore[no-untyped-call]
        if not self._read_out:
            raise Unsupported(
                f"the readout of the model, {name_of(self._model, self._blocks.last)}, was not called: local losses "
                "need a model that calls every weight layer as a module."
            )
        return outputs

    def _weighing(self, layer: nn.Module) -> Forward:
        """Stand-in for a weight layer."""
        forward = layer.forward

        def visited(given: Tensor, *arguments: Any, **keywords: Any) -> Any:
            check_differentiated(self._model, layer)
            if self._arrives(layer, given):
                return self._ended(layer, given, lambda leaf: forward(leaf, *arguments, **keywords))
            self._first = channels_first(layer)
            output = forward(given, *arguments, **keywords)
            return output if self._read_out else self._sent(output)

        return visited

    def _arrives(self, layer: nn.Module, given: Tensor) -> bool:
        """True if a layer begins another block; refuses layers that do not form a chain of blocks."""
        block, name = self._position[layer], name_of(self._model, layer)
        if given.requires_grad and not self._read_out:
            raise Unsupported(
                f"the input of {name} depends on trainable parameters that are used outside of the layer that owns "
                "them: call that layer, or freeze these parameters."
            )
        if given.requires_grad and not self._blocks.layers:
            raise Unsupported(
                f"{name}, the readout, is the only weight layer, and no local loss could train the parameters before "
                "it: freeze these parameters, or use another credit."
            )
        if layer in self._called:
            raise Unsupported(
                f"{name} is called twice in a pass, so that it has no place in a chain of blocks: use another credit."
            )
        if not self._block <= block <= self._block + 1:
            before = f"after a layer of block {self._block + 1}" if self._block >= 0 else "first"
            raise Unsupported(
                f"{name}, which belongs to block {block + 1}, is called {before}: name the layers of the blocks in the "
                "order of their calls, blocks=[...]."
            )
        self._called.add(layer)
        arrives = block > max(self._block, 0)
        self._block = block
        return arrives

    def _ended(self, layer: nn.Module, given: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        """End a block and run the layer that begins the next block, or the readout."""
        _, derivative = forward_ad.unpack_dual(given)  # type: ignore[no-untyped-call]
        forward_ad.exit_dual_level()  # type: ignore[no-untyped-call]
        forward_ad.enter_dual_level()  # type: ignore[no-untyped-call]
        received = leaf = given.detach().requires_grad_()
        ended, self._nodes = self._nodes, []
        self._first = channels_first(layer)
        self._read_out = layer is self._blocks.last
        output: Tensor
        if self._read_out:
            output = forward(leaf)
        elif hasattr(layer, "decorrelated_input"):
            kind: Any = type(layer)

            def transformed(arriving: Tensor) -> Any:
                nonlocal received
                received = kind.decorrelated_input(layer, arriving)
                return received.detach()

            with replaced([(layer, "decorrelated_input", transformed)]):
                output = self._sent(forward(leaf))
        else:
            output = self._sent(forward(leaf.detach()))
        self.ends.append(End(leaf, derivative, received, self._first, ended))
        return output

    def _following(self, module: nn.Module) -> Forward:
        """Stand-in for a normalisation, or for any other layer that owns parameters."""
        forward = module.forward
        owned = own_parameters(module)
        joins = all(parameter.dim() < 2 for parameter in owned)

        def visited(*arguments: Any, **keywords: Any) -> Any:
            node = self._nodes[-1] if self._nodes else None
            if node and joins and arguments and arguments[0] is node.sent and node.version == node.sent._version:
                self._nodes.pop()
                before = node.output if node.arriving is None else with_tangent(node.output, node.arriving)
                return self._sent(forward(before, *arguments[1:], **keywords))
            output = forward(*arguments, **keywords)
            return self._sent(output) if owned and not self._read_out else output

        return visited

    def _sent(self, output: Any) -> Tensor:
        """Cut the graph after a layer and let its output move along a direction."""
        if not isinstance(output, Tensor):
            raise Unsupported(
                f"local losses need layers that return one tensor, got {type(output).__name__}: use another credit."
            )
        if not output.requires_grad:
            return output
        arriving = forward_ad.unpack_dual(output).tangent  # type: ignore[no-untyped-call]
        direction = self._draw(max(self._block, 0), len(self._nodes), output)
        along = arriving if direction is None else direction if arriving is None else arriving + direction
        sent = output.detach() if along is None else with_tangent(output.detach(), along)
        self._nodes.append(Node(output, self._first, direction, arriving, sent, sent._version))
        return sent
