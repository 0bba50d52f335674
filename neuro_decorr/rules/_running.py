"""The running covariance on which the batch comparators rest."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro_decorr.rules._power import hear_, initial_power, newest_weight
from neuro_decorr.rules._rule import Sample, State


def initial_covariance(matrix: Tensor) -> State:
    """A running covariance, the mean power and the number of updates."""
    return {"covariance": torch.zeros_like(matrix)} | initial_power(matrix)


def follow_(state: State, sample: Sample, rate: float, own_rate: float, damping: float = 0.0) -> Tensor | None:
    r"""Move the running covariance to that of the inputs, as the rule `whitening` does.

    $$
    \hat S \leftarrow (1 - \eta_n) \hat S + \eta_n \langle z z^T \rangle, \quad
    \eta_n = \frac{\eta_t}{1 + \eta_t\, d / (k (1 + \text{damping}))}, \quad
    \eta_t = \max(\eta, 4 / (t + 4)) \text{ at first}
    $$

    It starts as c I, with c the power of the first batch: few rows in many dimensions tell no directions without power.

    Args:
        state: Holds `covariance`, `power` and `updates`, changed in place.
        sample: Whose k inputs count, within the bounds of `hear_`.
        rate: eta, of this update.
        own_rate: That of the rule, see `newest_weight`.
        damping: Of the rule: the less it whitens, the fewer rows it takes to tell a covariance from noise.

    Returns:
        The running covariance in double precision, shape (features, features); None where nothing moved: for a silent
        batch, or at rate 0. Cost: k d^2.

    Raises:
        Diverged: The power of the inputs is not finite; nothing has moved.
    """
    heard = hear_(state, sample.inputs, rate) if rate else None
    if heard is None:
        return None
    covariance = state["covariance"]
    rows, features = sample.inputs.shape
    if heard.updates == 1:
        covariance.diagonal().fill_(heard.power)
    weight = newest_weight(rate, heard.updates, own_rate)
    step = weight / (1 + weight * features / (rows * (1 + damping)))
    # Scaled before they are multiplied: the square of a float32 may leave its range where the mean square does not.
    inputs = sample.inputs.to(covariance.dtype) * math.sqrt(step * heard.scale / rows)
    covariance.addmm_(inputs.T, inputs, beta=1 - step)
    return covariance.double()
