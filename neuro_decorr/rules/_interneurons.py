"""What the rules with interneurons share: where they start, how strongly they inhibit, where they rest."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.rules._rule import Rule, check_fraction, check_positive

_LEAST_SINE = 0.1
"""Columns that lean closer to those before them are left to a QR decomposition."""
_LEAST_WORK = 2**19
"""So are columns with a smaller features * interneurons^2: one call is cheaper than ten."""


class Interneurons(Protocol):
    """The parameters of a population of interneurons, as the rules' classes describe them."""

    @property
    def name(self) -> str: ...
    @property
    def interneurons(self) -> int: ...
    @property
    def damping(self) -> float: ...
    @property
    def recruit(self) -> float: ...
    @property
    def fewest(self) -> int: ...
    @property
    def seed(self) -> int: ...


def check_interneurons(rule: Rule) -> None:
    """Check the parameters that the rules with interneurons have in common.

    Raises:
        InvalidValue: A rate outside (0, 1]; counts that are no whole numbers in their range; a damping that is not
            positive; a negative recruit.
    """
    check_positive(rule, "damping", "interneurons", "every")
    check_fraction(rule, "rate")
    values = rule.parameters()
    for name in ("interneurons", "every", "fewest", "seed"):
        if type(values[name]) is not int:
            raise InvalidValue(f"{rule.name}: {name} must be a whole number, got {values[name]!r}.")
    most, fewest, recruit = values["interneurons"], values["fewest"], values["recruit"]
    if fewest not in range(most + 1):  # type: ignore[operator]  # a whole number, as was just checked
        raise InvalidValue(f"{rule.name}: fewest must lie in 0..interneurons, here 0..{most}, got {fewest}.")
    if isinstance(recruit, bool) or not isinstance(recruit, int | float) or not 0 <= recruit < math.inf:
        raise InvalidValue(
            f"{rule.name}: recruit, the variance above which an interneuron inhibits, must be a finite number >= 0 "
            f"(0 lets all of them inhibit), got {recruit!r}."
        )


def random_directions(population: Interneurons, features: int) -> Tensor:
    """Random orthonormal directions, shape (features, interneurons), float64.

    Raises:
        InvalidValue: More interneurons than features.
    """
    if population.interneurons > features:
        raise InvalidValue(
            f"{population.name}: {population.interneurons} interneurons cannot have distinct directions among "
            f"{features} features; use interneurons <= {features} or skip this layer."
        )
    generator = torch.Generator().manual_seed(population.seed)
    random = torch.randn(features, population.interneurons, generator=generator, dtype=torch.float64)
    directions: Tensor = torch.linalg.qr(random).Q.contiguous()
    return directions


def orthonormal_form(columns: Tensor) -> tuple[Tensor, Tensor]:
    r"""An orthonormal basis of what columns span, as a product that need not be carried out.

    .. math:: Q = C\, T, \quad T = L^{-T}, \quad L L^T = C^T C

    with L in double precision, where the columns are as independent as tracked directions are: one product with them,
    where the reflections of a QR decomposition go column by column and take several times as long. Elsewhere, such as
    before all directions have seen an input, and for few or short columns, Q itself and T = I, by QR.

    Args:
        columns: C, shape (features, interneurons).

    Returns:
        C or Q, and T in the same dtype, shape (interneurons, interneurons). Cost: 2 k^2 features flop.
    """
    count = columns.shape[1]
    if columns.numel() * count >= _LEAST_WORK:
        wide = columns.double()
        gram = wide.T @ wide
        scale = gram.diagonal().rsqrt()  # columns differ in length as the variances do: that is no dependence
        factor, failed = torch.linalg.cholesky_ex(gram * scale * scale.unsqueeze(1))
        # A pivot is the sine of the angle to the columns before. The square of it is what rounding is divided by.
        if not int(failed) and bool(factor.diagonal().min() > _LEAST_SINE):
            inverse = torch.linalg.solve_triangular(factor, scale.diag(), upper=False)
            return columns, inverse.T.to(columns.dtype)
    return torch.linalg.qr(columns).Q, torch.eye(count, dtype=columns.dtype, device=columns.device)


def suppression(population: Interneurons, variance: Tensor, power: float) -> Tensor:
    r"""How much of its direction each interneuron takes away.

    .. math:: s_i = 1 - (1 + \lambda_i / (\text{damping}\; c))^{-1/2}

    and zero for one that has not been recruited, :math:`\lambda_i \le \text{recruit}\; \text{damping}\; c`.

    Args:
        population: The parameters.
        variance: What the interneurons see, in their order, shape (interneurons,).
        power: c > 0, the mean power of the inputs.

    Returns:
        s, shape (interneurons,), in [0, 1). The gain of feedback in the recurrent circuit is s / (1 - s).
    """
    relative = variance / (population.damping * power)
    strength = 1 - (1 + relative).rsqrt()
    if population.recruit:
        strength[population.fewest :].mul_(relative[population.fewest :] > population.recruit)
    return strength


def damped_covariance(population: Interneurons, covariance: Tensor) -> Tensor:
    """The soft cap on those of the k leading eigenvalues that recruit an interneuron, the others unchanged.

    Args:
        population: The parameters.
        covariance: Of the inputs, shape (features, features).

    Returns:
        Covariance of the outputs at rest.
    """
    values, vectors = torch.linalg.eigh(covariance)
    relative = values / (population.damping * values.mean())
    rank = torch.arange(len(values) - 1, -1, -1)  # eigenvalues come in ascending order
    inhibited = (relative > population.recruit) | (rank < population.fewest)
    inhibited &= rank < population.interneurons
    damped: Tensor = (vectors * torch.where(inhibited, values / (1 + relative), values)) @ vectors.T
    return damped
