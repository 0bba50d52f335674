"""Lateral weights are not for half precision: updates of 1e-5 would round to nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue


def exactly(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which autocast does not reach the products of lateral weights."""
    device = tensor.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def without_autocast() -> AbstractContextManager[object]:
    """A context in which no autocast is at work, on any device."""
    if not torch._C._is_any_autocast_enabled():
        return nullcontext()
    stack = ExitStack()
    for device in ("cpu", "cuda", "xpu", "mps"):
        if torch.is_autocast_enabled(device):
            stack.enter_context(torch.autocast(device, enabled=False))
    return stack


def widened(inputs: Tensor, own: torch.dtype) -> Tensor:
    """An input in the type of the lateral weights.

    Args:
        inputs: Of any type.
        own: That of the lateral weights.

    Raises:
        InvalidValue: It is not real and floating, or wider than they are.
    """
    if not inputs.dtype.is_floating_point or torch.promote_types(inputs.dtype, own) != own:
        raise InvalidValue(
            f"Decorrelation got an input of {inputs.dtype}; it takes {own} or a narrower floating type: cast the "
            "input, or the model by model.double() for float64."
        )
    return inputs.to(own)
