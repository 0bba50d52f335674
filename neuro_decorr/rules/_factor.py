r"""The algebra that dense rules share: :math:`D \leftarrow A D` with A a diagonal minus a product of few rows.

.. math:: A = \operatorname{diag}(p) - w\, L^T R

with L and R the k sampled rows (R the outputs X, and L = X for every equivariant rule). Never forming C = X^T X / k
makes the update 4 k d^2 flop instead of 2 d^3, in one pass over D. The inverse of A, which compensation needs, is as
cheap by the identity of Woodbury.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr.rules._blocks import project, scale_and_add_
from neuro_decorr.rules._rule import Change


@dataclass(frozen=True, eq=False)
class LowRankFactor(Change):
    """A = diag(scale) - weight * left^T right.

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

    def apply_(self, matrix: Tensor) -> LowRankFactor:
        """D <- A D in place. Cost: 4 rows features^2 flop and one pass over D (two where the scale is a vector)."""
        projected = project(self.right, matrix)
        if isinstance(self.scale, Tensor):
            matrix.mul_(self.scale.unsqueeze(1)).addmm_(self.left.T, projected, alpha=-self.weight)
        else:
            scale_and_add_(matrix, self.scale, self.left, projected, -self.weight)
        return self

    def compensate_(self, weight: Tensor) -> None:
        r"""W <- W A^{-1}, exactly, in place.

        .. math:: A^{-1} = P^{-1} + P^{-1} L^T (w^{-1} I - R P^{-1} L^T)^{-1} R P^{-1}

        Cost: 4 rows outputs features + rows^3 flop.
        """
        if self.weight == 0:
            weight.div_(self.scale)
            return
        scaled = self.left / self.scale
        # The small system in double precision: its error would be made anew at every update and add up.
        core = (self.right.double() @ scaled.double().T).neg_()
        core.diagonal().add_(1 / self.weight)
        solved = torch.linalg.solve(core, (weight @ scaled.T).double(), left=False).to(weight.dtype)
        weight.addmm_(solved, self.right).div_(
            self.scale
        )  # 1 / scale as a factor would be rounded, always the same way


@dataclass(frozen=True, eq=False)
class DenseFactor(Change):
    """A = I + growth in full, for steps that no few rows express.

    Attributes:
        growth: A - I, shape (features, features).
    """

    growth: Tensor

    def apply_(self, matrix: Tensor) -> DenseFactor:
        """D <- D + growth D. Cost: 2 features^3 flop and one temporary of the size of D."""
        matrix.add_(self.growth @ matrix)  # the product is small, and so is its rounding
        return self

    def compensate_(self, weight: Tensor) -> None:
        """W <- W A^{-1}, in place. Cost: 8/3 features^3 flop."""
        factor = self.growth.to(torch.float64, copy=True)
        factor.diagonal().add_(1)
        weight.copy_(torch.linalg.solve(factor, weight.double(), left=False))


@dataclass(frozen=True, eq=False)
class InverseFactor(Change):
    """A = scale (I + weight * rows^T rows)^{-1}: the implicit form of a step of low rank.

    Attributes:
        scale: g, a number.
        weight: w > 0, a number.
        rows: X, shape (rows, features).
    """

    scale: float
    weight: float
    rows: Tensor

    def apply_(self, matrix: Tensor) -> InverseFactor:
        r"""D <- A D in place, by the identity of Woodbury.

        .. math:: A = g\, \bigl( I - X^T (w^{-1} I + X X^T)^{-1} X \bigr)

        Cost: 4 rows features^2 + rows^3 flop.
        """
        wide = self.rows.double()
        core = wide @ wide.T
        core.diagonal().add_(1 / self.weight)
        solved = torch.linalg.solve(core, wide).to(matrix.dtype)
        torch.addmm(matrix, solved.T, self.rows @ matrix, beta=self.scale, alpha=-self.scale, out=matrix)
        return self

    def compensate_(self, weight: Tensor) -> None:
        """W <- W A^{-1} = (W + w W X^T X) / g, in place. Cost: 4 rows outputs features flop."""
        weight.addmm_(weight @ self.rows.T, self.rows, alpha=self.weight).div_(self.scale)


@dataclass(frozen=True, eq=False)
class Replacement(Change):
    """D made anew, for rules whose D is a function of other tensors. Holds a second matrix until it is dropped.

    Attributes:
        before: D_old.
        after: D_new, in double precision.
        inverse: D_new^{-1} in double precision, where the rule has it anyway.
    """

    before: Tensor
    after: Tensor
    inverse: Tensor | None

    @classmethod
    def apply_(cls, matrix: Tensor, after: Tensor, inverse: Tensor | None = None) -> Replacement:
        """D <- D_new in place."""
        before = matrix.clone()
        matrix.copy_(after)
        return cls(before, after, inverse)

    def compensate_(self, weight: Tensor) -> None:
        """W <- W D_old D_new^{-1}, in place. Cost: 4 outputs features^2 flop, and 2/3 features^3 without an inverse."""
        passed = weight.double() @ self.before.double()
        if self.inverse is None:
            weight.copy_(torch.linalg.solve(self.after, passed, left=False))
        else:
            weight.copy_(passed @ self.inverse)
