"""Check that rows and their products are finite."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_LARGEST_NORM = {dtype: math.sqrt(torch.finfo(dtype).max) for dtype in (torch.float32, torch.float64)}


def squares_fit(tensors: list[Tensor]) -> bool:
    """True if all tensors are finite and the sums of their squares fit their type, as then do all sums of products.

    Cost: one pass over each tensor, and one wait if all are on one accelerator.

    Args:
        tensors: Tensors of float32 or float64.
    """
    if not tensors:
        return True
    norms = torch._foreach_norm(tensors)
    if not norms[0].is_cpu and all(norm.device == norms[0].device for norm in norms):
        found = torch.stack([norm.double() for norm in norms]).tolist()
    else:
        found = [norm.item() for norm in norms]
    # On CPUs the squares are summed in float64, so that the norm alone does not show the overflow.
    return all(norm < _LARGEST_NORM[tensor.dtype] for norm, tensor in zip(found, tensors, strict=True))
