"""What passes leave: losses and nodes; and many perturbed passes as one over a longer batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from neuro_decorr.credit._layers import name_of
from neuro_decorr.credit._time import Layout
from neuro_decorr.errors import Unsupported


class Visited(NamedTuple):
    """What was kept of a pass, in the order of the visits.

    Attributes:
        nodes: For every node tensor what was asked for: noise (unit variance), its sign, perturbed activity, or the
            clean output with the graph of its own layer. Noise that is held over the pass is the same tensor in all
            places, without the dimension of time.
        layers: Whose outputs they are.
        shapes: Shapes of the node tensors.
        graphs: The output before the noise, with the graph of its own layer at its perturbed input, if asked for.
    """

    nodes: list[Tensor]
    layers: list[nn.Module]
    shapes: list[torch.Size]
    graphs: list[Tensor]


class Perturbed(NamedTuple):
    """A perturbed pass.

    Attributes:
        losses: Of the samples, shape (samples,), float64; their derivatives along the noise where these were asked for.
        nodes: As in `Visited`.
        graphs: As in `Visited`.
    """

    losses: Tensor
    nodes: list[Tensor]
    graphs: list[Tensor]


class Clean(NamedTuple):
    """The clean pass.

    Attributes:
        loss: The loss of the batch, a detached scalar.
        losses: Of the samples, shape (samples,), float64.
        share: What each of them contributes to `loss`.
        nodes: The node tensors, each with the graph of its own layer and nothing more.
        layers: Whose outputs they are.
    """

    loss: Tensor
    losses: Tensor
    share: float
    nodes: list[Tensor]
    layers: list[nn.Module]


@final
class Repeated:
    """A batch whose samples are repeated, once for each direction.

    Args:
        inputs: One tensor.
        directions: How many times.
        layout: Where the samples are.

    Raises:
        Unsupported: The inputs cannot be repeated.
    """

    def __init__(self, inputs: Any, directions: int, layout: Layout) -> None:
        if not isinstance(inputs, Tensor) or inputs.dim() < 1:
            raise Unsupported(
                f"directions side by side need a model that is called with one tensor, got {type(inputs).__name__}; "
                "use vectorised=False."
            )
        self.directions = directions
        self.samples = layout.samples(inputs) or 0
        self.inputs = torch.cat([inputs] * directions, layout.sample_dimension(inputs))
        self._layout = layout
        self._version = self.inputs._version

    def once(self, forward: Callable[[Tensor], Any], given: Any) -> Any:
        """What a layer returns, computed once for all directions where it gets these inputs, or a view of them."""
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
        model: The model, with what perturbs its nodes in place.
        repeated: The batch.
        layout: Where the samples are.
        take: Hands out what was kept of the pass.

    Returns:
        Outputs of every pass, and what was kept of it.

    Raises:
        Unsupported: Something couples the samples of a batch.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            raise Unsupported(
                f"{name_of(model, module)} normalises over the batch, which directions side by side would share; use "
                "vectorised=False, or model.eval()."
            )
    directions, samples = repeated.directions, repeated.samples
    outputs = model(repeated.inputs)
    if not isinstance(outputs, Tensor) or outputs.shape[:1] != (samples * directions,):
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise Unsupported(
            f"directions side by side need one output per sample: {directions} times {samples} samples gave {got}. "
            "Inputs of (time, samples, units) need time_first=True."
        )
    nodes, layers, shapes, _ = take()
    parts: dict[int, tuple[Tensor, ...]] = {}
    for node in nodes:
        if id(node) not in parts:
            parts[id(node)] = node.chunk(directions, layout.sample_dimension(node))
    of_one = [_shape_of_one(shape, directions, layout) for shape in shapes]
    return [
        (output, Visited([parts[id(node)][direction] for node in nodes], layers, of_one, []))
        for direction, output in enumerate(outputs.chunk(directions))
    ]


def _shape_of_one(shape: torch.Size, directions: int, layout: Layout) -> torch.Size:
    sizes = list(shape)
    sizes[int(layout.time_first and len(sizes) > 2)] //= directions
    return torch.Size(sizes)
