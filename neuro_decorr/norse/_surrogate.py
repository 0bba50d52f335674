"""Spikes with a surrogate derivative, for all methods of differentiation in torch."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, final

import torch
from torch import Tensor
from torch.autograd import Function

SurrogateGradient: TypeAlias = Literal["superspike", "triangle"]
"""Surrogate for the derivative of a spike with respect to the distance x from the threshold, with the slope s.

`superspike`: $1 / (1 + s |x|)^2$. Source: Zenke, Ganguli (2018), SuperSpike, doi:10.1162/neco_a_01086.
`triangle`: $\\max(0, 1 - s |x|)$. Source: Bellec et al. (2020), A solution to the learning dilemma for recurrent
networks of spiking neurons, doi:10.1038/s41467-020-17236-y.
"""


def derivative(distance: Tensor, surrogate: SurrogateGradient, slope: float) -> Tensor:
    """Surrogate derivative of a spike, see `SurrogateGradient`.

    Args:
        distance: Potential less threshold, any shape.
        surrogate: Shape of the derivative.
        slope: Slope s, per unit of the potential.

    Returns:
        The derivative, of the same shape.
    """
    if surrogate == "superspike":
        return (1 + slope * distance.abs()).square().reciprocal()
    return (1 - slope * distance.abs()).relu()


def spike(distance: Tensor, surrogate: SurrogateGradient, slope: float) -> Tensor:
    """Spikes: 1 above the threshold, else 0, with a surrogate derivative.

    Gradients, forward-mode derivatives, `vmap` of both, and `torch.compile` without a graph break are supported.

    Args:
        distance: Potential less threshold, any shape.
        surrogate: Shape of the derivative.
        slope: Slope s, per unit of the potential.

    Returns:
        Spikes, of the same shape.
    """
    if torch.compiler.is_compiling():  # a Function with a forward derivative cannot be traced (torch 2.13)
        slopes = derivative(distance, surrogate, slope).detach()
        return _heaviside(distance.detach()) + slopes * (distance - distance.detach())
    result: Tensor = _Spike.apply(distance, surrogate, slope)  # type: ignore[no-untyped-call]
    return result


def _heaviside(distance: Tensor) -> Tensor:
    return distance.clamp(0, 1).ceil()  # unlike a comparison it passes NaN on


@final
class _Spike(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(distance: Tensor, _surrogate: SurrogateGradient, _slope: float) -> Tensor:
        return _heaviside(distance)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        distance, ctx.surrogate, ctx.slope = inputs
        ctx.save_for_backward(distance)
        ctx.save_for_forward(distance)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (distance,) = ctx.saved_tensors
        return gradient * derivative(distance, ctx.surrogate, ctx.slope), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        (distance,) = ctx.saved_tensors
        return tangent * derivative(distance, ctx.surrogate, ctx.slope)
