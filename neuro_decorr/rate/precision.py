"""Lateral weights are not for half precision: updates of 1e-5 would round to nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def exactly(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which autocast does not reach the products of lateral weights."""
    device = tensor.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
