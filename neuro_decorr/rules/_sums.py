r"""Sums over rows that an update needs, so that several processes can each hold a part of the rows.

A rule calls these functions on the rows of its sample. If the sample holds all rows, they are plain products. If it
holds a part (`Sample.joint`), they are sums over all parts, bitwise the same in every process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from neuro_decorr.errors import Diverged
from neuro_decorr.rules._state import Joint, Needs, Sample

SMALL, LARGE = 1e-12, 1e18
"""Norms between which the squares of float32 entries stay within the range of float32."""


def squares(rows: Tensor) -> float:
    """Sum of the squares of rows, in float64 if squares would leave the range of the rows' own type."""
    norm = float(torch.linalg.vector_norm(rows))
    if not SMALL < norm < LARGE:  # several times slower, since it converts first
        norm = float(torch.linalg.vector_norm(rows, dtype=torch.float64))
    return norm * norm


def present_power(rows: Tensor, joint: Joint | None = None) -> float:
    """Mean square of rows.

    Args:
        rows: Shape (rows, features).
        joint: Rows of all processes, of which these are a part; None if these are all.

    Raises:
        Diverged: The mean square is not finite.
    """
    found = squares(rows)
    if joint is not None:
        found = float(joint.total(rows.new_tensor([found], dtype=torch.float64))[0])
    return _finite(found / ((len(rows) if joint is None else joint.rows) * rows.shape[1]))


def input_power(sample: Sample) -> float:
    """Mean square of the inputs; raises Diverged if it is not finite."""
    rows, joint = sample.inputs, sample.joint
    return present_power(rows) if joint is None else _finite(joint.input_squares / (joint.rows * rows.shape[1]))


def output_power(sample: Sample) -> float:
    """Mean square of the outputs; raises Diverged if it is not finite."""
    rows, joint = sample.outputs, sample.joint
    return present_power(rows) if joint is None else _finite(joint.output_squares / (joint.rows * rows.shape[1]))


def _finite(power: float) -> float:
    if not power < math.inf:
        raise Diverged("the activity is not finite, or too large to work with: look at the data and lower the rates.")
    return power


def row_count(sample: Sample) -> int:
    """Number of rows that drive the update."""
    return len(sample.inputs) if sample.joint is None else sample.joint.rows


def total(sample: Sample, *sums: Tensor) -> tuple[Tensor, ...]:
    """Sums over all rows, from sums over the rows of this process; one floating type, one message."""
    if sample.joint is None:
        return sums
    return cut(sample.joint.total(torch.cat([each.flatten() for each in sums])), sums)


def cut(flat: Tensor, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Cut a flat tensor into tensors of the shapes of `like`, one after the other."""
    parts = torch.split(flat, [each.numel() for each in like])
    return tuple(part.view(each.shape) for part, each in zip(parts, like, strict=True))


def moment_needs(features: int, rows: Literal["inputs", "outputs"] = "outputs") -> Needs:
    """Rows, or their second moment, which has fewer numbers if there are more rows than units."""
    return Needs(rows, features * (features + 1) // 2)


def moment(sample: Sample, rows: Tensor) -> Tensor:
    """Moment R^T R, shape (features, features), of which half goes into a message.

    Args:
        sample: Sample to which the rows belong.
        rows: R, shape (rows, features), each computed from one row of the sample.
    """
    full = rows.T @ rows
    if sample.joint is None:
        return full
    return _unfolded(sample.joint.total(_folded(full)), len(full))


def first_rows(sample: Sample, rows: Tensor, count: int) -> Tensor:
    """First rows of all processes.

    Args:
        sample: Sample to which the rows belong.
        rows: Shape (rows, features), each computed from one row of the sample.
        count: Number of rows to return, at most that of all processes.
    """
    joint = sample.joint
    if joint is None:
        return rows[:count]
    first = rows.new_zeros(count, rows.shape[1])
    own = rows[: max(0, count - joint.rows_before)]
    first[joint.rows_before : joint.rows_before + len(own)] = own
    return joint.total(first)


def _folded(full: Tensor) -> Tensor:
    """Symmetric matrix without duplicate entries: its corner, and the other two parts above and below a diagonal.

    The shape is (half, features + 1), with half of the features rounded up: d (d + 1) / 2 numbers for even d.
    """
    features = len(full)
    half = (features + 1) // 2
    rest = features - half
    folded = full.new_empty(half, half + 1 + rest)
    folded[:, half + 1 :] = full[:half, half:]
    square = folded[:, : half + 1]
    square[:, 0] = 0
    square[:, 1:] = full[:half, :half].triu()
    square[:rest, :rest] += full[half:, half:].tril()
    return folded


def _unfolded(folded: Tensor, features: int) -> Tensor:
    half = (features + 1) // 2
    rest = features - half
    full = folded.new_empty(features, features)
    upper, lower = folded[:, 1 : half + 1].triu(), folded[:rest, :rest].tril()
    full[:half, :half] = upper + upper.triu(1).T
    full[half:, half:] = lower + lower.tril(-1).T
    full[:half, half:] = folded[:, half + 1 :]
    full[half:, :half] = folded[:, half + 1 :].T
    return full
