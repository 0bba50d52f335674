r"""Decorrelation in front of a convolution, with D folded into the kernel.

A patch of C channels and k positions is a vector of C k features, and the convolution a linear map W of it:

.. math:: y = W D (p - \mu) + b = (W D)\, p + (b - W D \mu)

So one convolution with the kernel W D computes it, padding included; patches are cut out for the few rows only that
drive the plasticity. The features are in the order of ``weight.flatten(1)``: channels first, then positions. The
groups of a grouped convolution see different channels, so each has a D of its own.

Where D acts on channels only, it acts at every position of the padded input: a 1x1 convolution behind the padding, so
that the mean enters every output alike, and one bias carries it. Its rows are the positions of the input without the
padding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.record import unwrapped
from neuro_decorr.rate.weights import Convolution, decorrelations_of, folded

_LEAST_IMAGES = 8
"""Patches of one image are alike: sampled rows come from several, where the batch has them."""
_ROWS_PER_FEATURE = 2
"""Patches overlap, and a batch holds very many: more than two a feature cost time and sharpen little."""
_LEAST_ROWS = 64
"""Few features need more rows than that all the same."""


def attach(layer: Convolution, decorrelations: list[Decorrelation]) -> None:
    """Let a convolution decorrelate its input: it gains the submodule and computes with the folded kernel."""
    layer.decorrelation = decorrelations[0] if len(decorrelations) == 1 else nn.ModuleList(decorrelations)
    # Of this instance, until `detach`. A partial function, unlike a bound method, can be pickled.
    layer.forward = functools.partial(_forward, layer)  # type: ignore[method-assign]


def detach(layer: Convolution) -> None:
    """Undo `attach`, whatever the weights are by now."""
    del layer.decorrelation
    del layer.forward


def patches(layer: Convolution, inputs: Tensor, rows: int | None = None) -> Tensor:
    """Patches that a convolution sees, its padding included.

    Args:
        layer: The convolution.
        inputs: Shape (batch, channels, *positions).
        rows: About how many to cut out, evenly spaced over images and positions; all where None.

    Returns:
        Shape (patches, channels * kernel positions), in the order of `weight.flatten(1)`, group after group.
    """
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    dimensions = len(layer.kernel_size)
    if rows is not None:
        inputs = _some_images(inputs, rows, _positions(layer, inputs))
    windows = F.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)
    for axis in range(dimensions):
        reach = (layer.kernel_size[axis] - 1) * layer.dilation[axis] + 1
        windows = windows.unfold(2 + axis, reach, layer.stride[axis])
    for axis, step in enumerate(layer.dilation):
        windows = windows.movedim(2 + dimensions + axis, 0)[::step].movedim(0, 2 + dimensions + axis)
    # (batch, channels, *positions, *kernel): a view; only the positions that are kept are copied.
    return _rows(windows, dimensions, rows)


def positions(inputs: Tensor, rows: int | None = None) -> Tensor:
    """Channels at the positions of a map, without padding.

    Args:
        inputs: Shape (batch, channels, *positions).
        rows: About how many positions, evenly spaced over images and positions; all where None.

    Returns:
        Shape (positions, channels).
    """
    if rows is not None:
        inputs = _some_images(inputs, rows, inputs.shape[2:].numel())
    return _rows(inputs, inputs.dim() - 2, rows)


def _forward(layer: Convolution, input: Tensor) -> Tensor:  # the name of torch's argument
    decorrelations = [decorrelation for decorrelation, _ in decorrelations_of(layer)]
    weight: Tensor = layer.weight
    kernel, shift = folded(layer, torch.promote_types(weight.dtype, decorrelations[0].mean.dtype))
    bias: Tensor | None = layer.bias
    if decorrelations[0].center:
        bias = (-shift if bias is None else bias - shift).to(weight.dtype)
    if decorrelations[0].training:
        _remember(layer, decorrelations, input)
    convolve: Callable[[Tensor, Tensor, Tensor | None], Tensor] = layer._conv_forward
    return convolve(input, kernel.to(weight.dtype), bias)


@torch.no_grad()
def _remember(layer: Convolution, decorrelations: list[Decorrelation], inputs: Tensor) -> None:
    decorrelations[0].check_not_empty(inputs)
    if not all(decorrelation.is_observed() for decorrelation in decorrelations):
        return
    maps = unwrapped(inputs.detach())
    maps = maps.reshape(-1, *maps.shape[-1 - len(layer.kernel_size) :])  # an image without a batch is a batch of one
    features = decorrelations[0].features
    on_patches = features == layer.weight[0].numel()
    available = len(maps) * (_positions(layer, maps) if on_patches else maps.shape[2:].numel())
    most = max(_LEAST_ROWS, _ROWS_PER_FEATURE * features)
    wanted = min(int(decorrelations[0].sample * available) + 1, most)
    rows = patches(layer, maps, wanted) if on_patches else positions(maps, wanted)
    for decorrelation, of_group in zip(decorrelations, torch.split(rows, features, dim=1), strict=True):
        decorrelation.remember(of_group.to(decorrelation.mean.dtype), available)


def _positions(layer: Convolution, inputs: Tensor) -> int:
    """Output positions of one image."""
    padding = layer._reversed_padding_repeated_twice
    positions = 1
    for axis, size in enumerate(inputs.shape[2:]):
        added = padding[2 * (len(layer.kernel_size) - 1 - axis)] + padding[2 * (len(layer.kernel_size) - 1 - axis) + 1]
        reach = (layer.kernel_size[axis] - 1) * layer.dilation[axis] + 1
        positions *= max(0, (size + added - reach) // layer.stride[axis] + 1)
    return max(1, positions)


def _some_images(inputs: Tensor, rows: int, of_each: int) -> Tensor:
    """Images, evenly spaced over the batch, to take about so many rows from."""
    images = min(len(inputs), max(_LEAST_IMAGES, rows // of_each))
    return inputs[:: len(inputs) // images][:images]


def _rows(windows: Tensor, dimensions: int, rows: int | None) -> Tensor:
    """Rows of windows (batch, channels, *positions, *kernel), at about so many positions, evenly spaced."""
    if rows is not None:
        strides = _stride_for(windows.shape[2 : 2 + dimensions], max(1, rows // len(windows)))
        for axis, stride in enumerate(strides):
            windows = windows.movedim(2 + axis, 0)[stride // 2 :: stride].movedim(0, 2 + axis)
    order = (0, *range(2, 2 + dimensions), 1, *range(2 + dimensions, windows.dim()))
    return windows.permute(order).flatten(1 + dimensions).flatten(0, dimensions)


def _stride_for(positions: torch.Size, wanted: int) -> tuple[int, ...]:
    """Equal strides over positions that leave about as many as wanted, and at least one along every axis."""
    total = positions.numel()
    step = max(1, round((total / wanted) ** (1 / len(positions))))
    return tuple(min(step, size) for size in positions)
