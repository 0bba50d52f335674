"""Rows of a layer: inputs as its weights see them, and errors at its outputs."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from neuro_decorr.row_choice import Convolution, TransposedConvolution, patches, positions, spaced, windows

WeightLayer: TypeAlias = nn.Linear | Convolution

_LEAST_IMAGES = 8
"""Least number of images from which rows are taken, if the batch has them, since patches of one image are similar."""
_IMAGES, _POSITIONS = (0, 2), (1, 2)
"""Axes of the turns of images, and of positions in them."""


def groups_of(layer: WeightLayer) -> int:
    """Number of groups of channels of a layer."""
    return 1 if isinstance(layer, nn.Linear) else layer.groups


def input_rows(layer: WeightLayer, inputs: Tensor, most: int | None, turn: int = 0) -> Tensor:
    """Rows that the weights see: inputs or patches, decorrelated if the layer is.

    Args:
        layer: The layer.
        inputs: Input of the layer.
        most: Largest number of rows, evenly spaced. None: all.
        turn: Number of passes so far, by which they are shifted.

    Returns:
        Rows of shape (rows, features), or (groups, rows, features), in the order of `weight.flatten(1)`.
    """
    if isinstance(layer, nn.Linear):
        rows = spaced(inputs.reshape(-1, inputs.shape[-1]), most, turn)
    else:
        maps = _batch(layer, inputs)
        maps = _images(maps, positions(layer, maps), most, turn)
        rows = _by_group(layer, spaced(patches(layer, maps), most, turn, *_POSITIONS))
    return _decorrelated(layer, rows)


def error_rows(layer: WeightLayer, errors: Tensor, most: int | None, turn: int = 0) -> Tensor:
    """Derivatives with respect to the outputs, one row per sample and position.

    Args:
        layer: The layer.
        errors: Derivatives of the shape of its output.
        most: Largest number of rows, evenly spaced. None: all.
        turn: Number of passes so far, by which they are shifted.

    Returns:
        Rows of shape (rows, outputs), or (groups, rows, outputs of a group).
    """
    if isinstance(layer, nn.Linear):
        return spaced(errors.reshape(-1, errors.shape[-1]), most, turn)
    maps = _batch(layer, errors)
    maps = _images(maps, maps.shape[2:].numel(), most, turn)
    return _by_group(layer, spaced(maps.movedim(1, -1).flatten(0, -2), most, turn, *_POSITIONS))


def transposed_rows(layer: TransposedConvolution, inputs: Tensor) -> Tensor:
    """Rows that a transposed convolution sees, one per image and position, decorrelated if the layer is.

    Args:
        layer: The layer.
        inputs: Input of the layer.

    Returns:
        Rows of shape (rows, channels), or (groups, rows, channels of a group).
    """
    rows = _by_group(layer, _batch(layer, inputs).movedim(1, -1).flatten(0, -2))
    return _decorrelated(layer, rows)


def one_row_of_each(
    layer: Convolution | TransposedConvolution, inputs: Tensor, generator: torch.Generator, *, decorrelated: bool = True
) -> Tensor:
    """One row of every image, as `input_rows` and `transposed_rows` give them, from a position drawn at random.

    Args:
        layer: The layer.
        inputs: Input of the layer.
        generator: Generator on the CPU, which draws every position with equal probability.
        decorrelated: False gives the rows before D and the mean.

    Returns:
        Rows of shape (images, features), or (groups, images, features).
    """
    maps = _batch(layer, inputs)
    dimensions = len(layer.kernel_size)
    seen = maps if isinstance(layer, TransposedConvolution) else windows(layer, maps)
    drawn = [torch.randint(size, (len(seen),), generator=generator) for size in seen.shape[2 : 2 + dimensions]]
    images = torch.arange(len(seen))
    at: tuple[Any, ...] = (images.to(seen.device), slice(None), *(places.to(seen.device) for places in drawn))
    rows = _by_group(layer, seen[at].flatten(1))  # a view until here, so that other patches take no memory
    return _decorrelated(layer, rows) if decorrelated else rows


def centred_rows(held: Any, rows: Tensor) -> Tensor:
    """Rows z - mean on which D acts.

    Args:
        held: Decorrelation before a layer.
        rows: Rows of z, shape (rows, features of the layer), or (groups, rows, features of a group).

    Returns:
        Rows with the features of D. If D acts on channels, every position of a patch is a row.
    """
    mean: Tensor = held.subtracted()
    rows = rows.to(torch.promote_types(rows.dtype, mean.dtype))
    if rows.shape[-1] != held.features:
        rows = rows.reshape(*rows.shape[:-1], held.features, -1).mT.flatten(-3, -2)
    return rows - (mean if held.groups == 1 else mean.unsqueeze(1))


def _by_group(layer: Convolution | TransposedConvolution, rows: Tensor) -> Tensor:
    """Rows in the shape (groups, rows, features of a group), if there are several groups."""
    return rows if layer.groups == 1 else rows.reshape(len(rows), layer.groups, -1).transpose(0, 1)


def _decorrelated(layer: WeightLayer | TransposedConvolution, rows: Tensor) -> Tensor:
    """Rows D (z - mean) of rows of z if the layer has a Decorrelation, else z."""
    held: Any = layer._modules.get("decorrelation")
    if held is None:
        return rows
    transformed: Tensor = held.transform_centred(centred_rows(held, rows))
    if rows.shape[-1] == held.features:
        return transformed
    # D acts on channels, equally at every position of a patch.
    return transformed.reshape(*rows.shape[:-1], -1, held.features).mT.flatten(-2)


def _batch(layer: Convolution | TransposedConvolution, maps: Tensor) -> Tensor:
    """Batch (images, channels, *positions); an image without a batch is a batch of one."""
    return maps.reshape(-1, *maps.shape[-1 - len(layer.kernel_size) :])


def _images(maps: Tensor, of_each: int, most: int | None, turn: int) -> Tensor:
    """Batch of about as many images as the rows need, with `of_each` rows in each: the same for inputs and errors."""
    if most is None:
        return maps
    return spaced(maps, max(_LEAST_IMAGES, math.ceil(most / of_each)), turn, *_IMAGES)
