"""Transforms of a gradient that need only the gradient."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import Diverged, InvalidValue, shown

Metric: TypeAlias = Literal["h0", "h1"]
"""Metric that smooths a gradient over output channels: `h0`, towards their mean; `h1`, along their order."""


def channel_directed(gradient: Tensor, *, weight: float, metric: Metric = "h0") -> Tensor:
    r"""Compute the gradient in a metric that correlates the output channels of a layer.

    $$
    \text{h0:}\quad \tilde G = \bar G + \frac{G - \bar G}{w} \qquad\qquad
    \text{h1:}\quad \hat{\tilde G}_n = \frac{\hat G_n}{w M^2 (2 - 2 \cos (2 \pi n / M))}, \quad n \ne 0
    $$

    with the mean over the M output channels, which stays as it is, and the hat for the discrete Fourier transform along
    the channels. h0 is the metric `<a, b> = mean a mean b + w mean (a - mean a)(b - mean b)`. In h1 the second term is
    w times the integral of the product of derivatives, with the channels on a ring of length one. Both give descent
    directions. h1 depends on the order of the channels, which has no meaning in most networks: a permutation of the
    units of a layer changes the step. Use h1 for layers whose channels have an order.

    A decorrelation of the inputs acts on the other side of the gradient, so that both commute.

    Cost: `2 o d` multiplications (h0), `o d log o` (h1).

    Source: Lao, Zhu, Wonka and Sundaramoorthi (2020), Channel-directed gradients for optimization of convolutional
    neural networks, arXiv:2008.10766.

    Args:
        gradient: G, shape (outputs, features), or (groups, outputs, features) to act within each group.
        weight: w, the weight of differences between channels; a larger value smooths more, and h0 with 1 returns G.
        metric: `h0` or `h1`, see `Metric`.

    Returns:
        The transformed gradient, of the shape and type of the gradient.

    Raises:
        InvalidValue: The weight is not positive and finite, the metric does not exist, or the gradient has other
            dimensions.
    """
    _check_matrix("channel_directed", gradient)
    checks.refuse(
        "channel_directed",
        checks.number("weight", weight, above=0),
        checks.word("metric", metric, get_args(Metric)),
    )
    if metric == "h0":
        mean = gradient.mean(dim=-2, keepdim=True)
        return mean + (gradient - mean) / weight
    wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    channels = wide.shape[-2]
    modes = torch.arange(channels // 2 + 1, dtype=wide.dtype, device=wide.device)
    # 2 - 2 cos a = 4 sin^2 (a / 2), in which no terms cancel for slow modes
    stiffness = weight * (2 * channels * torch.sin(math.pi * modes / channels)).square()
    stiffness[0] = 1
    smooth: Tensor = torch.fft.irfft(torch.fft.rfft(wide, dim=-2) / stiffness.unsqueeze(-1), n=channels, dim=-2)
    return smooth.to(gradient.dtype)


def polar(gradient: Tensor) -> Tensor:
    r"""Compute the orthogonal factor of a gradient, in which all singular values are one.

    $$G = U \Sigma V^T, \qquad \tilde G = U V^T$$

    It is the direction of steepest descent in the spectral norm: no direction of inputs or outputs moves more than
    another. Directions without gradient, with singular values below the rounding of the largest, stay at zero. The
    factor is exact. Muon approximates it by five steps of a polynomial iteration, for the momentum in place of the
    gradient: use `torch.optim.Muon` for that.

    Cost: a singular value decomposition, about `20 o d min(o, d)` multiplications.

    Source: Jordan, Jin, Boza, You, Cesista, Newhouse and Bernstein (2024), Muon: an optimizer for hidden layers in
    neural networks, https://kellerjordan.github.io/posts/muon; Carlson, Cevher and Carin (2015), Stochastic spectral
    descent for restricted Boltzmann machines, AISTATS.

    Args:
        gradient: G, shape (outputs, features), or (groups, outputs, features).

    Returns:
        The factor, of the shape and type of the gradient; its norm is the square root of its rank, for every norm of G.

    Raises:
        InvalidValue: The gradient has other dimensions.
        Diverged: The gradient is not finite.
    """
    _check_matrix("polar", gradient)
    if not bool(gradient.isfinite().all()):
        raise Diverged("polar: the gradient is not finite: lower the learning rate, or start from other weights.")
    left, values, right = torch.linalg.svd(
        gradient.to(torch.promote_types(gradient.dtype, torch.float32)), full_matrices=False
    )
    rounding = torch.finfo(values.dtype).eps * max(gradient.shape[-2:])
    kept = (values > rounding * values[..., :1]).to(values.dtype)
    factor: Tensor = (left * kept.unsqueeze(-2)) @ right
    return factor.to(gradient.dtype)


def match_norm(gradient: Tensor, like: Tensor) -> Tensor:
    r"""Scale a gradient to the norm of another one, so that only its direction differs.

    $$\tilde G = \frac{\|L\|}{\|G\|} G$$

    This is the control for transforms that change the length of a step as well as its direction. Cost: one pass over
    each tensor.

    Args:
        gradient: G, of any shape.
        like: L, of any shape; usually the gradient before a transform.

    Returns:
        G with the Euclidean norm of L; zero if G is zero.

    Raises:
        InvalidValue: An argument is not a tensor.
    """
    for name, value in (("gradient", gradient), ("like", like)):
        if not isinstance(value, Tensor):
            raise InvalidValue(f"match_norm: {name} must be a tensor, got {shown(value)}.")
    norm = torch.linalg.vector_norm(gradient)
    matched: Tensor = gradient * (torch.linalg.vector_norm(like) / norm.where(norm > 0, 1))
    return matched


def _check_matrix(owner: str, gradient: Tensor) -> None:
    found: object = gradient  # checked at run time too
    if not isinstance(found, Tensor) or found.dim() not in (2, 3) or not found.numel():
        raise InvalidValue(
            f"{owner}: the gradient must be (outputs, features), or (groups, outputs, features), got {shown(gradient)}."
        )
