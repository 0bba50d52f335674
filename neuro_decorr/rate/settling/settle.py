"""The user's call: settle(drive, lateral weights, method)."""

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
    r"""The activity of a recurrent circuit with lateral weights M under a drive z.

    $$\tau x' = -x + z - M x, \qquad x^* = (I + M)^{-1} z$$

    Methods, and the parameters they take:

    - `solve`: the fixed point x*, by one factorisation in double precision. No parameters, no initial activity.
    - `damped`: x <- x + step (z - x - M x), as often as the bound of `DampedPlan` asks for `tolerance`.
      See `Damped`.
    - `naive`: x <- z - M x, which settles if and only if every eigenvalue of M has a modulus below 1. See `Naive`.
    - `continuous`: the activity after the drive was held for `hold` time constants, integrated exactly or by Euler's
      method with `step`, inhibition arriving `delay` late, stimuli one after the other if `successive`.
      See `Continuous`.

    Args:
        drive: z, shape (..., features), float32 or float64.
        lateral: M, shape (features, features), or `LateralWeights` (which remember their limits).
        method: One of `solve`, `damped`, `naive`, `continuous`.
        initial: Activity at the start, of a shape that broadcasts to that of the drive; rest (zeros) where None.
        **parameters: Of the method.

    Returns:
        x, shape and dtype of the drive. Differentiable in the drive.

    Raises:
        UnknownName: No such method.
        InvalidValue: A parameter that is unknown or out of range, or shapes that do not fit.
        Diverged: The method does not settle for these weights: found from their eigenvalues, before anything runs.
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
    """A way of settling by its name, with its parameters checked; `settle` explains them.

    Args:
        method: One of `solve`, `damped`, `naive`, `continuous`.
        **parameters: Of the method; those left out take their defaults.

    Returns:
        The frozen description.

    Raises:
        UnknownName: No such method.
        InvalidValue: A parameter that is unknown or out of range.
    """
    return _WAYS.get(method, **parameters)
