"""Geometry of gradients: how far one credit assignment's update is from another's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue


@dataclass(frozen=True)
class Alignment:
    """Angle between two gradients, over all parameters together and for each tensor."""

    cosine: float  # in [-1, 1]; NaN when either gradient is zero
    angle: float  # degrees, 0 to 180
    norm_ratio: float  # length of the first over length of the second
    cosines: tuple[float, ...]  # the cosine of each pair of tensors, in the order given


def alignment(first: Iterable[Tensor | None], second: Iterable[Tensor | None]) -> Alignment:
    r"""Angle between two gradients, such as a credit's and backpropagation's.

    $$\cos = \frac{\sum_l \langle a_l, b_l \rangle}{\sqrt{\sum_l \|a_l\|^2}\sqrt{\sum_l \|b_l\|^2}}$$

    Computed in float64. An angle below 90 degrees means that a small step along the one lowers the loss of the other.
    Source: Lillicrap, Cownden, Tweed and Akerman (2016), Random synaptic feedback weights support error
    backpropagation for deep learning, Nature Communications 7, doi:10.1038/ncomms13276.

    Cost: three products over the parameters.

    Args:
        first: Tensors, one a parameter, of any shape; for instance `[p.grad for p in model.parameters()]`, cloned.
        second: Tensors of the same shapes in the same order.

    Returns:
        Cosine, angle (degrees), ratio of lengths, and the cosine of each tensor.

    Raises:
        InvalidValue: No tensors, different numbers or shapes, a missing gradient (None), NaN or infinity.
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
    """The pairs of tensors, once every one is there and fits its partner."""
    if not first or len(first) != len(second):
        raise InvalidValue(
            f"gradients: got {len(first)} and {len(second)} tensors; allowed is one of each a parameter, at least one."
        )
    matched = []
    for index, (a, b) in enumerate(zip(first, second, strict=True)):
        if a is None or b is None:
            raise InvalidValue(f"gradients: tensor {index} is None; run backward first, or leave that parameter out.")
        if a.shape != b.shape:
            raise InvalidValue(
                f"gradients: tensor {index} has shapes {tuple(a.shape)} and {tuple(b.shape)}; must agree."
            )
        matched.append((a, b))
    return matched


def _products(index: int, first: Tensor, second: Tensor) -> tuple[float, float, float]:
    """Inner product and both squared lengths, in float64."""
    a, b = first.detach().double().flatten(), second.detach().double().flatten()
    inner, left, right = torch.stack([a @ b, a @ a, b @ b]).tolist()
    if not (math.isfinite(left) and math.isfinite(right)):
        raise InvalidValue(f"gradients: tensor {index} holds NaN or infinity; the run has diverged there.")
    return inner, left, right


def _cosine(inner: float, left: float, right: float) -> float:
    """Cosine from the products; rounding kept inside [-1, 1]."""
    if left == 0 or right == 0:
        return math.nan
    return max(-1.0, min(1.0, inner / (math.sqrt(left) * math.sqrt(right))))
