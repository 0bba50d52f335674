"""A floor under directions without variance: the inputs get a little isotropic power, axis by axis."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro_decorr.rules._rule import State

_KICK = 0.25
"""Largest share of its isotropic term that an axis may miss before it is visited."""


def initial_axis(matrix: Tensor) -> State:
    """The axis to visit next."""
    return {"axis": matrix.new_zeros((), dtype=torch.int64)}


def axes_due(features: int, rows: int, step: float) -> int:
    """How many axes an update must visit, so that none misses more than a quarter of its term; all where that is near.

    Args:
        features: Number of units.
        rows: Rows of the batch: where these are at least half as many as the units, all axes come at every update.
        step: Weight of an update in the fixed point, such as rate times output power.
    """
    due = max(1, math.ceil(features * step / _KICK))
    return features if 2 * rows >= features or rows + due >= features else due


def floor_rows(state: State, power: float, axes: int) -> Tensor:
    r"""Rows whose second moment stands for $p\, D D^T$, the outputs of isotropic inputs of power p.

    $$\{ \sqrt{p\, d / a}\; D e_j \}, \quad j \text{ running over the } a \text{ axes that are due}$$

    Every axis has its turn after d / a updates, so on the average they are p D D^T exactly; with a = d at once.
    Adding them to the rows of a batch, an update keeps its low rank, and a direction that the inputs never visit is
    held where it is seen with the power p.

    Args:
        state: Holds `matrix`, and `axis`, which moves on.
        power: p.
        axes: a, from `axes_due`.

    Returns:
        Shape (axes, features). Cost: a d.
    """
    matrix = state["matrix"]
    features = len(matrix)
    if axes == features:
        return matrix.T * math.sqrt(power)
    first = int(state["axis"])
    state["axis"].fill_((first + axes) % features)
    due = torch.arange(first, first + axes, device=matrix.device).remainder_(features)
    return matrix.index_select(1, due).T * math.sqrt(power * features / axes)
