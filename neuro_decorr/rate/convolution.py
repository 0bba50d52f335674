r"""Decorrelation in front of a convolution: of its patches, with D folded into the kernel.

A patch of C channels and k positions is a vector of C k features, and the convolution a linear map W of it:

.. math:: y = W D (p - \mu) + b = (W D)\, p + (b - W D \mu)

So one convolution with the kernel W D computes it, padding included; patches are cut out for the few rows only that
drive the plasticity. The features are in the order of ``weight.flatten(1)``: channels first, then positions.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr.rate.decorrelation import Decorrelation

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d

_LEAST_IMAGES = 8
"""Patches of one image are alike: sampled rows come from several, where the batch has them."""
_ROWS_PER_FEATURE = 2
"""Patches overlap, and a batch holds very many: more than two a feature cost time and sharpen little."""


def patch_features(layer: Convolution) -> int:
    """Features of a patch: input channels of a group times the positions of the kernel."""
    return layer.weight[0].numel()


def attach(layer: Convolution, decorrelation: Decorrelation) -> None:
    """Let a convolution decorrelate its patches: it gains the submodule and computes with the folded kernel."""
    layer.decorrelation = decorrelation
    layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]  # of this instance, until `detach`


def detach(layer: Convolution) -> None:
    """Undo `attach`, whatever the weights are by now."""
    del layer.decorrelation
    del layer.forward


def folded(layer: Convolution, decorrelation: Decorrelation) -> tuple[Tensor, Tensor]:
    """The kernel W D, in the shape of the weight, and the shift W D mean, shape (outputs,)."""
    kernel = decorrelation.fold_into(layer.weight.flatten(1))
    return kernel.view_as(layer.weight), kernel @ decorrelation.subtracted().to(kernel.dtype)


def patches(layer: Convolution, inputs: Tensor, rows: int | None = None) -> Tensor:
    """Patches that a convolution sees, its padding included.

    Args:
        layer: The convolution.
        inputs: Shape (batch, channels, *positions).
        rows: About how many to cut out, evenly spaced over images and positions; all where None.

    Returns:
        Shape (patches, channels * kernel positions), in the order of `weight.flatten(1)`.
    """
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    dimensions = len(layer.kernel_size)
    if rows is not None:
        images = min(len(inputs), max(_LEAST_IMAGES, rows // _positions(layer, inputs)))
        inputs = inputs[:: len(inputs) // images][:images]
    windows = F.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)
    for axis in range(dimensions):
        reach = (layer.kernel_size[axis] - 1) * layer.dilation[axis] + 1
        windows = windows.unfold(2 + axis, reach, layer.stride[axis])
    for axis, step in enumerate(layer.dilation):
        windows = windows.movedim(2 + dimensions + axis, 0)[::step].movedim(0, 2 + dimensions + axis)
    # (batch, channels, *positions, *kernel): a view; only the positions that are kept are copied.
    if rows is not None:
        strides = _stride_for(windows.shape[2 : 2 + dimensions], max(1, rows // len(windows)))
        for axis, stride in enumerate(strides):
            windows = windows.movedim(2 + axis, 0)[stride // 2 :: stride].movedim(0, 2 + axis)
    order = (0, *range(2, 2 + dimensions), 1, *range(2 + dimensions, 2 + 2 * dimensions))
    return windows.permute(order).reshape(-1, patch_features(layer))


def _forward(layer: Convolution, inputs: Tensor) -> Tensor:
    decorrelation = layer.decorrelation
    assert isinstance(decorrelation, Decorrelation)
    kernel, shift = folded(layer, decorrelation)
    bias = layer.bias
    if decorrelation.center:
        bias = -shift if bias is None else bias - shift
    if decorrelation.training:
        batched = inputs if inputs.dim() == 2 + len(layer.kernel_size) else inputs.unsqueeze(0)
        _remember(layer, decorrelation, batched)
    convolve: Callable[[Tensor, Tensor, Tensor | None], Tensor] = layer._conv_forward
    return convolve(inputs, kernel, bias)


@torch.no_grad()
def _remember(layer: Convolution, decorrelation: Decorrelation, inputs: Tensor) -> None:
    decorrelation.check_not_empty(inputs)
    available = len(inputs) * _positions(layer, inputs)
    wanted = min(int(decorrelation.sample * available) + 1, _ROWS_PER_FEATURE * decorrelation.features)
    rows = patches(layer, inputs, wanted).to(decorrelation.mean.dtype)
    decorrelation.remember(rows)


def _positions(layer: Convolution, inputs: Tensor) -> int:
    """Output positions of one image."""
    padding = layer._reversed_padding_repeated_twice
    positions = 1
    for axis, size in enumerate(inputs.shape[2:]):
        added = padding[2 * (len(layer.kernel_size) - 1 - axis)] + padding[2 * (len(layer.kernel_size) - 1 - axis) + 1]
        reach = (layer.kernel_size[axis] - 1) * layer.dilation[axis] + 1
        positions *= max(0, (size + added - reach) // layer.stride[axis] + 1)
    return max(1, positions)


def _stride_for(positions: torch.Size, wanted: int) -> tuple[int, ...]:
    """Equal strides over positions that leave about as many as wanted, and at least one along every axis."""
    total = positions.numel()
    step = max(1, round((total / wanted) ** (1 / len(positions))))
    return tuple(min(step, size) for size in positions)
