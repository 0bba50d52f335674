"""Transforms of a gradient that need nothing but the gradient."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import Diverged, InvalidValue, shown

Metric: TypeAlias = Literal["h0", "h1"]
"""How smooth over output channels a gradient is made: `h0`, towards their mean; `h1`, along their order."""


def channel_directed(gradient: Tensor, *, weight: float, metric: Metric = "h0") -> Tensor:
    r"""The gradient in a metric that correlates the output channels of a layer.

    $$
    \text{h0:}\quad \tilde G = \bar G + \frac{G - \bar G}{w} \qquad\qquad
    \text{h1:}\quad \hat{\tilde G}_n = \frac{\hat G_n}{w M^2 (2 - 2 \cos (2 \pi n / M))}, \quad n \ne 0
    $$

    with the mean over the M output channels, which stays as it is, and the hat for the discrete Fourier transform along
    them. h0 is the metric `<a, b> = mean a mean b + w mean (a - mean a)(b - mean b)`; h1 has w times the integral of
    the products of derivatives in the second place, with the channels on a ring of length one. Both are descent
    directions. h1 depends on the order of the channels, which means nothing in most networks: permute the units of a
    layer, and it is another step. It is an option for layers whose channels have an order.

    A decorrelation of the inputs acts on the other side of the gradient, so that the two commute.

    Cost: `2 o d` multiplications (h0), `o d log o` (h1).

    Source: Lao, Zhu, Wonka and Sundaramoorthi (2020), Channel-directed gradients for optimization of convolutional
    neural networks, arXiv:2008.10766.

    Args:
        gradient: G, shape (outputs, features), or (groups, outputs, features): then within each group.
        weight: w, of what differs between channels; 1 with h0 is the gradient, more smooths.
        metric: `h0` or `h1`, see `Metric`.

    Returns:
        The transformed gradient, of the shape and type of the gradient.

    Raises:
        InvalidValue: A weight that is not positive and finite, another metric, or a gradient of other dimensions.
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
    # 2 - 2 cos a = 4 sin^2 (a / 2), which does not cancel for the slow modes
    stiffness = weight * (2 * channels * torch.sin(math.pi * modes / channels)).square()
    stiffness[0] = 1
    smooth: Tensor = torch.fft.irfft(torch.fft.rfft(wide, dim=-2) / stiffness.unsqueeze(-1), n=channels, dim=-2)
    return smooth.to(gradient.dtype)


def polar(gradient: Tensor) -> Tensor:
    r"""The orthogonal factor of a gradient: all singular values one.

    $$G = U \Sigma V^T, \qquad \tilde G = U V^T$$

    The direction of steepest descent in the spectral norm: no direction of inputs or outputs moves more than another.
    Directions without gradient, with singular values below the rounding of the largest, stay without. Computed exactly;
    Muon comes close to it by five steps of a polynomial iteration, on the momentum in the place of the gradient, which
    is what `torch.optim.Muon` is for.

    Cost: a singular value decomposition, about `20 o d min(o, d)` multiplications.

    Source: Jordan, Jin, Boza, You, Cesista, Newhouse and Bernstein (2024), Muon: an optimizer for hidden layers in
    neural networks, https://kellerjordan.github.io/posts/muon; Carlson, Cevher and Carin (2015), Stochastic spectral
    descent for restricted Boltzmann machines, AISTATS.

    Args:
        gradient: G, shape (outputs, features), or (groups, outputs, features).

    Returns:
        The factor, of the shape and type of the gradient; its norm is the root of its rank, whatever that of G was.

    Raises:
        InvalidValue: A gradient of other dimensions.
        Diverged: A gradient that is not finite.
    """
    _check_matrix("polar", gradient)
    if not bool(gradient.isfinite().all()):
        raise Diverged("polar: the gradient is not finite; lower the learning rate, or start from other weights.")
    left, values, right = torch.linalg.svd(
        gradient.to(torch.promote_types(gradient.dtype, torch.float32)), full_matrices=False
    )
    rounding = torch.finfo(values.dtype).eps * max(gradient.shape[-2:])
    kept = (values > rounding * values[..., :1]).to(values.dtype)
    factor: Tensor = (left * kept.unsqueeze(-2)) @ right
    return factor.to(gradient.dtype)


def match_norm(gradient: Tensor, like: Tensor) -> Tensor:
    r"""A gradient with the norm of another one: its direction alone counts.

    $$\tilde G = \frac{\|L\|}{\|G\|} G$$

    The control for transforms that change how far a step goes as well as where to.

    Args:
        gradient: G, of any shape.
        like: L, of any shape; mostly the gradient before it was transformed.

    Returns:
        G with the Euclidean norm of L; zero where G is.

    Raises:
        InvalidValue: What is given is no tensor.
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
            f"{owner}: the gradient must be (outputs, features), or (groups, outputs, features); got {shown(gradient)}."
        )
