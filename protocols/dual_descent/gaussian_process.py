"""Regression by a Gaussian process: what is regressed, the exact posterior, and draws of the prior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch
from torch import Tensor

SCALE, LENGTH, NOISE = 1.2, 0.7, 0.2
"""Standard deviation and length scale of the process, standard deviation of the noise."""


def matern(a: Tensor, b: Tensor) -> Tensor:
    r"""Matern kernel of smoothness 3/2: $k(a, b) = s^2 (1 + r) e^{-r}$, $r = \sqrt 3\, |a - b| / \text{length}$.

    Args:
        a: Points on the line, shape (n,).
        b: Points on the line, shape (m,).

    Returns:
        Shape (n, m).
    """
    distance = (a[:, None] - b).abs() * (math.sqrt(3) / LENGTH)
    return SCALE**2 * (1 + distance) * torch.exp(-distance)


@final
class FourierFeatures:
    r"""Random features of that kernel: $\phi_j(x) = s \sqrt{2 / M} \cos(\omega_j x + b_j)$, $E[\phi^T \phi'] = k$.

    The spectrum of a Matern kernel of smoothness 3/2 is Student's t with 3 degrees of freedom, so that is what the
    $\omega_j$ times the length scale are; $b_j$ is uniform in $[0, 2 \pi)$.

    Source: Rahimi and Recht (2007), Random features for large-scale kernel machines, NeurIPS 20.

    Args:
        count: M.
        generator: Draws them.
    """

    def __init__(self, count: int, generator: np.random.Generator) -> None:
        self.frequencies = torch.from_numpy(generator.standard_t(3, count) / LENGTH)
        self.phases = torch.from_numpy(generator.uniform(0, 2 * math.pi, count))

    def __call__(self, points: Tensor) -> Tensor:
        """Compute the features of points (n,), shape (n, M)."""
        angles = points[:, None] * self.frequencies + self.phases
        return SCALE * math.sqrt(2 / len(self.phases)) * angles.cos()


@final
@dataclass(frozen=True)
class Regression:
    r"""Noisy values of a function at some points, and what the process says between them, exactly.

    $$\bar f(x) = k(x, X)\, (K + \lambda I)^{-1} y, \qquad \lambda = \text{noise}^2$$

    Attributes:
        points: X, shape (N,), on two intervals with a gap between.
        values: y, shape (N,).
        grid: Places at which the posterior is computed, beyond the points on both sides.
    """

    points: Tensor
    values: Tensor
    grid: Tensor

    @classmethod
    def drawn(cls, count: int, seed: int) -> Regression:
        """That of the source's notebook: sin(10 (x - .5)) + cos(5 (x + .2)) with noise, on [-1.5, -.5] and [.5, 1.5].

        Args:
            count: N.
            seed: Seed of points and noise.
        """
        generator = np.random.default_rng([seed, 0])
        left = count // 2
        points = np.concatenate([generator.uniform(-1.5, -0.5, left), generator.uniform(0.5, 1.5, count - left)])
        clean = np.sin(10 * (points - 0.5)) + np.cos(5 * (points + 0.2))
        noisy = clean + generator.normal(0, NOISE, count)
        return cls(torch.from_numpy(points), torch.from_numpy(noisy), torch.linspace(-3, 3, 200, dtype=torch.float64))

    @property
    def noise(self) -> float:
        """lambda, the variance of the noise."""
        return NOISE**2

    @cached_property
    def gram(self) -> Tensor:
        """K, shape (N, N)."""
        return matern(self.points, self.points)

    @cached_property
    def cross(self) -> Tensor:
        """k(grid, X), shape (grid, N)."""
        return matern(self.grid, self.points)

    @cached_property
    def regularised(self) -> Tensor:
        """K + lambda I."""
        return self.gram + self.noise * torch.eye(len(self.points), dtype=torch.float64)

    @cached_property
    def mean(self) -> Tensor:
        """Compute the exact posterior mean on the grid. Cost: N^3."""
        made: Tensor = self.cross @ torch.linalg.solve(self.regularised, self.values)
        return made

    @cached_property
    def variance(self) -> Tensor:
        """Compute the exact posterior variance of the function on the grid, without the noise."""
        explained = self.cross * torch.linalg.solve(self.regularised, self.cross.T).T
        made: Tensor = SCALE**2 - explained.sum(dim=1)
        return made

    def priors(self, count: int, features: int, seed: int) -> tuple[Tensor, Tensor]:
        r"""Draws of the prior at X with noise, and on the grid, for samples of the posterior by Matheron's rule.

        $$f_s(x) = f(x) + k(x, X)\, (K + \lambda I)^{-1} (y - f(X) - \epsilon), \qquad f \sim \text{prior}$$

        Source: Wilson et al. (2021), Pathwise conditioning of Gaussian processes, arXiv:2011.04026.

        Args:
            count: Number of draws.
            features: M, of each draw its own, so that the mean over draws is over features too.
            seed: Seed of features, weights and noise.

        Returns:
            f(X) + epsilon, shape (N, count), and f(grid), shape (grid, count).
        """
        generator = np.random.default_rng([seed, 1])
        both = torch.cat([self.points, self.grid])
        drawn = []
        for _ in range(count):
            weights = torch.from_numpy(generator.normal(size=features))
            drawn.append(FourierFeatures(features, generator)(both) @ weights)
        prior, size = torch.stack(drawn, dim=1), len(self.points)
        noise = torch.from_numpy(generator.normal(0, NOISE, (size, count)))
        return prior[:size] + noise, prior[size:]


def relative_error(found: Tensor, exact: Tensor) -> float:
    """Root mean square of the difference over the standard deviation of the exact values.

    Args:
        found: Values on the grid.
        exact: The exact ones.
    """
    return float((found - exact).square().mean().sqrt() / exact.std())
