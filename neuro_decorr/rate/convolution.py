r"""Decorrelation in front of a convolution, with D folded into the kernel.

A patch of C channels and k positions is a vector of C k features, and the convolution a linear map W of it:

$$y = W D (p - \mu) + b = (W D)\, p + (b - W D \mu)$$

So one convolution with the kernel W D computes it, padding included; patches are cut out for the few rows only that
drive the plasticity. The features are in the order of ``weight.flatten(1)``: channels first, then positions. The
groups of a grouped convolution see different channels, so each has a D of its own; all of them are folded at once.

Where D acts on channels only, it acts at every position of the padded input: a 1x1 convolution behind the padding, so
that the mean enters every output alike, and one bias carries it. Its rows are the positions of the input without the
padding.

A transposed convolution maps the channels at one position of its input to many outputs, so D acts on channels there.
At its borders fewer positions meet in an output, so that no bias could carry their mean: it is subtracted from the rows
that drive the plasticity, and not from what passes.

$$y = W D z + b$$
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.record import unwrapped
from neuro_decorr.rate.weights import Convolution, TransposedConvolution, Weights, decorrelation_of, folded

_LEAST_IMAGES = 8
"""Patches of one image are alike: sampled rows come from several, where the batch has them."""
_ROWS_PER_FEATURE = 2
"""Patches overlap, and a batch holds very many: more than two a feature cost time and sharpen little."""
_LEAST_ROWS = 64
"""Few features need more rows than that all the same."""

_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def convolved(layer: Convolution, inputs: Tensor) -> Tensor:
    """The output of a decorrelated convolution, of the memory layout that the plain one's would have.

    Args:
        layer: The convolution.
        inputs: Shape (batch, channels, *positions), or without the batch.

    Raises:
        InvalidValue: Another number of channels.
    """
    decorrelation, weights = _found(layer)
    kernel, bias = _prepared(layer, decorrelation, inputs)
    convolve: Callable[[Tensor, Tensor, Tensor | None], Tensor] = layer._conv_forward
    outputs = convolve(inputs, kernel, bias)
    _remember(layer, decorrelation, weights, inputs)
    return outputs


def transposed(layer: TransposedConvolution, inputs: Tensor, output_size: list[int] | None = None) -> Tensor:
    """The output of a decorrelated transposed convolution; arguments as of torch's own, errors as of `convolved`."""
    decorrelation, weights = _found(layer)
    kernel, bias = _prepared(layer, decorrelation, inputs)
    # Of lists, as torch's own forward gives it to its helper.
    stride, padding, size, dilation = map(list, (layer.stride, layer.padding, layer.kernel_size, layer.dilation))
    dimensions = len(size)
    added = layer._output_padding(inputs, output_size, stride, padding, size, dimensions, dilation)  # type: ignore[arg-type]
    outputs = _TRANSPOSED[dimensions](inputs, kernel, bias, stride, padding, added, layer.groups, dilation)
    _remember(layer, decorrelation, weights, inputs)
    return outputs


def patches(layer: Convolution, inputs: Tensor, rows: int | None = None) -> Tensor:
    """Patches that a convolution sees, its padding included.

    Args:
        layer: The convolution.
        inputs: Shape (batch, channels, *positions).
        rows: About how many to cut out, evenly spaced over images and positions; all where None.

    Returns:
        Shape (patches, channels * kernel positions), in the order of `weight.flatten(1)`, group after group.
    """
    dimensions = len(layer.kernel_size)
    if rows is not None:
        inputs = _some_images(inputs, rows, _positions(layer, inputs))
    windows = _padded(layer, inputs)
    for axis, reach in enumerate(_reach(layer)):
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


def _prepared(
    layer: Convolution | TransposedConvolution, decorrelation: Decorrelation, inputs: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The kernel W D and the bias b - W D mean."""
    dimensions = len(layer.kernel_size)
    if inputs.dim() not in (dimensions + 1, dimensions + 2) or inputs.shape[-1 - dimensions] != layer.in_channels:
        positions = f"{dimensions} dimension{'s' if dimensions > 1 else ''} of positions"
        raise InvalidValue(
            f"{type(layer).__name__} got an input of shape {tuple(inputs.shape)}; it takes (batch, "
            f"{layer.in_channels} channels, {positions}), or the same without the batch."
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
    """The kernel with the strides of the plain one, which decide on the memory layout of the output.

    Those of dimensions of size one as well, of which `contiguous` takes no account.
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
    """In train mode, keep the rows that drive the plasticity."""
    if not decorrelation.is_observed() or not inputs.numel():
        return
    maps = unwrapped(inputs.detach())
    maps = maps.reshape(-1, *maps.shape[-1 - len(layer.kernel_size) :])  # an image without a batch is a batch of one
    if isinstance(layer, TransposedConvolution) or weights.per_channel:
        available = len(maps) * maps.shape[2:].numel()
        rows = positions(maps, _wanted(decorrelation, available))
        if weights.groups > 1:
            rows = rows.view(-1, weights.groups, decorrelation.features).transpose(0, 1)
    else:
        available = len(maps) * _positions(layer, maps)
        cut = patches if weights.groups == 1 else _patches_by_group
        rows = cut(layer, maps, _wanted(decorrelation, available))
    decorrelation.remember(rows.to(decorrelation.mean.dtype), available)


def _patches_by_group(layer: Convolution, inputs: Tensor, rows: int) -> Tensor:
    """The rows of `patches`, shape (groups, rows, features), taken by their places.

    A copy of windows as narrow as those of a depthwise convolution takes several times as long. Rows are next to one
    another in memory, not features: products of many small matrices are faster that way.
    """
    inputs = _some_images(inputs, rows, _positions(layer, inputs))
    padded = _padded(layer, inputs)
    starts = torch.arange(len(inputs), device=inputs.device)
    offsets = starts.new_zeros(1)
    sizes = [
        (size - reach) // stride + 1
        for size, reach, stride in zip(padded.shape[2:], _reach(layer), layer.stride, strict=True)
    ]
    steps = _stride_for(torch.Size(sizes), max(1, rows // len(inputs)))
    for axis, size in enumerate(padded.shape[2:]):
        taken = torch.arange(steps[axis] // 2, sizes[axis], steps[axis], device=inputs.device) * layer.stride[axis]
        inside = torch.arange(layer.kernel_size[axis], device=inputs.device) * layer.dilation[axis]
        starts = (starts.unsqueeze(1) * size + taken).flatten()
        offsets = (offsets.unsqueeze(1) * size + inside).flatten()
    places = (offsets.unsqueeze(1) + starts).flatten()
    channels = padded.transpose(0, 1).flatten(1)
    return channels.index_select(1, places).view(layer.groups, -1, len(starts)).mT


def _wanted(decorrelation: Decorrelation, available: int) -> int:
    """How many rows to cut out."""
    most = max(_LEAST_ROWS, _ROWS_PER_FEATURE * decorrelation.features)
    return min(int(decorrelation.row_fraction * available) + 1, most)


def _padded(layer: Convolution, inputs: Tensor) -> Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(inputs, layer._reversed_padding_repeated_twice, mode=mode)


def _reach(layer: Convolution) -> list[int]:
    """How far the kernel reaches along each axis."""
    return [(size - 1) * dilation + 1 for size, dilation in zip(layer.kernel_size, layer.dilation, strict=True)]


def _positions(layer: Convolution, inputs: Tensor) -> int:
    """Output positions of one image."""
    padding = layer._reversed_padding_repeated_twice[::-1]
    positions = 1
    for axis, (size, reach) in enumerate(zip(inputs.shape[2:], _reach(layer), strict=True)):
        padded = size + padding[2 * axis] + padding[2 * axis + 1]
        positions *= max(0, (padded - reach) // layer.stride[axis] + 1)
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
