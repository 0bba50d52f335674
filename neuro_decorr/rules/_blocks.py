r"""Products of few rows with a large square matrix, in blocks of its rows that stay in a core's cache.

One product of 26 rows with a matrix of 3072 x 3072 runs at half the speed of a square product, because the library
behind torch first copies the whole matrix into another order; and scaling the matrix while adding to it costs a pass
of its own over memory. As a batch of products with blocks of its rows, both happen in cache. The results are the same
up to the order of summation. Measured in `benchmarks/decorrelation_step.py`.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

_LEAST_FEATURES = 512
"""Smaller matrices fit into a core's cache as a whole."""
_MOST_ROWS = 48
"""More rows use a core well without blocks, and the partial sums of `project` would fill a quarter of the matrix."""


def project(rows: Tensor, matrix: Tensor) -> Tensor:
    r"""R D, as a sum over blocks of the rows of D.

    Args:
        rows: R, shape (rows, features).
        matrix: D, shape (features, features).

    Returns:
        R D, shape (rows, features). Cost: 2 rows features^2 flop, and partial sums of at most features^2 / 4 numbers.
    """
    size = _block(matrix.shape[0], 192, 320) if _worthwhile(rows, matrix) else 0
    if not size:
        return torch.mm(rows, matrix)
    blocks = matrix.view(-1, size, len(matrix))
    return torch.bmm(rows.view(len(rows), -1, size).transpose(0, 1), blocks).sum(dim=0)


def scale_and_add_(matrix: Tensor, scale: float, left: Tensor, right: Tensor, weight: float) -> None:
    r"""D <- p D + w L^T R in place.

    Args:
        matrix: D, shape (features, features).
        scale: p.
        left: L, shape (rows, features).
        right: R, shape (rows, features).
        weight: w.
    """
    size = _block(matrix.shape[0], 96, 160) if _worthwhile(left, matrix) else 0
    if not size:
        torch.addmm(matrix, left.T, right, beta=scale, alpha=weight, out=matrix)
        return
    blocks = matrix.view(-1, size, len(matrix))
    columns = left.view(len(left), -1, size).permute(1, 2, 0)
    blocks.baddbmm_(columns, right.expand(len(blocks), *right.shape), beta=scale, alpha=weight)


def _worthwhile(rows: Tensor, matrix: Tensor) -> bool:
    return matrix.shape[0] >= _LEAST_FEATURES and rows.shape[0] <= _MOST_ROWS and matrix.is_cpu


@cache
def _block(features: int, least: int, most: int) -> int:
    """The smallest divisor of `features` in a range of sizes that are fast, or 0 where it holds none."""
    return next((size for size in range(least, most + 1) if features % size == 0), 0)
