"""Results of passes (losses and nodes), and many perturbed passes as one over a longer batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from neuro_decorr.credit._layers import name_of
from neuro_decorr.credit._run import output_of
from neuro_decorr.credit._time import Layout
from neuro_decorr.errors import InvalidValue, Unsupported


class Visited(NamedTuple):
    """Nodes of a pass, in the order of the visits.

    Attributes:
        nodes: Quantity kept of every node tensor: noise (unit variance), its sign, perturbed activity, or the clean
            output with the graph of its own layer. Noise that is held over the pass is the same tensor in all places,
            without the dimension of time.
        layers: Layers whose outputs the node tensors are.
        shapes: Shapes of the node tensors.
        graphs: Output before the noise, with the graph of its own layer at its perturbed input, if requested.
    """

    nodes: list[Tensor]
    layers: list[nn.Module]
    shapes: list[torch.Size]
    graphs: list[Tensor]


class Perturbed(NamedTuple):
    """Result of a perturbed pass.

    Attributes:
        losses: Losses of the samples, shape (samples,), float64; or their derivatives along the noise, if requested.
        nodes: As in `Visited`.
        graphs: As in `Visited`.
    """

    losses: Tensor
    nodes: list[Tensor]
    graphs: list[Tensor]


class Clean(NamedTuple):
    """Result of the clean pass.

    Attributes:
        loss: Loss of the batch, a detached scalar.
        losses: Losses of the samples, shape (samples,), float64.
        share: Factor with which each of them contributes to `loss`.
        nodes: Node tensors, each with the graph of its own layer and nothing more.
        layers: Layers whose outputs the node tensors are.
    """

    loss: Tensor
    losses: Tensor
    share: float
    nodes: list[Tensor]
    layers: list[nn.Module]


@final
class Repeated:
    """Batch whose samples are repeated, once for each direction.

    Args:
        inputs: Inputs of the model, one tensor.
        directions: Number of repetitions.
        layout: Layout of the inputs, with the dimension of the samples.

    Raises:
        Unsupported: The inputs cannot be repeated.
    """

    def __init__(self, inputs: Any, directions: int, layout: Layout) -> None:
        if not isinstance(inputs, Tensor) or inputs.dim() < 1:
            raise Unsupported(
                f"directions side by side need a model that is called with one tensor, got {type(inputs).__name__}: "
                "use vectorised=False."
            )
        self.directions = directions
        self.samples = layout.samples(inputs) or 0
        self.inputs = torch.cat([inputs] * directions, layout.sample_dimension(inputs))
        self._layout = layout
        self._version = self.inputs._version

    def once(self, forward: Callable[[Tensor], Any], given: Any) -> Any:
        """Output of a layer, computed once for all directions if the layer gets these inputs or a view of them."""
        if isinstance(given, Tensor) and self._holds(given):
            dimension = self._layout.sample_dimension(given)
            output = forward(given.narrow(dimension, 0, self.samples))
            if isinstance(output, Tensor) and output.dim() and self._layout.samples(output) == self.samples:
                return torch.cat([output] * self.directions, self._layout.sample_dimension(output))
        return forward(given)

    def _holds(self, given: Tensor) -> bool:
        return (
            given.data_ptr() == self.inputs.data_ptr()
            and given.numel() == self.inputs.numel()
            and given.is_contiguous()
            and given._version == self._version
            and self._layout.samples(given) == self.samples * self.directions
        )


def passes_side_by_side(
    model: nn.Module, repeated: Repeated, layout: Layout, take: Callable[[], Visited]
) -> list[tuple[Tensor, Visited]]:
    """Run all perturbed passes as one, over a batch that repeats the samples, and take it apart.

    Args:
        model: The model, with the stand-ins that perturb its nodes.
        repeated: The batch.
        layout: Layout of the tensors, with the dimension of the samples.
        take: Function that returns the visits of the pass.

    Returns:
        Outputs and visits of every pass.

    Raises:
        Unsupported: A module couples the samples of a batch.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            raise Unsupported(
                f"{name_of(model, module)} normalises over the batch, which directions side by side would share: use "
                "vectorised=False, or model.eval()."
            )
    directions, samples = repeated.directions, repeated.samples
    try:
        outputs = output_of(model(repeated.inputs))
    except (RuntimeError, InvalidValue) as error:
        raise Unsupported(
            f"the model fails on a batch that repeats the samples {directions} times: {str(error).splitlines()[0]} If "
            "the model keeps a state of one batch, reset it before every batch, or use vectorised=False."
        ) from error
    if not isinstance(outputs, Tensor) or layout.samples(outputs) != samples * directions:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise Unsupported(
            f"directions side by side need one output per sample: {directions} times {samples} samples gave {got}. "
            "Inputs of (time, samples, units) need time_first=True."
        )
    nodes, layers, shapes, _ = take()
    parts: dict[int, tuple[Tensor, ...]] = {}
    for node, layer in zip(nodes, layers, strict=True):
        if id(node) not in parts:
            parts[id(node)] = node.chunk(directions, layout.of(layer).sample_dimension(node))
    of_one = [_shape_of_one(s, directions, layout.of(layer)) for s, layer in zip(shapes, layers, strict=True)]
    return [
        (output, Visited([parts[id(node)][direction] for node in nodes], layers, of_one, []))
        for direction, output in enumerate(outputs.chunk(directions, layout.sample_dimension(outputs)))
    ]


def _shape_of_one(shape: torch.Size, directions: int, layout: Layout) -> torch.Size:
    sizes = list(shape)
    sizes[int(layout.time_first and len(sizes) > 2)] //= directions
    return torch.Size(sizes)
