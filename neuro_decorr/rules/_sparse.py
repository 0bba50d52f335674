r"""Sparse D of any connections, and the products that an update confined to them needs.

With P the projection on the connections, a rule whose step is $D \leftarrow D + G(M)\, D$ becomes

$$D \leftarrow D + P\bigl( G(P(M))\, D \bigr)$$

The update needs the covariances of connected units only, and its step vanishes where these are at rest, whatever the
correlations of the other pairs are. A projection of the product alone, $P(G(M) D)$, would not come to rest there.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from neuro_decorr.errors import Unsupported
from neuro_decorr.rules._pattern import Pattern
from neuro_decorr.rules._residual import Increment
from neuro_decorr.rules._state import Change, State


class SparseState(dict[str, Tensor]):
    """State of a sparse D as an update sees it: `matrix` holds the values of the connections.

    Attributes:
        pattern: Connections of the layer.
    """

    pattern: Pattern


def initial_sparse(pattern: Pattern, dtype: torch.dtype, device: torch.device | str | None) -> State:
    """Identity: values and indices of the connections."""
    values = torch.zeros(len(pattern.columns), dtype=dtype)
    values[pattern.own] = 1
    made = {"values": values, "columns": pattern.columns, "row_starts": pattern.row_starts}
    return {name: tensor.clone().to(device) for name, tensor in made.items()}


def seen_by_update(state: State, pattern: Pattern) -> SparseState:
    """State with the same tensors, as an update sees them."""
    seen = SparseState(state)
    seen["matrix"], seen.pattern = state["values"], pattern
    return seen


def pattern_in(state: State) -> Pattern | None:
    """Connections of a state that an update sees; None if D is full."""
    return state.pattern if isinstance(state, SparseState) else None


def units_of(state: State) -> int:
    """Number of units."""
    pattern = pattern_in(state)
    return len(state["matrix"]) if pattern is None else pattern.features


def sparse_applied(state: Mapping[str, Tensor], rows: Tensor, transposed: bool = False) -> Tensor:
    """Rows D x, or D^T x if `transposed`; shape (..., features). Cost: 2 connections flop per row."""
    flat = rows.reshape(-1, rows.shape[-1])
    matrix = (state[name] for name in ("values", "columns", "row_starts"))
    found: Tensor = _Applied.apply(*matrix, flat, transposed)  # type: ignore[no-untyped-call]  # torch types it not
    return found.view(rows.shape)


def _matrix(starts: Tensor, columns: Tensor, values: Tensor, size: int, transposed: bool = False) -> Tensor:
    """Square sparse matrix of torch made of these tensors, or its transpose."""
    _told()
    make = torch.sparse_csc_tensor if transposed else torch.sparse_csr_tensor
    return make(starts, columns, values, (size, size), check_invariants=False)


@cache
def _told() -> None:
    """Hide the warning that compressed sparse tensors are in beta state, which torch gives once per process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        none = torch.zeros(1, dtype=torch.int32)
        torch.sparse_csr_tensor(torch.cat([none, none]), none[:0], torch.zeros(0), (1, 1), check_invariants=False)


class _Applied(torch.autograd.Function):
    """Product with a sparse matrix, linear in the rows; no gradient goes to the matrix."""

    @staticmethod
    def forward(values: Tensor, columns: Tensor, starts: Tensor, rows: Tensor, transposed: bool) -> Tensor:
        if len(rows) == 0:
            return rows.clone()
        product: Tensor = _matrix(starts, columns, values, len(starts) - 1, transposed) @ rows.T
        return product.T

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004  # torch's signature
        *matrix, _, ctx.transposed = inputs
        ctx.save_for_backward(*matrix)
        ctx.save_for_forward(*matrix)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None, Tensor, None]:
        found = _Applied.apply(*ctx.saved_tensors, gradient, not ctx.transposed)  # type: ignore[no-untyped-call]
        return None, None, None, found, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        found: Tensor = _Applied.apply(*ctx.saved_tensors, tangents[3], ctx.transposed)  # type: ignore[no-untyped-call]
        return found

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        *matrix, rows, transposed = inputs
        if any(dim is not None for dim in in_dims[:3]):
            raise Unsupported(
                "an ensemble (torch.vmap over models) cannot have a sparse D: use connectivity.Groups(...) or leave "
                "connectivity out."
            )
        rows = rows.movedim(in_dims[3], 0)
        found: Tensor = _Applied.apply(*matrix, rows.flatten(0, 1), transposed)  # type: ignore[no-untyped-call]
        return found.view(info.batch_size, -1, rows.shape[-1]), 0


class SparseMoment(NamedTuple):
    """Second moments P(M) of connected units.

    Attributes:
        pattern: Connections of the layer.
        values: Second moment of each connection.
    """

    pattern: Pattern
    values: Tensor

    @classmethod
    def of_rows(cls, pattern: Pattern, rows: Tensor) -> SparseMoment:
        """Moments P(R^T R). Cost: 2 rows connections flop.

        Args:
            pattern: Connections of the layer.
            rows: R, shape (rows, features).
        """
        starts, columns = pattern.row_starts.to(rows.device), pattern.columns.to(rows.device)
        none = _matrix(starts, columns, rows.new_zeros(len(columns)), pattern.features)
        return cls(pattern, torch.sparse.sampled_addmm(none, rows.T.contiguous(), rows.contiguous()).values())

    @property
    def variances(self) -> Tensor:
        """Diagonal of M, shape (features,)."""
        return self.values[self.pattern.own.to(self.values.device)]

    @property
    def size(self) -> float:
        """Frobenius norm of P(M)."""
        return float(torch.linalg.vector_norm(self.values, dtype=torch.float64))

    def factor(self, scale: float | Tensor, weight: float) -> SparseFactor:
        """Factor diag(scale) - weight P(M) of D."""
        growth = self.values * -weight
        growth[self.pattern.own.to(growth.device)] += scale - 1
        return SparseFactor(self.pattern, growth)


@final
@dataclass(frozen=True, eq=False)
class SparseFactor(Change):
    """Factor A = I + G with G on the connections.

    Attributes:
        pattern: Connections of the layer.
        growth: G, the entry of each connection.
    """

    pattern: Pattern
    growth: Tensor

    def transformed(self, rows: Tensor) -> Tensor:
        """Rows A x for rows x. Cost: 2 connections flop per row."""
        columns, starts = (t.to(rows.device) for t in (self.pattern.columns, self.pattern.row_starts))
        return rows + sparse_applied({"values": self.growth, "columns": columns, "row_starts": starts}, rows)

    def scaled(self, factor: float) -> SparseFactor:
        """A multiplied by a number."""
        growth = self.growth * factor
        growth[self.pattern.own.to(growth.device)] += factor - 1
        return SparseFactor(self.pattern, growth)

    def apply_(self, matrix: Tensor, residual: Tensor | None = None) -> SparseFactor:  # never kept here
        """Set D <- D + P(G D), on the values of D. Cost: 2 flop per triangle of connections."""
        one, other, starts = (part.to(matrix.device) for part in self.pattern.triangles)
        matrix.add_(_matrix(starts, other, self.growth[one], len(matrix)) @ matrix)
        return self

    def increment(self, weight: Tensor) -> Increment:
        """Raise Unsupported, since the inverse of a sparse D is full."""
        raise Unsupported(
            "compensate=True needs a full D or disjoint groups, since the inverse of any other sparse D is full: use "
            "connectivity=nd.rules.connectivity.Groups(...), or compensate=False."
        )


def isotropic_rows(state: SparseState, due: Tensor, power: float) -> Tensor:
    """Columns of D as rows, times the square root of a power: the outputs of isotropic inputs along some axes.

    Args:
        state: State with `matrix`, the values of the connections.
        due: Indices of the axes.
        power: Power of each axis.
    """
    pattern, values = state.pattern, state["matrix"]
    axes = values.new_zeros(len(due), pattern.features)
    axes[torch.arange(len(due), device=due.device), due] = math.sqrt(power)
    return sparse_applied({**state, "values": values}, axes)
