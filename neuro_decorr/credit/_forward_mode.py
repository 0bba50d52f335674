"""Derivatives along a direction by forward-mode differentiation."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad

from neuro_decorr.errors import Unsupported


def with_tangent(tensor: Tensor, tangent: Tensor) -> Tensor:
    """Tensor that moves along one more direction, inside `derivative`."""
    primal, before = forward_ad.unpack_dual(tensor)  # type: ignore[no-untyped-call]
    # A copy, since an operation in place on the tensor also changes its tangent.
    along = tangent.clone(memory_format=torch.contiguous_format) if before is None else (before + tangent).contiguous()
    _load()
    moving: Tensor = forward_ad.make_dual(primal, along)  # type: ignore[no-untyped-call]
    return moving


@functools.cache
def _load() -> None:
    """Let torch import its derivatives, at its first dual number, without the warnings of that import.

    torch 2.13 scripts them by `torch.jit.script`, which warns each time that it is deprecated. No user can mend that.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.script", DeprecationWarning)
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))  # type: ignore[no-untyped-call]


@contextmanager
def needing_derivatives() -> Iterator[None]:
    """Context that names operations without a forward-mode derivative.

    Raises:
        Unsupported: An operation inside the context has none.
    """
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:
        if not any(word in str(error) for word in ("forward AD", "forward mode", "forward-mode", "jvp")):
            raise
        reason = str(error).splitlines()[0]
        raise Unsupported(
            f"this credit needs forward-mode derivatives, and an operation of this model has none: {reason} "
            "For spiking networks use neurons that have them, nd.norse.LIF, AdaptiveLIF or LateralLIF, in place of "
            "those of Norse; or use node_perturbation, which needs no derivatives of this kind."
        ) from error


def derivative(compute: Callable[[], Tensor]) -> Tensor:
    """Derivative of a result along the directions that `compute` gives to tensors by `with_tangent`.

    Raises:
        Unsupported: An operation has no forward-mode derivative.
    """
    with needing_derivatives(), forward_ad.dual_level():
        result, tangent = forward_ad.unpack_dual(compute())  # type: ignore[no-untyped-call]
        return torch.zeros_like(result) if tangent is None else tangent
