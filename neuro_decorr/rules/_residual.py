"""Sums of very many small increments, kept beyond the last place of their tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Increment: TypeAlias = Callable[[slice], Tensor]
"""Rows of what is to be added to a matrix; asked for in blocks, each before that block changes."""

_BLOCK = 1 << 17
"""Entries of a block: its temporaries stay in the cache and are never of the size of the matrix."""


def residual_of(values: Tensor) -> Tensor | None:
    """Zeros for what the values cannot hold: 2 bytes an entry beside float32; None beside float64, which needs none."""
    if values.dtype == torch.float64:
        return None
    return torch.zeros_like(values, dtype=torch.bfloat16 if values.dtype == torch.float32 else torch.float32)


def add_(values: Tensor, increment: Increment, residual: Tensor | None = None) -> None:
    r"""Add an increment in place: v <- v + increment; with a residual, the rounding error is added the next time.

    $$t = r + \Delta, \quad v' = \operatorname{fl}(v + t), \quad r' = t - (v' - v)$$

    Without it, n updates of a float32 matrix leave a random walk of about $6 \cdot 10^{-8} \sqrt n$ of its
    entries, and increments below half a unit in the last place are lost altogether. Source: Kahan (1965), Further
    remarks on reducing truncation errors, doi:10.1145/363707.363723.

    Args:
        values: Shape (rows, columns).
        increment: Gives the increment of a block of rows.
        residual: From `residual_of`, changed in place.
    """
    block = max(1, _BLOCK // max(1, values.shape[1])) if values.dim() > 1 else max(1, len(values))
    for start in range(0, len(values), block):
        rows = slice(start, start + block)
        part = values[rows]
        if residual is None:
            part.add_(increment(rows))
            continue
        wanted = increment(rows) + residual[rows]
        before = part.to(wanted.dtype, copy=True)
        part.copy_(before + wanted)
        residual[rows] = wanted.sub_(before.neg_().add_(part))
