r"""Algebra that dense rules share: $D \leftarrow A D$ with A a diagonal matrix minus a product of few rows.

$$A = \operatorname{diag}(p) - w\, L^T R$$

with L and R the k sampled rows (R is the outputs X, and L = X for every equivariant rule). The update never forms
C = X^T X / k, so that it costs 4 k d^2 flop instead of 2 d^3, in one pass over D. The inverse of A, which compensation
needs, is as cheap by the identity of Woodbury.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr.rules._residual import Increment, add_
from neuro_decorr.rules._state import Change


@dataclass(eq=False)  # frozen would double the cost of making one, at every update of every layer
class LowRankFactor(Change):
    """Factor A = diag(scale) - weight * left^T right.

    Attributes:
        scale: p, a number or a tensor of shape (features,).
        weight: w, a number.
        left: L, shape (rows, features).
        right: R, shape (rows, features).
    """

    scale: float | Tensor
    weight: float
    left: Tensor
    right: Tensor

    def transformed(self, rows: Tensor) -> Tensor:
        """Rows A x for rows x. Cost: 4 rows features flop per row."""
        return rows * self.scale - (rows @ self.right.T) @ self.left * self.weight

    def scaled(self, factor: float) -> LowRankFactor:
        """A multiplied by a number.

        The scale is rounded as D is, since a constant error of the scale would add up in the matrix that compensation
        inverts.
        """
        scale, weight = self.scale * factor, self.weight * factor
        if not isinstance(scale, Tensor):
            same = weight == scale
            scale = float(torch.tensor(scale, dtype=self.left.dtype))
            weight = scale if same else weight
        return LowRankFactor(scale, weight, self.left, self.right)

    def apply_(self, matrix: Tensor, residual: Tensor | None = None) -> LowRankFactor:
        """Set D <- A D in place. Cost: 4 rows features^2 flop and one pass over D (two if the scale is a vector).

        Args:
            matrix: D.
            residual: Rounding error of D so far (`matrix_residual` of a state), if the state keeps it.
        """
        projected = torch.mm(self.right, matrix)
        scale = self.scale.unsqueeze(1) if isinstance(self.scale, Tensor) else self.scale
        if residual is not None:
            columns, growth = self.left.T, scale - 1
            growing = isinstance(growth, Tensor)

            def increment(rows: slice) -> Tensor:
                part = matrix[rows] * (growth[rows] if growing else growth)  # type: ignore[index]
                return part.addmm_(columns[rows], projected, alpha=-self.weight)

            add_(matrix, increment, residual)
        elif isinstance(scale, Tensor):
            matrix.mul_(scale).addmm_(self.left.T, projected, alpha=-self.weight)
        else:
            matrix.addmm_(self.left.T, projected, beta=scale, alpha=-self.weight)
        return self

    def increment(self, weight: Tensor) -> Increment:
        r"""Increment W (A^{-1} - I), exactly.

        $$A^{-1} = P^{-1} + P^{-1} L^T (w^{-1} I - R P^{-1} L^T)^{-1} R P^{-1}$$

        Cost: 4 rows outputs features + rows^3 flop.
        """
        if self.weight == 0:
            return lambda rows: weight[rows] * (1 / self.scale - 1)
        scaled, right = self.left / self.scale, self.right / self.scale
        # The small system is solved in float64: its condition number is large if a step is large.
        core = (self.right.double() @ scaled.double().T).neg_()
        core.diagonal().add_(1 / self.weight)
        solved = torch.linalg.solve(core, (weight.to(scaled.dtype) @ scaled.T).double(), left=False).to(scaled.dtype)
        return _scaled_and_added(weight, (1 - self.scale) / self.scale, solved, right)


def _scaled_and_added(weight: Tensor, growth: float | Tensor, left: Tensor, right: Tensor) -> Increment:
    """Increment whose rows are those of W diag(growth) + left right."""
    return lambda rows: torch.addmm(weight[rows] * growth, left[rows], right)


@dataclass(frozen=True, eq=False)
class DenseFactor(Change):
    """Factor A = I + growth in full, for steps of full rank.

    Attributes:
        growth: A - I, shape (features, features).
    """

    growth: Tensor

    def transformed(self, rows: Tensor) -> Tensor:
        """Rows A x for rows x. Cost: 2 features^2 flop per row."""
        return torch.addmm(rows, rows, self.growth.T)

    def scaled(self, factor: float) -> DenseFactor:
        """A multiplied by a number."""
        if factor == 1:
            return self
        growth = self.growth * factor
        growth.diagonal().add_(factor - 1)
        return DenseFactor(growth)

    def apply_(self, matrix: Tensor, residual: Tensor | None = None) -> DenseFactor:
        """Set D <- D + growth D in place. Cost: 2 features^3 flop and one temporary of the size of D."""
        product = self.growth @ matrix
        if residual is None:
            matrix.add_(product)
        else:
            add_(matrix, lambda rows: product[rows], residual)
        return self

    def increment(self, weight: Tensor) -> Increment:
        """Increment W (A^{-1} - I) = -W growth A^{-1}. Cost: 8/3 features^3 flop."""
        factor = self.growth.to(torch.float64, copy=True)
        passed = -(weight.double() @ factor)
        factor.diagonal().add_(1)
        solved = torch.linalg.solve(factor, passed, left=False).to(self.growth.dtype)
        return lambda rows: solved[rows]


@dataclass(frozen=True, eq=False)
class InverseFactor(Change):
    """Factor A = scale (I + weight * rows^T rows)^{-1}: the implicit form of a step of low rank.

    Attributes:
        scale: g, a number.
        weight: w > 0, a number.
        rows: X, shape (rows, features).
    """

    scale: float
    weight: float
    rows: Tensor

    def apply_(self, matrix: Tensor, residual: Tensor | None = None) -> InverseFactor:
        r"""Set D <- A D in place, by the identity of Woodbury.

        $$A = g\, \bigl( I - X^T (w^{-1} I + X X^T)^{-1} X \bigr)$$

        Cost: 4 rows features^2 + rows^3 flop.
        """
        solved = self._solved().to(matrix.dtype).T
        projected = self.rows @ matrix
        if residual is None:
            torch.addmm(matrix, solved, projected, beta=self.scale, alpha=-self.scale, out=matrix)
            return self
        growth = self.scale - 1
        add_(matrix, lambda r: (matrix[r] * growth).addmm_(solved[r], projected, alpha=-self.scale), residual)
        return self

    def _solved(self) -> Tensor:
        """Matrix (w^{-1} I + X X^T)^{-1} X in float64."""
        wide = self.rows.double()
        core = wide @ wide.T
        core.diagonal().add_(1 / self.weight)
        solved: Tensor = torch.linalg.solve(core, wide)
        return solved

    def increment(self, weight: Tensor) -> Increment:
        """Increment to W A^{-1} = (W + w W X^T X) / g, which is exact and local. Cost: 4 rows outputs features flop."""
        activity = (weight.to(self.rows.dtype) @ self.rows.T).mul_(self.weight / self.scale)
        return _scaled_and_added(weight, 1 / self.scale - 1, activity, self.rows)


@dataclass(frozen=True, eq=False)
class Replacement(Change):
    """Replacement of D, for rules whose D is a function of other tensors; it holds a second matrix while it lives.

    Attributes:
        before: D_old.
        after: D_new, the stored matrix, so that compensation includes its rounding error.
    """

    before: Tensor
    after: Tensor

    @classmethod
    def apply_(cls, matrix: Tensor, after: Tensor) -> Replacement:
        """Set D <- D_new in place."""
        before = matrix.clone()
        matrix.copy_(after)
        return cls(before, matrix)

    def increment(self, weight: Tensor) -> Increment:
        """Increment W (D_old - D_new) D_new^{-1}. Cost: 2 outputs features^2 + 2/3 features^3 flop."""
        after = self.after.double()
        passed = weight.double() @ (self.before.double() - after)
        solved = torch.linalg.solve(after, passed, left=False).to(self.after.dtype)
        return lambda rows: solved[rows]
