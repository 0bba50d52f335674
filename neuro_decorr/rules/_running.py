"""Running covariance, on which the batch comparators rest."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro_decorr.rules._power import hear_, initial_power, newest_weight
from neuro_decorr.rules._state import Sample, State
from neuro_decorr.rules._sums import moment, row_count


def initial_covariance(matrix: Tensor) -> State:
    """Running covariance, mean power and number of updates before the first batch."""
    return {"covariance": torch.zeros_like(matrix)} | initial_power(matrix)


def follow_(state: State, sample: Sample, rate: float, own_rate: float, damping: float = 0.0) -> Tensor | None:
    r"""Move the running covariance towards that of the inputs, as the rule `whitening` does.

    $$
    \hat S \leftarrow (1 - \eta_n) \hat S + \eta_n \langle z z^T \rangle, \quad
    \eta_n = \frac{\eta_t}{1 + \eta_t\, d / (k (1 + \text{damping}))}, \quad
    \eta_t = \max(\eta, 4 / (t + 4)) \text{ at first}
    $$

    It starts as c I, with c the power of the first batch, since few rows in many dimensions do not show which
    directions have no power.

    Args:
        state: State with `covariance`, `power` and `updates`, changed in place.
        sample: Sample whose k inputs count, within the bounds of `hear_`.
        rate: eta of this update.
        own_rate: Rate of the rule, see `newest_weight`.
        damping: Damping of the rule: with weaker whitening, fewer rows suffice to tell a covariance from noise.

    Returns:
        Running covariance in float64, shape (features, features); None if nothing changed, for a silent batch or at
        rate 0. Cost: k d^2.

    Raises:
        Diverged: The power of the inputs is not finite; nothing has changed.
    """
    heard = hear_(state, sample, rate) if rate else None
    if heard is None:
        return None
    covariance = state["covariance"]
    rows, features = row_count(sample), sample.inputs.shape[1]
    if heard.updates == 1:
        covariance.diagonal().fill_(heard.power)
    weight = newest_weight(rate, heard.updates, own_rate)
    step = weight / (1 + weight * features / (rows * (1 + damping)))
    # Scaled before any product: the square of a float32 may leave its range although the mean square does not.
    inputs = sample.inputs.to(covariance.dtype) * math.sqrt(step * heard.scale / rows)
    covariance.mul_(1 - step).add_(moment(sample, inputs))
    return covariance.double()
