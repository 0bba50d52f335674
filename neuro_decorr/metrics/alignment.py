"""Geometry of gradients: angle between the updates of two credit assignments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue


@dataclass(frozen=True)
class Alignment:
    """Angle between two gradients, for all parameters together and for each tensor."""

    cosine: float  # in [-1, 1]; NaN if either gradient is zero
    angle: float  # degrees, 0 to 180
    norm_ratio: float  # norm of the first over norm of the second
    cosines: tuple[float, ...]  # cosine of each pair of tensors, in the given order


def alignment(first: Iterable[Tensor | None], second: Iterable[Tensor | None]) -> Alignment:
    r"""Angle between two gradients, such as a credit's and backpropagation's.

    $$\cos = \frac{\sum_l \langle a_l, b_l \rangle}{\sqrt{\sum_l \|a_l\|^2}\sqrt{\sum_l \|b_l\|^2}}$$

    All sums are in float64. An angle below 90 degrees means that a small step along one gradient lowers the loss whose
    gradient the other is.

    Cost: three products over the parameters.

    Source: Lillicrap, Cownden, Tweed and Akerman (2016), Random synaptic feedback weights support error
    backpropagation for deep learning, Nature Communications 7, doi:10.1038/ncomms13276.

    Args:
        first: Tensors, one per parameter, of any shape, such as clones of `[p.grad for p in model.parameters()]`.
        second: Tensors of the same shapes in the same order.

    Returns:
        Cosine, angle (degrees), ratio of norms, and the cosine of each tensor.

    Raises:
        InvalidValue: There are no tensors, numbers or shapes differ, a gradient is missing (None), or a value is NaN or
            infinite.
    """
    products = [_products(index, a, b) for index, (a, b) in enumerate(_matched(list(first), list(second)))]
    inner, left, right = (sum(column) for column in zip(*products, strict=True))
    cosine = _cosine(inner, left, right)
    return Alignment(
        cosine=cosine,
        angle=math.degrees(math.acos(cosine)),
        norm_ratio=math.sqrt(left) / math.sqrt(right) if right > 0 else math.nan,
        cosines=tuple(_cosine(*product) for product in products),
    )


def _matched(first: list[Tensor | None], second: list[Tensor | None]) -> list[tuple[Tensor, Tensor]]:
    """Pair the tensors, and check that none is missing and that their shapes agree."""
    if not first or len(first) != len(second):
        raise InvalidValue(
            f"gradients: got {len(first)} and {len(second)} tensors; give as many of both, one for each parameter."
        )
    matched = []
    for index, (a, b) in enumerate(zip(first, second, strict=True)):
        if a is None or b is None:
            raise InvalidValue(f"gradients: tensor {index} is None; run backward first, or leave that parameter out.")
        if a.shape != b.shape:
            raise InvalidValue(
                f"gradients: tensor {index} has the shapes {tuple(a.shape)} and {tuple(b.shape)}; give equal shapes."
            )
        matched.append((a, b))
    return matched


def _products(index: int, first: Tensor, second: Tensor) -> tuple[float, float, float]:
    """Inner product and both squared norms, in float64."""
    a, b = first.detach().double().flatten(), second.detach().double().flatten()
    inner, left, right = torch.stack([a @ b, a @ a, b @ b]).tolist()
    if not (math.isfinite(left) and math.isfinite(right)):
        raise InvalidValue(f"gradients: tensor {index} holds NaN or infinity; the run has diverged there.")
    return inner, left, right


def _cosine(inner: float, left: float, right: float) -> float:
    """Cosine from the products, clipped to [-1, 1] against rounding."""
    if left == 0 or right == 0:
        return math.nan
    return max(-1.0, min(1.0, inner / (math.sqrt(left) * math.sqrt(right))))
