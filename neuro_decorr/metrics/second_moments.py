"""Second moments of a population, from which every measure of its correlations and of its spectrum follows.

Shapes: samples are rows and units are columns, `(samples, units)`, in the whole package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias, final, get_args

import torch
from torch import Tensor

from neuro_decorr import checks

Target: TypeAlias = Literal["scaled", "identity"]
"""Reference of whiteness: `"scaled"`, the nearest multiple of the identity; `"identity"`, the identity itself."""

Correction: TypeAlias = Literal["none", "samples", "both"]
"""Correction of a participation ratio: none, for finitely many samples, or for finitely many samples and units."""


class PairStatistics(NamedTuple):
    """Statistics of the correlations over all pairs of distinct units; NaN without a pair or with silent units."""

    mean: float
    deviation: float  # standard deviation over pairs
    mean_absolute: float
    mean_squared: float


@final
@dataclass(frozen=True, eq=False)
class Moments:
    r"""Covariance of a population, and the measures that follow from it.

    $$
    C = \frac{1}{P - 1} \sum_p (x_p - \bar x)(x_p - \bar x)^T, \qquad
    M = \frac{1}{P} \sum_p x_p x_p^T \text{ (without centering)}
    $$

    Each measure is defined in the function of its name. Cost: $N^2$ for every measure, and once $\tfrac43 N^3$ for the
    eigenvalues, when a measure first needs them.
    """

    samples: int  # P, number of rows
    units: int  # number of columns of the data, silent units included
    silent: int  # number of units that never vary
    center: bool  # True if the mean over samples was removed
    covariance: Tensor  # (kept, kept), float64; silent units: exact zeros
    constant: Tensor  # (kept,), bool: the silent units among the kept ones
    mean: Tensor  # (kept,), float64: mean over samples of each unit, removed or not
    fourth: Tensor  # (), float64: sum over the samples of the fourth power of the row's length
    unit_fourth: Tensor  # (), float64: sum over samples and units of the fourth power of the (centered) activity

    @property
    def kept(self) -> int:
        """Number of units in the covariance."""
        return int(self.covariance.shape[0])

    @property
    def degrees(self) -> int:
        """Degrees of freedom: samples - 1 with centering, samples without."""
        return self.samples - 1 if self.center else self.samples

    @cached_property
    def trace(self) -> float:
        """Sum of the variances."""
        return float(self.covariance.diagonal().sum())

    @cached_property
    def squared(self) -> float:
        """Trace of the squared covariance: the sum of its squared entries."""
        return float(self.covariance.square().sum())

    @cached_property
    def correlation(self) -> Tensor:
        """Correlation matrix, shape (kept, kept), within [-1, 1], diagonal 1; NaN for silent units."""
        deviation = self.covariance.diagonal().sqrt()
        matrix = (self.covariance / deviation / deviation[:, None]).clamp_(-1.0, 1.0)  # 0 / 0 is the wanted NaN
        matrix.diagonal()[~self.constant] = 1.0
        return matrix

    @cached_property
    def eigenvalues(self) -> Tensor:
        """Eigenvalues in descending order, shape (kept,), not negative."""
        # Rounding may put the zeros of a singular covariance below zero.
        spectrum: Tensor = torch.linalg.eigvalsh(self.covariance)
        return spectrum.flip(0).clamp_(min=0.0)

    @cached_property
    def pairs(self) -> PairStatistics:
        """Mean, standard deviation, mean magnitude and mean square of the correlations over all pairs."""
        count = self.kept * (self.kept - 1)
        if count == 0 or bool(self.constant.any()):
            return PairStatistics(math.nan, math.nan, math.nan, math.nan)
        # The mean alone misleads because correlations of both signs cancel, hence the set of measures (Umakantha et al.
        # 2021, Neuron, doi:10.1016/j.neuron.2021.06.028). The diagonal is exactly one and is taken out of each sum.
        matrix = self.correlation
        mean = (float(matrix.sum()) - self.kept) / count
        square = max(0.0, (float(matrix.square().sum()) - self.kept) / count)
        return PairStatistics(
            mean=mean,
            deviation=math.sqrt(max(0.0, square - mean * mean)),
            mean_absolute=max(0.0, (float(matrix.abs().sum()) - self.kept) / count),
            mean_squared=square,
        )

    def participation_ratio(self, correction: Correction = "none") -> float:
        """Effective rank of the covariance; NaN without variance, and where a correction leaves no estimate."""
        inverse = self.inverse_participation_ratio(correction)
        if correction == "both":
            own, n = float(self.covariance.diagonal().square().sum()), self.degrees
            fourth = float(self.covariance.diagonal().pow(4).sum())
            # Two standard errors of the mean squared covariance of independent Gaussian units.
            chance = 2 * 2 / n * math.sqrt(max(0.0, own**2 - fourth)) / max(self.trace**2 - own, 1e-300)
            return 1 / inverse if inverse > chance else math.nan
        return 1 / inverse if inverse > 0 else math.nan

    def inverse_participation_ratio(self, correction: Correction = "none") -> float:
        """Inverse of the participation ratio; a corrected one may be negative, as an unbiased estimate near zero."""
        checks.refuse("participation_ratio", checks.word("correction", correction, get_args(Correction)))
        n, first, second = self.samples, self.trace**2, self.squared
        if correction == "none":
            return second / first if first > 0 else math.nan
        if n < 4:
            return math.nan
        fourth, unit_fourth = float(self.fourth), float(self.unit_fourth)
        own = float(self.covariance.diagonal().square().sum())
        if self.center:
            # The common factor (n - 1) / (n (n - 2) (n - 3)) of the two estimators of Himeno and Yamada cancels.
            q, q_own = n * fourth / (n - 1), n * unit_fourth / (n - 1)
            numerator = 2 * second + (n * n - 3 * n + 1) * first - q
            denominator = (n - 1) * (n - 2) * second + first - q
            single = (n * n - 3 * n + 3) * own - q_own  # either estimator for single units
        else:
            # Means over pairs of distinct samples; the common factor n (n - 1) cancels.
            numerator, denominator = n * n * first - fourth, n * n * second - fourth
            single = n * n * own - unit_fourth
        if correction == "both":
            numerator, denominator = numerator - single, denominator - single
        # A numerator that is zero within rounding, as for a single unit, gives no estimate.
        return denominator / numerator if numerator > 1e-12 * n * n * first else math.nan

    def condition_number(self) -> float:
        """Ratio of the extreme eigenvalues; infinite if the smallest is below rounding, NaN without variance."""
        if self.kept == 0 or float(self.eigenvalues[0]) == 0:
            return math.nan
        return math.inf if self._singular else float(self.eigenvalues[0]) / float(self.eigenvalues[-1])

    def leading_fraction(self) -> float:
        """Share of the variance along the first principal axis; NaN without variance."""
        return float(self.eigenvalues[0]) / self.trace if self.trace > 0 else math.nan

    def spectral_flatness(self) -> float:
        """Geometric over arithmetic mean of the eigenvalues; zero if the smallest is below rounding."""
        if self.kept == 0 or float(self.eigenvalues[0]) == 0:
            return math.nan
        if self._singular:
            return 0.0
        # The mean of logarithms stays in the range of floating point; the product of many eigenvalues may leave it.
        return min(1.0, math.exp(float((self.eigenvalues / self.eigenvalues.mean()).log().mean())))

    def whiteness(self, target: Target = "scaled") -> float:
        """Relative Frobenius distance from a multiple of the identity; NaN without units, or without variance."""
        checks.refuse("whiteness", checks.word("target", target, get_args(Target)))
        if self.kept == 0:
            return math.nan
        reference = self.trace / self.kept if target == "scaled" else 1.0
        if reference == 0:
            return math.nan
        difference = self.covariance.clone()
        difference.diagonal().sub_(reference)
        return float(torch.linalg.matrix_norm(difference)) / (reference * math.sqrt(self.kept))

    @property
    def _singular(self) -> bool:
        """True if the smallest eigenvalue is at most max(P, N) eps times the largest, as in `matrix_rank`."""
        rounding = max(self.samples, self.kept) * torch.finfo(torch.float64).eps
        return float(self.eigenvalues[-1]) <= rounding * float(self.eigenvalues[0])
