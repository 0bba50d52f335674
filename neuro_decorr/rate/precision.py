"""Precision of lateral weights: never half precision, in which updates of 1e-5 would round to zero."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue


def exactly(tensor: Tensor) -> AbstractContextManager[object]:
    """Context in which autocast does not act on the products of lateral weights."""
    device = tensor.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def without_autocast() -> AbstractContextManager[object]:
    """Context in which no autocast is active, on any device."""
    if not torch._C._is_any_autocast_enabled():
        return nullcontext()
    stack = ExitStack()
    for device in ("cpu", "cuda", "xpu", "mps"):
        if torch.is_autocast_enabled(device):
            stack.enter_context(torch.autocast(device, enabled=False))
    return stack


def widened(inputs: Tensor, own: torch.dtype) -> Tensor:
    """Input in the floating type of the lateral weights.

    Args:
        inputs: Input of any type.
        own: Floating type of the lateral weights.

    Raises:
        InvalidValue: The type of the input is not real and floating, or is wider than that of the lateral weights.
    """
    if not inputs.dtype.is_floating_point or torch.promote_types(inputs.dtype, own) != own:
        raise InvalidValue(
            f"the input of a Decorrelation must be {own} or a narrower floating type, got {inputs.dtype}: cast the "
            "input, or cast the model by model.double() for float64."
        )
    return inputs.to(own)
