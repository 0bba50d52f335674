"""Settling of a recurrent circuit by a method that the user names."""

from __future__ import annotations

from torch import Tensor

from neuro_decorr.rate.settling.continuous import Continuous
from neuro_decorr.rate.settling.iterations import Damped, Naive, Solve
from neuro_decorr.rate.settling.method import Settling
from neuro_decorr.rate.settling.weights import LateralWeights
from neuro_decorr.registry import Registry

_WAYS: Registry[Settling] = Registry("way of settling", ("name",), Settling)
for _way in (Solve, Damped, Naive, Continuous):
    _WAYS.register(_way)


def settle(
    drive: Tensor,
    lateral: LateralWeights | Tensor,
    method: str = "solve",
    *,
    initial: Tensor | None = None,
    **parameters: float | None,
) -> Tensor:
    r"""Compute the activity of a recurrent circuit with lateral weights M under a drive z.

    $$\tau x' = -x + z - M x, \qquad x^* = (I + M)^{-1} z$$

    Methods and their parameters:

    - `solve`: the fixed point x*, by one factorisation in float64. It takes no parameters and no initial activity.
    - `damped`: x <- x + step (z - x - M x), as often as `tolerance` needs by the bound of `DampedPlan`. See `Damped`.
    - `naive`: x <- z - M x, which settles if and only if every eigenvalue of M has a modulus below 1. See `Naive`.
    - `continuous`: the activity after the drive was held for `hold` time constants, integrated exactly or by Euler's
      method with `step`, with inhibition that arrives `delay` late, and with successive stimuli if `successive`. See
      `Continuous`.

    The classes of the methods give their costs.

    Args:
        drive: z, shape (..., features), float32 or float64.
        lateral: M, shape (features, features), or `LateralWeights` (which remember their limits).
        method: One of `solve`, `damped`, `naive`, `continuous`.
        initial: Activity at the start, of a shape that broadcasts to that of the drive. None: rest (zeros).
        **parameters: Parameters of the method.

    Returns:
        x, of the shape and dtype of the drive; differentiable in the drive.

    Raises:
        UnknownName: The method does not exist.
        InvalidValue: A parameter is unknown or out of range, or shapes do not fit.
        Diverged: The method does not settle for these weights, as their eigenvalues show before anything runs.
        Unsupported: I + M is singular.

    Example:
        >>> import torch
        >>> weights = torch.tensor([[0.0, 0.5], [0.5, 0.0]])
        >>> settle(torch.tensor([1.0, 1.0]), weights)
        tensor([0.6667, 0.6667])
    """
    weights = lateral if isinstance(lateral, LateralWeights) else LateralWeights(lateral)
    return settling(method, **parameters).settle(weights, drive, initial)


def settling(method: str, **parameters: float | None) -> Settling:
    """Make a method of settling by its name and check its parameters; `settle` explains them.

    Args:
        method: One of `solve`, `damped`, `naive`, `continuous`.
        **parameters: Parameters of the method; missing ones take their defaults.

    Returns:
        The frozen description.

    Raises:
        UnknownName: The method does not exist.
        InvalidValue: A parameter is unknown or out of range.
    """
    return _WAYS.get(method, **parameters)
