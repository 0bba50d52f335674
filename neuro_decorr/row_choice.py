r"""Rows of a batch, and patches of its images, that stand for all of them: evenly spaced, others at every turn.

Of n places k are chosen, which begin at an offset that depends on the turn t,

$$
\Big\lfloor \frac{j\, n + f_t}{k} \Big\rfloor, \quad j = 0, \dots, k - 1, \qquad
f_t = \big\lfloor n \, (t\, g^{-i} \bmod 1) \big\rfloor, \qquad g^{m + 1} = g + 1
$$

on axis i = 1, ..., m of m. Every place has its turn equally often, since j n + f takes all values from 0 to k n - 1.
For m = 1 g is the golden ratio, whose multiples leave the most even gaps. If K batches come in a fixed order, each
offset moves from epoch to epoch by about n / (sqrt(5) K) or more; no g assures more for all K. Axes have their own
powers, so that all combinations of places have their turn.

Source: Roberts (2018), The unreasonable effectiveness of quasirandom sequences (the R sequence),
https://extremelearning.com.au/unreasonable-effectiveness-of-quasirandom-sequences.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
TransposedConvolution: TypeAlias = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Turn = TypeVar("Turn", int, Tensor, int | Tensor)

_BITS = 32
"""Bits of the fractions, in whole numbers: exact on devices without float64, and the same in a compiled graph."""


def _fractions(axes: int) -> tuple[int, ...]:
    root = 1.5
    for _ in range(60):
        root = (1 + root) ** (1 / (axes + 1))
    return tuple(round(2**_BITS / root ** (axis + 1)) for axis in range(axes))


_FRACTIONS = {axes: _fractions(axes) for axes in range(1, 5)}


def offset(turn: Turn, size: int, axis: int = 0, axes: int = 1) -> Turn:
    """Offset f of the places that are chosen.

    Args:
        turn: Number of turns so far: a whole number, or a tensor of them (int64).
        size: Number of places, below 2**31.
        axis: Axis of the places, from 0.
        axes: Number of axes on which places are chosen together, at most four.

    Returns:
        Whole number from 0 to size - 1, of the kind of the turn.
    """
    first: Turn = ((turn * _FRACTIONS[axes][axis]) & (2**_BITS - 1)) * size >> _BITS
    return first


def evenly(size: int, number: int, first: int | Tensor, device: torch.device | None = None) -> Tensor:
    """Indices of evenly spaced places.

    Args:
        size: Number of places.
        number: Number of places to choose, at most all of them.
        first: Offset, from 0 to size - 1; or a column of them, one per row of the result.
        device: Device of the indices.
    """
    return (torch.arange(number, device=device) * size + first) // number


def spaced(rows: Tensor, most: int | None, turn: int = 0, axis: int = 0, axes: int = 1) -> Tensor:
    """Evenly spaced rows along the first dimension, at most `most`; all of them if that is None."""
    size = len(rows)
    if most is None or size <= most:
        return rows
    return rows[evenly(size, most, offset(turn, size, axis, axes), rows.device)]


def windows(layer: Convolution, maps: Tensor) -> Tensor:
    """View of all that a convolution sees, including its padding.

    Args:
        layer: The convolution.
        maps: Input of shape (batch, channels, *positions).

    Returns:
        Windows of shape (batch, channels, *output positions, *kernel positions).
    """
    seen = padded(layer, maps)
    for axis, (reach, stride, step) in enumerate(zip(reaches(layer), layer.stride, layer.dilation, strict=True)):
        seen = seen.unfold(2 + axis, reach, stride)[..., ::step]
    return seen


def patches(layer: Convolution, maps: Tensor) -> Tensor:
    """All patches that a convolution sees, shape (batch * output positions, channels * kernel positions).

    Features are in the order of `weight.flatten(1)`, group after group. Arguments as of `windows`.
    """
    dimensions = len(layer.kernel_size)
    positions_first = windows(layer, maps).movedim(1, 1 + dimensions)
    return positions_first.flatten(1 + dimensions).flatten(0, dimensions)


def padded(layer: Convolution, maps: Tensor) -> Tensor:
    """Input of a convolution with its padding."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(maps, layer._reversed_padding_repeated_twice, mode=mode)


def reaches(layer: Convolution) -> list[int]:
    """Reach of the kernel along each axis."""
    return [(size - 1) * dilation + 1 for size, dilation in zip(layer.kernel_size, layer.dilation, strict=True)]


def positions(layer: Convolution, maps: Tensor) -> int:
    """Number of output positions of one image, at least one.

    Args:
        layer: The convolution.
        maps: Input of shape (batch, channels, *positions).
    """
    padding = layer._reversed_padding_repeated_twice[::-1]
    number = 1
    for axis, (size, reach) in enumerate(zip(maps.shape[2:], reaches(layer), strict=True)):
        seen = size + padding[2 * axis] + padding[2 * axis + 1]
        number *= max(0, (seen - reach) // layer.stride[axis] + 1)
    return max(1, number)
