"""Floor for directions without variance: the rule adds a little isotropic power to the inputs, axis by axis."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuro_decorr.rules._sparse import SparseState, isotropic_rows, units_of
from neuro_decorr.rules._state import State

_KICK = 0.25
"""Largest share of its isotropic term that an axis may miss before it is visited."""


def initial_axis(matrix: Tensor) -> State:
    """Axis to visit next."""
    return {"axis": matrix.new_zeros((), dtype=torch.int64)}


def axes_due(features: int, rows: int, step: float) -> int:
    """Number of axes that an update must visit so that none misses more than a quarter of its term, or all axes.

    Args:
        features: Number of units.
        rows: Rows of the batch. If these are at least half as many as the units, every update visits all axes.
        step: Weight of an update in the fixed point, such as rate times output power.
    """
    due = max(1, math.ceil(features * step / _KICK))
    return features if 2 * rows >= features or rows + due >= features else due


def floor_rows(state: State, power: float, axes: int) -> Tensor:
    r"""Rows whose second moment is $p\, D D^T$ on average, that of the outputs for isotropic inputs of power p.

    $$\{ \sqrt{p\, d / a}\; D e_j \}, \quad j \text{ running over the } a \text{ axes that are due}$$

    Every axis has its turn after d / a updates, so that the average is p D D^T exactly; for a = d every update gives
    it. With these rows added to a batch, an update keeps its low rank, and a direction without power in the inputs
    rests where it is seen with the power p.

    Args:
        state: State with `matrix` and `axis`; `axis` moves on.
        power: p.
        axes: a, from `axes_due`.

    Returns:
        Shape (axes, features). Cost: a d.
    """
    matrix = state["matrix"]
    features = units_of(state)
    if isinstance(state, SparseState):
        return isotropic_rows(state, _due(state, features, axes), power * features / axes)
    if axes == features:
        return matrix.T * math.sqrt(power)
    return matrix.index_select(1, _due(state, features, axes)).T * math.sqrt(power * features / axes)


def _due(state: State, features: int, axes: int) -> Tensor:
    """Axes whose turn it is; moves `axis` on to the next ones."""
    first = int(state["axis"])
    state["axis"].fill_((first + axes) % features)
    return torch.arange(first, first + axes, device=state["axis"].device).remainder_(features)
