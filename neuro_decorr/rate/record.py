"""What a Decorrelation remembers of the forward passes since the last step, until a plasticity consumes it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MOST_ROWS = 1024
"""More rows than these are thinned out, so that passes without a step take bounded memory."""


class Record(NamedTuple):
    """Sampled rows of all forward passes in train mode since the last step (detached copies).

    Attributes:
        inputs: Sampled rows of z - mean, shape (rows, features).
        outputs: The same rows of x, shape (rows, features).
        batch_mean: Mean of z over all rows, sampled or not, shape (features,).
        seen: How many rows these are: a number, or a tensor in a compiled graph, which must not depend on its value.
    """

    inputs: Tensor
    outputs: Tensor
    batch_mean: Tensor
    seen: float | Tensor


def joined(earlier: Record, later: Record) -> Record:
    """The record of two forward passes: the rows of both, and the mean over all rows of both.

    Args:
        earlier: Of the passes so far.
        later: Of the last pass.

    Returns:
        Rows one below the other. Where they would be more than `MOST_ROWS` and more than the last pass has alone,
        that many, evenly spaced, every pass in proportion to its size.
    """
    seen = earlier.seen + later.seen
    share = later.seen / seen
    inputs = torch.cat((earlier.inputs, later.inputs))
    outputs = torch.cat((earlier.outputs, later.outputs))
    most = max(MOST_ROWS, len(later.inputs))
    if len(inputs) > most:
        spread = _spread(len(earlier.inputs), len(later.inputs), share, most, inputs)
        inputs, outputs = inputs[spread], outputs[spread]
    return Record(inputs, outputs, torch.lerp(earlier.batch_mean, later.batch_mean, share), seen)


def in_backward() -> bool:
    """Whether autograd is running backward, where a forward pass can only be a checkpoint that is recomputed."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def transformed(tensor: Tensor) -> bool:
    """Whether a tensor is seen through a transform of torch.func."""
    return not torch.compiler.is_compiling() and torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def unwrapped(tensor: Tensor) -> Tensor:
    """A tensor outside of the transforms of torch.func: what is remembered outlives them.

    Mapped dimensions of `vmap` come first.
    """
    while transformed(tensor):
        mapped = torch._C._functorch.is_batchedtensor(tensor)
        axis = torch._C._functorch.maybe_get_bdim(tensor) if mapped else 0
        tensor = torch._C._functorch.get_unwrapped(tensor)
        tensor = tensor.movedim(axis, 0) if mapped else tensor
    return tensor


def _spread(earlier: int, later: int, share: float | Tensor, kept: int, like: Tensor) -> Tensor:
    """Indices of `kept` rows, evenly spaced, of which the fraction `share` are of the later ones."""
    place = (torch.arange(kept, device=like.device, dtype=torch.float64) + 0.5) / kept
    before = 1 - share
    among_earlier = place / before * earlier
    among_later = earlier + (place - before) / share * later
    return torch.where(place < before, among_earlier, among_later).long().clamp_(max=earlier + later - 1)
