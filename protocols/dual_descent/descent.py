"""Descent on the dual of the regression, and on its primal with features as the inputs of a linear layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

import neuro_decorr as nd
from protocols.dual_descent.gaussian_process import Regression

MOMENTUM = 0.9
UPDATES = {"whitening": 8, "interneuron": 100}
"""Of the rules that learn D, each from all points."""
INTERNEURONS = 16


@dataclass(frozen=True)
class Objective(ABC):
    """Quadratic function of parameters whose minimum is a posterior mean.

    Attributes:
        regression: The regression problem.
    """

    regression: Regression

    @property
    @abstractmethod
    def curvature(self) -> Tensor:
        """Matrix of the quadratic function."""

    @abstractmethod
    def start(self, targets: Tensor) -> Tensor:
        """Parameters of zero, one column a column of the targets."""

    @abstractmethod
    def gradient(self, parameters: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Estimate the gradient from some of the points, without bias.

        Args:
            parameters: Shape (parameters, columns).
            targets: Shape (N, columns).
            rows: Indices of B points, without replacement.
        """

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """Compute the function on the grid, shape (grid, columns)."""

    @abstractmethod
    def largest_step(self, batch: int) -> float:
        """Reciprocal of the largest curvature: of all points, or of one point that counts N / B times."""


@final
@dataclass(frozen=True)
class Dual(Objective):
    r"""$\alpha^T (K + \lambda I)\, \alpha / 2 - \alpha^T y$, by random coordinates.

    $$g = \frac{N}{B} \sum_{i \in I} e_i \bigl( (K_i + \lambda e_i)^T \alpha - y_i \bigr)$$

    Stable for steps below $2 / (\lambda_1 + \lambda)$ with $\lambda_1$ the largest eigenvalue of K; the primal in the
    same parameters, $|y - K \alpha|^2 / 2 + \lambda\, \alpha^T K \alpha / 2$, is for steps $\lambda_1$ times smaller.

    Source: Lin, Padhy, Antoran et al. (2024), Stochastic gradient descent for Gaussian processes done right,
    arXiv:2310.20581.
    """

    @property
    def curvature(self) -> Tensor:
        """K + lambda I."""
        return self.regression.regularised

    def start(self, targets: Tensor) -> Tensor:
        """One parameter a point."""
        return torch.zeros_like(targets)

    def gradient(self, parameters: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Zero but for the coordinates of the batch. Cost: B N multiplications a column."""
        made = torch.zeros_like(parameters)
        scale = len(targets) / len(rows)
        made[rows] = scale * (self.regression.regularised[rows] @ parameters - targets[rows])
        return made

    def mean(self, parameters: Tensor) -> Tensor:
        """k(grid, X) alpha."""
        return self.regression.cross @ parameters

    def largest_step(self, batch: int) -> float:
        """See the base."""
        curvature = self.curvature
        coordinate = len(curvature) / batch * float(curvature.diagonal().max())
        return 1 / max(coordinate, float(torch.linalg.eigvalsh(curvature)[-1]))


@final
@dataclass(frozen=True)
class Primal(Objective):
    r"""Ridge regression on features: $|y - X u|^2 / 2 + \lambda\, u^T P u / 2$, the gradient conditioned by C.

    $$g = C \Bigl( \frac{N}{B} \sum_{i \in I} x_i (x_i^T u - y_i) + \lambda P u \Bigr)$$

    Attributes:
        rows: X, shape (N, features).
        asked: The features on the grid, shape (grid, features).
        penalty: P. Where x = D z it is D D^T, so that the penalty stays that on the weights of z, and the solution too.
        conditioning: C, positive definite; None for the identity.
    """

    rows: Tensor
    asked: Tensor
    penalty: Tensor
    conditioning: Tensor | None = None

    @property
    def curvature(self) -> Tensor:
        """X^T X + lambda P, between the roots of C where there is one."""
        made = self.rows.T @ self.rows + self.regression.noise * self.penalty
        if self.conditioning is None:
            return made
        root = torch.linalg.cholesky(self.conditioning)
        between: Tensor = root.T @ made @ root
        return between

    def start(self, targets: Tensor) -> Tensor:
        """One parameter a feature."""
        return targets.new_zeros(self.rows.shape[1], *targets.shape[1:])

    def gradient(self, parameters: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Cost: 2 B d multiplications a column, and d^2 for the penalty."""
        seen = self.rows[rows]
        scale = len(targets) / len(rows)
        made = scale * (seen.T @ (seen @ parameters - targets[rows]))
        made += self.regression.noise * (self.penalty @ parameters)
        return made if self.conditioning is None else self.conditioning @ made

    def mean(self, parameters: Tensor) -> Tensor:
        """X u on the grid."""
        return self.asked @ parameters

    def solution(self) -> Tensor:
        """Compute the parameters at the minimum, which do not depend on C."""
        normal = self.rows.T @ self.rows + self.regression.noise * self.penalty
        solved: Tensor = torch.linalg.solve(normal, self.rows.T @ self.regression.values)
        return solved

    def largest_step(self, batch: int) -> float:
        """See the base."""
        met = self.rows if self.conditioning is None else self.rows @ torch.linalg.cholesky(self.conditioning)
        point = len(self.rows) / batch * float(met.square().sum(dim=1).max())
        return 1 / max(point, float(torch.linalg.eigvalsh(self.curvature)[-1]))


def descend(
    objective: Objective,
    targets: Tensor,
    step: float,
    steps: int,
    *,
    batch: int | None = None,
    average: float = 1.0,
    look_ahead: bool = True,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    r"""Descent with momentum, from zero; the answer is a running mean of the parameters.

    $$v \leftarrow \rho v - \beta\, g(\alpha + \rho v), \quad \alpha \leftarrow \alpha + v, \quad
    \bar\alpha \leftarrow r \alpha + (1 - r)\, \bar\alpha$$

    Args:
        objective: Objective to minimise.
        targets: y, or several columns of it, shape (N,) or (N, columns).
        step: beta.
        steps: Number of steps.
        batch: B points a step, drawn anew without replacement; all points where None.
        average: r.
        look_ahead: Take the gradient at alpha + rho v (Nesterov), else at alpha (heavy ball).
        generator: Draws the batches.

    Yields:
        The running mean after every step.

    Raises:
        Diverged: The parameters are not finite; looked at every 100 steps.
    """
    parameters = objective.start(targets)
    velocity, mean, every = torch.zeros_like(parameters), parameters, torch.arange(len(targets))
    for number in range(1, steps + 1):
        rows = every if batch is None else torch.randperm(len(targets), generator=generator)[:batch]
        at = parameters + MOMENTUM * velocity if look_ahead else parameters
        velocity = MOMENTUM * velocity - step * objective.gradient(at, targets, rows)
        parameters = parameters + velocity
        mean = average * parameters + (1 - average) * mean
        if number % 100 == 0 and not bool(parameters.isfinite().all()):
            raise nd.errors.Diverged(f"the parameters are not finite after {number} steps of {step:.3g}.")
        yield mean


def learnt(features: Tensor, rule: Literal["whitening", "interneuron"], damping: float) -> Tensor:
    """D of a rule for the second moment of features, which are not centred: that would be another model.

    Args:
        features: Features of all points, shape (N, features).
        rule: Its name.
        damping: Damping of the rule; its power is not given back, so that D^T D becomes (I + S / (damping c))^-1.
    """
    options = {"rate": 1.0} if rule == "whitening" else {"rate": 0.3, "interneurons": INTERNEURONS}
    layer = nd.Decorrelation(features.shape[1], center=False)
    made = nd.rules.get(rule, damping=damping, preserve_power=False, **options)
    plasticity = nd.Plasticity(layer, made, row_fraction=1.0)
    for _ in range(UPDATES[rule]):
        layer(features.float())
        plasticity.step()
    return layer.matrix.double()
