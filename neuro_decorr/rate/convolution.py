r"""Decorrelation of the input of a convolution, with D folded into the kernel.

A patch of C channels and k positions is a vector of C k features, and the convolution is a linear map W of it:

$$y = W D (p - \mu) + b = (W D)\, p + (b - W D \mu)$$

So one convolution with the kernel W D computes it, padding included. Patches are cut out only for the few rows that
drive the plasticity. The features are in the order of ``weight.flatten(1)``: channels first, then positions. The groups
of a grouped convolution see different channels, so that each has its own D; all of them are folded at once.

If D acts on channels only, it acts at every position of the padded input, as a 1x1 convolution after the padding does.
The mean then enters every output equally, and one bias carries it. The rows are the positions of the input without the
padding.

A transposed convolution maps the channels at one position of its input to many outputs, so that D acts on channels. At
the borders fewer positions meet in an output, so that no bias can carry their mean. The mean is therefore subtracted
from the rows that drive the plasticity, and not from the input:

$$y = W D z + b$$
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.record import unwrapped
from neuro_decorr.rate.weights import Weights, decorrelation_of, folded
from neuro_decorr.row_choice import (
    Convolution,
    TransposedConvolution,
    evenly,
    offset,
    padded,
    positions,
    reaches,
    windows,
)

_LEAST_IMAGES = 8
"""Least number of images from which rows are sampled, if the batch has them, since patches of one image are similar."""
_ROWS_PER_FEATURE = 2
"""Sampled rows per feature: patches overlap, so that more rows cost time and improve the statistics little."""
_LEAST_ROWS = 64
"""Least number of sampled rows, for layers with few features."""

_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def convolved(layer: Convolution, inputs: Tensor) -> Tensor:
    """Compute the output of a decorrelated convolution, with the memory layout of the plain convolution.

    Args:
        layer: The convolution.
        inputs: Input of shape (batch, channels, *positions), or without the batch.

    Raises:
        InvalidValue: The input has another number of channels.
    """
    decorrelation, weights = _found(layer)
    kernel, bias = _prepared(layer, decorrelation, inputs)
    convolve: Callable[[Tensor, Tensor, Tensor | None], Tensor] = layer._conv_forward
    outputs = convolve(inputs, kernel, bias)
    _remember(layer, decorrelation, weights, inputs)
    return outputs


def transposed(layer: TransposedConvolution, inputs: Tensor, output_size: list[int] | None = None) -> Tensor:
    """Compute the output of a decorrelated transposed convolution; arguments as in torch, errors as of `convolved`."""
    decorrelation, weights = _found(layer)
    kernel, bias = _prepared(layer, decorrelation, inputs)
    # Lists, as torch's own forward gives them to its helper.
    stride, padding, size, dilation = map(list, (layer.stride, layer.padding, layer.kernel_size, layer.dilation))
    dimensions = len(size)
    added = layer._output_padding(inputs, output_size, stride, padding, size, dimensions, dilation)  # type: ignore[arg-type]
    outputs = _TRANSPOSED[dimensions](inputs, kernel, bias, stride, padding, added, layer.groups, dilation)
    _remember(layer, decorrelation, weights, inputs)
    return outputs


def some_patches(layer: Convolution, inputs: Tensor, rows: int, turn: int | Tensor = 0) -> Tensor:
    """Patches that a convolution sees, including its padding, evenly spaced over images and positions.

    Args:
        layer: The convolution.
        inputs: Input of shape (batch, channels, *positions).
        rows: Approximate number of patches, elsewhere in every image.
        turn: Number of updates and of passes since the last one, by which their places are shifted.

    Returns:
        Patches of shape (patches, channels * kernel positions), in the order of `weight.flatten(1)`, group after group.
    """
    # Windows are a view; only the positions that are kept are copied.
    chosen = _some_images(inputs, rows, positions(layer, inputs), turn)
    return _rows(windows(layer, chosen), len(layer.kernel_size), rows, turn)


def some_positions(inputs: Tensor, rows: int, turn: int | Tensor = 0) -> Tensor:
    """Channels at positions of a map without padding, shape (positions, channels); arguments as of `some_patches`."""
    chosen = _some_images(inputs, rows, inputs.shape[2:].numel(), turn)
    return _rows(chosen, inputs.dim() - 2, rows, turn)


def _prepared(
    layer: Convolution | TransposedConvolution, decorrelation: Decorrelation, inputs: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Kernel W D and bias b - W D mean."""
    dimensions = len(layer.kernel_size)
    if inputs.dim() not in (dimensions + 1, dimensions + 2) or inputs.shape[-1 - dimensions] != layer.in_channels:
        positions = f"{dimensions} dimension{'s' if dimensions > 1 else ''} of positions"
        raise InvalidValue(
            f"the input of {type(layer).__name__} must have the shape (batch, {layer.in_channels} channels, "
            f"{positions}), or the same without the batch, got {tuple(inputs.shape)}."
        )
    weight: Tensor = layer.weight
    kernel, shift = folded(layer, torch.promote_types(weight.dtype, decorrelation.mean.dtype))
    bias: Tensor | None = layer.bias
    if decorrelation.center and not isinstance(layer, TransposedConvolution):
        bias = (-shift if bias is None else bias - shift).to(weight.dtype)
    return _laid_out_like(weight, kernel.to(weight.dtype)), bias


def _found(layer: Convolution | TransposedConvolution) -> tuple[Decorrelation, Weights]:
    found = decorrelation_of(layer)
    assert found is not None  # it is attached
    return found


def _laid_out_like(weight: Tensor, kernel: Tensor) -> Tensor:
    """Kernel with the strides of the plain kernel, which set the memory layout of the output.

    This includes the strides of dimensions of size one, which `contiguous` ignores.
    """
    strides = weight.stride()
    if kernel.stride() == strides:
        return kernel
    if strides[1] == 1 and strides[-1] == weight.shape[1]:  # channels last
        channels_last = kernel.movedim(1, -1)
        return channels_last.contiguous().flatten().view(channels_last.shape).movedim(-1, 1)
    return kernel.contiguous().flatten().view(kernel.shape)


@torch.no_grad()
def _remember(
    layer: Convolution | TransposedConvolution, decorrelation: Decorrelation, weights: Weights, inputs: Tensor
) -> None:
    """Keep the rows that drive the plasticity, in train mode only."""
    if not decorrelation.is_observed() or not inputs.numel():
        return
    maps = unwrapped(inputs.detach())
    maps = maps.reshape(-1, *maps.shape[-1 - len(layer.kernel_size) :])  # an image without a batch is a batch of one
    if isinstance(layer, TransposedConvolution) or weights.per_channel:
        available = len(maps) * maps.shape[2:].numel()
        turn = decorrelation.memory.turn_of_pass(available)
        rows = some_positions(maps, _wanted(decorrelation, available), turn)
        if weights.groups > 1:
            rows = rows.view(-1, weights.groups, decorrelation.features).transpose(0, 1)
    else:
        available = len(maps) * positions(layer, maps)
        turn = decorrelation.memory.turn_of_pass(available)
        cut = some_patches if weights.groups == 1 else _patches_by_group
        rows = cut(layer, maps, _wanted(decorrelation, available), turn)
    decorrelation.remember(rows.to(decorrelation.mean.dtype), available)


def _patches_by_group(layer: Convolution, inputs: Tensor, rows: int, turn: int | Tensor) -> Tensor:
    """Rows of `some_patches`, shape (groups, rows, features), gathered by index.

    A copy of windows as narrow as those of a depthwise convolution would take several times as long. Rows are adjacent
    in memory, not features, since products of many small matrices are then faster.
    """
    inputs = _some_images(inputs, rows, positions(layer, inputs), turn)
    maps = padded(layer, inputs)
    starts = torch.arange(len(inputs), device=inputs.device)
    offsets = starts.new_zeros(1)
    sizes = [
        (size - reach) // stride + 1
        for size, reach, stride in zip(maps.shape[2:], reaches(layer), layer.stride, strict=True)
    ]
    places = _places(torch.Size(sizes), len(inputs), rows, turn, inputs.device)
    for axis, size in enumerate(maps.shape[2:]):
        taken = places[axis] * layer.stride[axis]
        inside = torch.arange(layer.kernel_size[axis], device=inputs.device) * layer.dilation[axis]
        starts = starts.unsqueeze(-1) * size + taken.view(len(inputs), *[1] * axis, -1)
        offsets = (offsets.unsqueeze(1) * size + inside).flatten()
    starts = starts.flatten()
    indices = (offsets.unsqueeze(1) + starts).flatten()
    channels = maps.transpose(0, 1).flatten(1)
    return channels.index_select(1, indices).view(layer.groups, -1, len(starts)).mT


def _wanted(decorrelation: Decorrelation, available: int) -> int:
    """Number of rows to cut out."""
    most = max(_LEAST_ROWS, _ROWS_PER_FEATURE * decorrelation.features)
    return min(int(decorrelation.row_fraction * available) + 1, most)


def _some_images(inputs: Tensor, rows: int, of_each: int, turn: int | Tensor) -> Tensor:
    """Images, evenly spaced over the batch, from which about `rows` rows are taken; others at another turn."""
    images, batch = max(_LEAST_IMAGES, rows // of_each), len(inputs)
    if images >= batch:
        return inputs
    first = offset(turn, batch, 0, inputs.dim() - 1)
    return inputs.index_select(0, evenly(batch, images, first, inputs.device))


def _rows(maps: Tensor, dimensions: int, rows: int, turn: int | Tensor) -> Tensor:
    """Rows of windows (batch, channels, *positions, *kernel), at about `rows` evenly spaced positions."""
    images, sizes = len(maps), maps.shape[2 : 2 + dimensions]
    shape = [1] * dimensions
    index: list[Tensor | slice] = [torch.arange(images, device=maps.device).view(-1, *shape), slice(None)]
    for axis, taken in enumerate(_places(sizes, images, rows, turn, maps.device)):
        index.append(taken.view(images, *shape[:axis], -1, *shape[axis + 1 :]))
    chosen = maps[tuple(index)]  # (batch, *positions, channels, *kernel), since a slice parts the indices
    return chosen.flatten(1 + dimensions).flatten(0, dimensions)


def _places(
    sizes: Sequence[int], images: int, rows: int, turn: int | Tensor, device: torch.device | None = None
) -> list[Tensor]:
    """Indices of the positions along each axis, shape (images, number), that make about `rows` rows together.

    Within an image they are evenly spaced along the axis, elsewhere in every image and at every turn, so that every
    position, the border too, is chosen as often as any other.
    """
    strides = _stride_for(sizes, max(1, rows // images))
    image, axes = torch.arange(images, device=device), len(sizes)
    places = []
    for axis, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        of_turn = offset(turn, size, axis + 1, axes + 1)  # axis 0 is that of the images, chosen at the same turn
        first = (of_turn + offset(image, size, axis, axes)) % size
        places.append(evenly(size, max(1, round(size / stride)), first.unsqueeze(1), device))
    return places


def _stride_for(sizes: Sequence[int], wanted: int) -> tuple[int, ...]:
    """Equal strides over positions that leave about the wanted number, and at least one along every axis."""
    step = max(1, round((math.prod(sizes) / wanted) ** (1 / len(sizes))))
    return tuple(min(step, size) for size in sizes)
