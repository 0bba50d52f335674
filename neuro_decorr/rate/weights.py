"""The weights behind a Decorrelation: which layer, which of its groups, and as what matrix they act."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias, final, get_args

import torch
from torch import Tensor, nn

from neuro_decorr.rate.cell import DecorrelationCell
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.precision import exactly

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
WeightLayer: TypeAlias = nn.Linear | Convolution
"""The layers that can be decorrelated."""


@final
@dataclass(frozen=True, eq=False)
class Weights:
    """The weights that act on the outputs of one Decorrelation, as a matrix of shape (rows, features).

    A row is an output unit. Of a convolution whose channels alone are decorrelated it is an output unit at one
    position of the kernel, since D acts at every position alike.

    Attributes:
        layer: The layer that owns them.
        group: Which group of its channels.
        groups: How many it has.
        per_channel: Whether D acts on channels, not on patches.
    """

    layer: WeightLayer
    group: int = 0
    groups: int = 1
    per_channel: bool = False

    @property
    def block(self) -> Tensor:
        """The weights of the group, shape (outputs, channels, *kernel): a view."""
        return self.part(self.layer.weight)

    @property
    def bias(self) -> Tensor | None:
        """The biases of the group, shape (outputs,): a view."""
        bias: Tensor | None = self.layer.bias
        return None if bias is None else self.part(bias)

    def part(self, whole: Tensor) -> Tensor:
        """The group's part of a tensor with the layer's outputs first: a view."""
        return whole if self.groups == 1 else whole.chunk(self.groups)[self.group]

    def matrix(self, whole: Tensor | None = None) -> Tensor:
        """W, shape (rows, features): a view where the memory layout allows.

        Args:
            whole: A tensor of the shape of the layer's weight to be arranged in its place.
        """
        block = self.block if whole is None else self.part(whole)
        return block.movedim(1, -1).flatten(0, -2) if self.per_channel else block.flatten(1)

    def shaped(self, matrix: Tensor) -> Tensor:
        """A matrix in the shape of the weights of the group."""
        block = self.block
        if self.per_channel:
            return matrix.view(len(block), *block.shape[2:], block.shape[1]).movedim(-1, 1)
        return matrix.view_as(block)

    def write(self, matrix: Tensor, whole: Tensor | None = None) -> None:
        """Put back what `matrix` gave and was changed in place: nothing to do where that was a view."""
        block = self.block if whole is None else self.part(whole)
        if matrix.data_ptr() != block.data_ptr():
            block.copy_(self.shaped(matrix))

    def response(self, matrix: Tensor, constant: Tensor) -> Tensor:
        """What the same inputs everywhere, shape (features,), make of the outputs, shape (outputs,)."""
        return (matrix @ constant).view(len(self.block), -1).sum(dim=1)


def decorrelations_of(layer: nn.Module) -> Iterator[tuple[Decorrelation, Weights]]:
    """What `decorrelate` put before a layer, one for every group of its channels, with the weights behind it."""
    held = layer._modules.get("decorrelation")
    if held is None or not isinstance(layer, WeightLayer):
        return
    found = list(held) if isinstance(held, nn.ModuleList) else [held]
    for group, decorrelation in enumerate(found):
        if isinstance(decorrelation, Decorrelation):
            per_channel = decorrelation.features != layer.weight[0].numel()
            yield decorrelation, Weights(layer, group, len(found), per_channel)


def weights_behind_cells(model: nn.Module) -> dict[Decorrelation, Weights]:
    """The weights of plain Linear layers that follow a cell with a Decorrelation in a Sequential, and nothing else."""
    sequences = [
        list(module._modules.values())
        for module in model.modules()
        if isinstance(module, nn.Sequential)
        and (type(module).forward is nn.Sequential.forward or hasattr(module, "stateful_layers"))  # Norse's
    ]
    uses = Counter(child for module in model.modules() for child in module._modules.values())
    return {
        cell.decorrelation: Weights(layer)
        for sequence in sequences
        for cell, layer in pairwise(sequence)
        if isinstance(cell, DecorrelationCell)
        and isinstance(layer, nn.Linear)
        and not (computes_of_its_own(layer) or layer._forward_pre_hooks)
        and uses[cell] == uses[layer] == 1
    }


def computes_of_its_own(layer: WeightLayer) -> bool:
    """Whether a layer computes something else with its weight than torch's own class does."""
    (kind,) = (kind for kind in get_args(WeightLayer) if isinstance(layer, kind))
    inherited = [type(layer).forward is kind.forward, "forward" not in vars(layer)]
    if kind is not nn.Linear:
        inherited.append(type(layer)._conv_forward is kind._conv_forward)  # type: ignore[union-attr]
    return not all(inherited)


def folded(layer: WeightLayer, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The weight W D of the plain layer, and the shift W D mean that its bias loses; differentiable in W.

    Args:
        layer: A decorrelated layer.
        dtype: Type of the products and of the results.

    Returns:
        The weight in its own shape, and the shift, shape (outputs,).
    """
    blocks, shifts = [], []
    for decorrelation, weights in decorrelations_of(layer):
        matrix = decorrelation.fold_into(weights.matrix().to(dtype))
        blocks.append(weights.shaped(matrix))
        with exactly(matrix):
            shifts.append(weights.response(matrix, decorrelation.subtracted().to(dtype)))
    if len(blocks) == 1:
        return blocks[0], shifts[0]
    return torch.cat(blocks), torch.cat(shifts)
