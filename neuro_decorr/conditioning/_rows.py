"""What the weights of a layer see of its input, and what the loss says to its outputs, as rows."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
WeightLayer: TypeAlias = nn.Linear | Convolution

_LEAST_IMAGES = 8
"""Patches of one image are alike: some of the rows come from several, where the batch has them."""


def groups_of(layer: WeightLayer) -> int:
    """How many groups of channels a layer has."""
    return 1 if isinstance(layer, nn.Linear) else layer.groups


def input_rows(layer: WeightLayer, inputs: Tensor, most: int | None) -> Tensor:
    """Rows that the weights see: inputs or patches, decorrelated where the layer is.

    Args:
        layer: The layer.
        inputs: What it was called with.
        most: At most about so many rows, evenly spaced; all where None.

    Returns:
        Shape (rows, features), or (groups, rows, features), in the order of `weight.flatten(1)`.
    """
    if isinstance(layer, nn.Linear):
        rows = _spaced(inputs.reshape(-1, inputs.shape[-1]), most)
    else:
        rows = _by_group(layer, _spaced(_patches(layer, _images(layer, inputs, most, math.prod(layer.stride))), most))
    held: Any = layer._modules.get("decorrelation")
    return rows if held is None else _decorrelated(held, rows)


def error_rows(layer: WeightLayer, errors: Tensor, most: int | None) -> Tensor:
    """Derivatives with respect to the outputs, one row a sample and position.

    Args:
        layer: The layer.
        errors: Of the shape of its output.
        most: At most about so many rows, evenly spaced; all where None.

    Returns:
        Shape (rows, outputs), or (groups, rows, outputs of a group).
    """
    if isinstance(layer, nn.Linear):
        return _spaced(errors.reshape(-1, errors.shape[-1]), most)
    maps = _images(layer, errors, most)
    return _by_group(layer, _spaced(maps.movedim(1, -1).flatten(0, -2), most))


def _by_group(layer: Convolution, rows: Tensor) -> Tensor:
    """The same rows as (groups, rows, features of a group), where there are several groups."""
    return rows if layer.groups == 1 else rows.reshape(len(rows), layer.groups, -1).transpose(0, 1)


def _decorrelated(held: Any, rows: Tensor) -> Tensor:
    """D (z - mean) of rows of z, for what `decorrelate` puts before a layer."""
    mean: Tensor = held.subtracted()
    rows = rows.to(torch.promote_types(rows.dtype, mean.dtype))
    mean = mean if held.groups == 1 else mean.unsqueeze(1)
    if rows.shape[-1] == held.features:
        transformed: Tensor = held.transform_centred(rows - mean)
        return transformed
    # D acts on channels, at every position of a patch alike.
    at_positions = rows.reshape(*rows.shape[:-1], held.features, -1).mT
    transformed = held.transform_centred(at_positions.flatten(-3, -2) - mean)
    return transformed.reshape(at_positions.shape).mT.flatten(-2)


def _images(layer: Convolution, maps: Tensor, most: int | None, positions_a_row: int = 1) -> Tensor:
    """A batch (images, channels, *positions), of about as many images as the rows need."""
    maps = maps.reshape(-1, *maps.shape[-1 - len(layer.kernel_size) :])  # an image without a batch is a batch of one
    if most is None:
        return maps
    return _spaced(maps, max(_LEAST_IMAGES, math.ceil(most * positions_a_row / maps.shape[2:].numel())))


def _patches(layer: Convolution, maps: Tensor) -> Tensor:
    """All patches, shape (images * positions, channels * kernel positions)."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    windows = F.pad(maps, layer._reversed_padding_repeated_twice, mode=mode)
    for axis, (size, stride, step) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)):
        windows = windows.unfold(2 + axis, (size - 1) * step + 1, stride)[..., ::step]
    dimensions = len(layer.kernel_size)
    positions_first = windows.movedim(1, 1 + dimensions)
    return positions_first.flatten(1 + dimensions).flatten(0, dimensions)


def _spaced(rows: Tensor, most: int | None) -> Tensor:
    """At most so many of the rows, evenly spaced over the first dimension."""
    if most is None or len(rows) <= most:
        return rows
    return rows[torch.arange(most, device=rows.device) * len(rows) // most]
