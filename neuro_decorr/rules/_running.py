"""The running covariance on which the batch comparators rest."""

from __future__ import annotations

import torch
from torch import Tensor

from neuro_decorr.rules._rule import Sample, State


def initial_statistics(state: State) -> State:
    """Add a running covariance and the number of updates to a state that holds `matrix`."""
    state["covariance"] = torch.zeros_like(state["matrix"])
    state["updates"] = torch.zeros_like(state["matrix"][0, 0])
    return state


def follow_(state: State, sample: Sample, rate: float) -> Tensor:
    """Move the running covariance to that of the inputs: the plain average at first, then at the rate.

    Args:
        state: Holds `covariance` and `updates`, changed in place.
        sample: Whose inputs count.
        rate: Weight of this sample's covariance; 1 divided by the number of updates where that is more.

    Returns:
        The running covariance in double precision, shape (features, features). Cost: k d^2.
    """
    weight = min(1.0, max(rate, 1 / int(state["updates"].add_(1))))
    inputs = sample.inputs
    state["covariance"].addmm_(inputs.T, inputs, beta=1 - weight, alpha=weight / len(inputs))
    return state["covariance"].double()
