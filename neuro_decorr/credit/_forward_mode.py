"""Derivatives along a direction, by forward-mode differentiation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad

from neuro_decorr.errors import Unsupported


def with_tangent(tensor: Tensor, tangent: Tensor) -> Tensor:
    """A tensor that moves along one more direction, inside `derivative`."""
    primal, before = forward_ad.unpack_dual(tensor)  # type: ignore[no-untyped-call]
    # A copy: what works in place on the tensor works on its tangent as well.
    along = tangent.clone(memory_format=torch.contiguous_format) if before is None else (before + tangent).contiguous()
    moving: Tensor = forward_ad.make_dual(primal, along)  # type: ignore[no-untyped-call]
    return moving


@contextmanager
def needing_derivatives() -> Iterator[None]:
    """Tell what has no forward-mode derivative, in words.

    Raises:
        Unsupported: Something that runs inside has none.
    """
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:
        if not any(word in str(error) for word in ("forward AD", "forward mode", "forward-mode", "jvp")):
            raise
        reason = str(error).splitlines()[0]
        raise Unsupported(
            f"this credit needs forward-mode derivatives, and something in this model has none: {reason} "
            "For spiking networks use neurons that have them, nd.norse.LIF or nd.norse.LateralLIF, in the place of "
            "Norse's own; for other models use node_perturbation, which needs no derivatives."
        ) from error


def derivative(compute: Callable[[], Tensor]) -> Tensor:
    """The derivative of a result along the directions that `compute` gives to tensors with `with_tangent`.

    Raises:
        Unsupported: Something in it has no forward-mode derivative.
    """
    with needing_derivatives(), forward_ad.dual_level():
        result, tangent = forward_ad.unpack_dual(compute())  # type: ignore[no-untyped-call]
        return torch.zeros_like(result) if tangent is None else tangent
