"""Iterative refinement of a regression, by the step that needs no tuning, in coordinates of one's choice."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

import neuro_decorr as nd

Arm: TypeAlias = Literal["none", "center", "batch_normalisation", "foof", "whitening"]
EPSILON = 1e-5
"""Number added to the variance in batch normalisation, as in torch; variances of saturated units are smaller."""
STEP = 1.95
"""Step, times the sum of the largest and the smallest eigenvalue; 2 would contract fastest."""


class Refinement(NamedTuple):
    """Result of a regression.

    Attributes:
        weight: After as many refinements as were allowed, or as were needed.
        needed: Refinements until a step is smaller than the tolerance.
        condition: Condition number of the matrix that is solved.
    """

    weight: Tensor
    needed: int
    condition: float


def refine(
    weight: Tensor, moment: Tensor, product: Tensor, transform: Tensor, ridge: float, tolerance: float, most: int
) -> Refinement:
    r"""Solve $W (A + r I) = b + r W_0$ by refinement, the ridge pulling to the weights that were.

    $$
    U \leftarrow U + \mu\, (b_x - U A_x), \quad W = U T, \quad A_x = T (A + r I)\, T^T, \quad
    b_x = (b + r W_0)\, T^T, \quad \mu = \frac{1.95}{l_1 + l_d}
    $$

    l are the eigenvalues of A_x, k = l_1 / l_d their condition. The error of a direction falls by $1 - \mu l$ a step,
    the largest by $(k - 0.95) / (k + 1)$, so that about $\ln(1 / \text{tolerance}) / \ln((k + 1) / (k - 1))$ are
    needed. What the steps come to is written down by these factors, not step by step: in ill-conditioned layers there
    are millions.

    Args:
        weight: W_0, shape (outputs, d).
        moment: A, second moment of the layer's inputs, shape (d, d).
        product: b, mean of targets times inputs, shape (outputs, d).
        transform: T, what the inputs pass before the layer learns, invertible, shape (d, d).
        ridge: r, relative to the mean power tr A / d.
        tolerance: Refinement ends with a step of W whose Frobenius norm is smaller.
        most: The most refinements that are made; with fewer than are needed the regression stays unsolved.

    Returns:
        Weights, number and condition.
    """
    strength = ridge * moment.trace() / len(moment)
    solved = transform @ (moment + strength * torch.eye(len(moment), dtype=moment.dtype)) @ transform.T
    values, vectors = torch.linalg.eigh(solved)
    rate = STEP / (values[-1] + values[0])
    basis = vectors.T @ transform  # from coordinates along the eigenvectors to weights
    wanted = (product + strength * weight) @ basis.T / values
    started = torch.linalg.solve(basis.T, weight.T).T
    factors = 1 - rate * values

    def small(step: int) -> bool:
        change = (wanted - started) * (rate * values) * factors ** (step - 1)
        return float((change @ basis).norm()) < tolerance

    above, below = 0, 1
    while not small(below):
        above, below = below, 2 * below
    while below - above > 1:
        middle = (above + below) // 2
        above, below = (above, middle) if small(middle) else (middle, below)
    made = wanted + (started - wanted) * factors ** min(below, most)
    return Refinement(made @ basis, below, float(values[-1] / values[0]))


def transform_of(arm: Arm, moment: Tensor, ridge: float) -> Tensor:
    r"""T of the arms that learn nothing: from the second moment A of inputs whose last one is constant.

    - `none`: the identity.
    - `center`: $x_j = h_j - \bar h_j$, by the constant input.
    - `batch_normalisation`: the same, divided by the standard deviation, the root of the variance + 1e-5.
    - `foof`: $T^T T = \lambda (A + \lambda I)^{-1}$, which the gradient is multiplied by: refinement in these
      coordinates is $W \leftarrow W + \mu\, (b - W A)\, \lambda (A + \lambda I)^{-1}$.

    Args:
        arm: Its name.
        moment: A.
        ridge: lambda of `foof`, relative to the mean power.
    """
    identity = torch.eye(len(moment), dtype=moment.dtype)
    if arm == "foof":
        conditioning = nd.conditioning.foof(identity, moment=moment, damping=ridge, preserve_power=False)
        root: Tensor = torch.linalg.cholesky((conditioning + conditioning.T) / 2).T
        return root
    made = identity.clone()
    if arm in ("center", "batch_normalisation"):
        means = moment[:-1, -1] / moment[-1, -1]
        made[:-1, -1] = -means
        if arm == "batch_normalisation":
            made[:-1] /= (moment.diagonal()[:-1] / moment[-1, -1] - means.square() + EPSILON).sqrt()[:, None]
    return made
