"""Application of the transform of a state to rows."""

from __future__ import annotations

import torch
from torch import Tensor

from neuro_decorr.rules._blocks import blocks_applied, sizes_in
from neuro_decorr.rules._sparse import sparse_applied
from neuro_decorr.rules._state import State


def transform(state: State, centred: Tensor) -> Tensor:
    """Apply the transform of a state to centred rows: x = D (z - mean).

    Args:
        state: Tensors of a transform, see `TRANSFORM`; a state without any means D = I.
        centred: Rows z - mean, shape (..., features), or (groups, rows, features) for a grouped layer.

    Returns:
        Decorrelated rows of the same shape. Cost per row: features^2 for a dense D, 2 k features for low rank.
    """
    if "matrix" in state:
        matrix = state["matrix"]
        if matrix.dim() == 2:
            return torch.nn.functional.linear(centred, matrix)
        return (matrix @ centred.mT).mT  # several times as fast for many small groups as centred @ matrix.mT
    if "directions" in state:
        directions = state["directions"]
        if directions.dim() == 3:
            inhibition = (centred @ directions) * state["suppression"].unsqueeze(1)
            return (centred - inhibition @ directions.mT) * state["gain"].view(-1, 1, 1)
        inhibition = (centred @ directions) * state["suppression"]
        if inhibition.dim() == 2:  # one fused pass over the output
            return torch.addmm(centred, inhibition, directions.T, alpha=-1) * state["gain"]
        return (centred - inhibition @ directions.T) * state["gain"]
    return _confined(state, centred, transposed=False)


def passed_on(state: State, rows: Tensor) -> Tensor:
    """Rows of W D, by which a layer with weight W acts on the inputs of D.

    Args:
        state: Tensors of a transform.
        rows: W, shape (outputs, features), or (groups, outputs, features).
    """
    if "matrix" in state:
        return rows @ state["matrix"]
    return transform(state, rows) if "directions" in state else _confined(state, rows, transposed=True)  # symmetric


def _confined(state: State, rows: Tensor, transposed: bool) -> Tensor:
    count = _groups_of(state)
    if count is None:
        return rows
    apply = sparse_applied if "values" in state else blocks_applied
    if not count:
        return apply(state, rows, transposed)
    each = ({name: tensor[group] for name, tensor in state.items()} for group in range(len(rows)))
    return torch.stack([apply(one, part, transposed) for one, part in zip(each, rows, strict=True)])


def _groups_of(state: State) -> int | None:
    """Number of groups of a grouped layer, 0 for a layer without groups; None if D is not confined."""
    if "values" in state:
        return len(state["values"]) if state["values"].dim() == 2 else 0
    sizes = sizes_in(state)
    members = state[f"members_{sizes[0]}"] if sizes else None
    return None if members is None else len(members) if members.dim() == 3 else 0


def transform_(state: State, centred: Tensor) -> Tensor:
    """Apply a low-rank transform to centred rows in place.

    Args:
        state: State with `directions`, `suppression` and `gain`.
        centred: Rows z - mean, shape (rows, features); overwritten.

    Returns:
        The same tensor. Cost: 4 k features flop per row.
    """
    directions, gain = state["directions"], state["gain"]
    inhibition = (centred @ directions) * state["suppression"]
    if gain.device.type == "cpu":  # reading it costs nothing on a CPU and saves a pass over the rows
        factor = float(gain)
        return centred.addmm_(inhibition, directions.T, beta=factor, alpha=-factor)
    return centred.addmm_(inhibition, directions.T, alpha=-1).mul_(gain)


def dense_matrix(state: State, features: int, like: Tensor) -> Tensor:
    """Dense D equivalent to the transform of a state, shape (features, features), or (groups, features, features).

    Args:
        state: Tensors of a transform.
        features: Number of units.
        like: Any tensor with the floating type and device of the layer, such as its mean; for a grouped layer a tensor
            of two dimensions, the first of them the groups.
    """
    if "matrix" in state:
        return state["matrix"]
    identity = torch.eye(features, dtype=like.dtype, device=like.device)
    if "directions" in state:
        grouped = state["directions"].dim() == 3
        return transform(state, identity.expand(len(state["gain"]), -1, -1) if grouped else identity)  # symmetric
    count = _groups_of(state)
    return identity if count is None else transform(state, identity if not count else identity.expand(count, -1, -1)).mT
