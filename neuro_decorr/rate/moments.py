"""The first moments of an optimiser, in the coordinates of weights that are compensated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.rate.weights import Weights
from neuro_decorr.rules import Change, add_

MomentOptimiser: TypeAlias = torch.optim.Adam | torch.optim.AdamW | torch.optim.SGD
"""Optimisers whose first moment is a mean of gradients, so that it transforms as they do."""


def first_moment(optimiser: torch.optim.Optimizer, parameter: Tensor | None) -> Tensor | None:
    """The running mean of a parameter's gradients, or None before its first step and where none is kept."""
    state = {} if parameter is None else optimiser.state.get(parameter, {})
    moment: Tensor | None = state.get("exp_avg", state.get("momentum_buffer"))
    return moment


def follow_transform_(optimiser: torch.optim.Optimizer, weights: Weights, change: Change) -> None:
    """Turn m into m A^T, in place, where the weights went to W A^{-1}."""
    moment = first_moment(optimiser, weights.layer.weight)
    if moment is not None:
        matrix = weights.matrix(moment)
        add_(matrix, change.moment_increment(matrix))
        weights.write(matrix, moment)


def follow_mean_(optimiser: torch.optim.Optimizer, weights: Weights, moved: Tensor) -> None:
    """Turn m into m - m_b (D (mu_new - mu_old))^T: m is of gradients delta x^T, with delta those of the bias.

    Args:
        optimiser: Holds the moments of the weight, m, and of the bias, m_b.
        weights: Of a layer with a bias.
        moved: D (mu_new - mu_old), shape (features,).
    """
    moment = first_moment(optimiser, weights.layer.weight)
    of_bias = first_moment(optimiser, weights.layer.bias)
    if moment is not None and of_bias is not None:
        matrix, part = weights.matrix(moment), weights.part(of_bias)
        errors = part.repeat_interleave(len(matrix) // len(part))  # one at every position of a kernel
        matrix.addr_(errors, moved.to(matrix.dtype), alpha=-1)
        weights.write(matrix, moment)


def check_moments(optimiser: torch.optim.Optimizer, layers: Iterable[tuple[str, Weights]]) -> None:
    """Raise unless an optimiser moves the weights of all layers, with moments that are means of gradients."""
    if not isinstance(optimiser, torch.optim.Optimizer):
        raise InvalidValue(f"moments must be the optimiser of the weights, or None, got {optimiser!r}.")
    if not isinstance(optimiser, MomentOptimiser):
        raise Unsupported(
            f"moments: how the moments of {type(optimiser).__name__} follow the weights is not known; "
            "use Adam, AdamW or SGD, or moments=None."
        )
    moved = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    for name, weights in layers:
        if id(weights.layer.weight) not in moved:
            raise InvalidValue(
                f"moments: the optimiser does not move the weight of layer '{name}'; pass the optimiser that does."
            )
