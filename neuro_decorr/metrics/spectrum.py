"""Measures of the covariance spectrum: dimensionality, conditioning and whiteness."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.moments import Kind, Moments, Samples, Silent, like, moments

Target: TypeAlias = Literal["scaled", "identity"]
"""What whiteness is measured against: `"scaled"`, the nearest multiple of the identity; `"identity"`, variance one."""

Correction: TypeAlias = Literal["none", "samples", "both"]
"""What a participation ratio is corrected for: nothing, finitely many samples, or finitely many samples and units."""


def eigenvalues(samples: Kind, *, silent: Silent = "nan", center: bool = True) -> Kind:
    """Spectrum of the covariance, in descending order.

    Cost: P N^2 + 4/3 N^3.

    Args:
        samples: Activity, shape `(samples, units)`, tensor or numpy array.
        silent: Policy for units that never vary: `"nan"` keeps them as zero eigenvalues, `"drop"`, `"error"`.
        center: Remove the mean over samples.

    Returns:
        Eigenvalues, shape `(units,)`, float64, not negative.

    Raises:
        InvalidValue: See `moments`.
    """
    return like(moments(samples, silent=silent, center=center).eigenvalues, samples)


def participation_ratio(
    samples: Samples, *, correction: Correction = "none", silent: Silent = "nan", center: bool = True
) -> float:
    r"""Participation ratio, the effective rank of the covariance.

    $$
    \mathrm{PR} = \frac{(\operatorname{tr} C)^2}{\operatorname{tr} C^2}
    = \frac{(\sum_i \lambda_i)^2}{\sum_i \lambda_i^2} \in [1, N]
    $$

    Of a sample of P samples and N units it is biased down, about 1/PR_naive = 1/PR + 1/P + 1/N. The corrections divide
    unbiased estimates of the numerator and of the denominator instead, means over products in which no sample occurs
    twice, and for `"both"` no unit either:

    $$
    \mathrm{PR}_{\text{both}} =
    \frac{\sum_{a \ne b} \widehat{C_{aa} C_{bb}}}{\sum_{a \ne b} \widehat{C_{ab}^2}}
    $$

    `"samples"` takes the units as the whole population, `"both"` as a draw from a larger one whose ratio is wanted.
    They hold for independent samples of any distribution, may exceed N, and are noisy where samples are few.

    Cost: P N^2; no eigenvalues are needed.

    Sources: Gao et al. (2017), A theory of multineuronal dimensionality, dynamics and measurement,
    doi:10.1101/214262. Bias and both corrections: Chun, Canatar, Chung and Lee (2026), Estimating dimensionality of
    neural representations from finite samples, arXiv:2509.26560. Unbiased moments: Himeno and Yamada (2014),
    Estimations for some functions of covariance matrix in high dimension under non-normality and its applications,
    J. Multivariate Analysis 130.

    Args:
        samples: Activity, shape `(samples, units)`; at least four samples if corrected.
        correction: `"none"`, for the finite number of `"samples"`, or for that of samples and of units: `"both"`.
        silent: Policy for units that never vary (they change neither trace).
        center: Remove the mean over samples.

    Returns:
        Dimensionality; NaN without variance, or where the unbiased denominator is not positive.

    Raises:
        InvalidValue: An unknown correction; too few samples for it; see `moments`.
    """
    if correction not in get_args(Correction):
        raise InvalidValue(f"correction: got {correction!r}; allowed are {', '.join(map(repr, get_args(Correction)))}.")
    population = moments(samples, silent=silent, center=center)
    if correction == "none":
        return ratio(population)
    if population.samples < 4:
        raise InvalidValue(
            f"samples: got {population.samples}; the corrected participation ratio needs at least 4 samples."
        )
    return corrected_ratio(population, units=correction == "both")


def condition_number(samples: Samples, *, silent: Silent = "nan", center: bool = True) -> float:
    r"""Condition number of the covariance, $\lambda_{\max} / \lambda_{\min}$.

    Cost: P N^2 + 4/3 N^3. With at most as many samples as units it is infinite whatever the population is.

    Args:
        samples: Activity, shape `(samples, units)`.
        silent: Policy for units that never vary: kept under `"nan"`, they make it infinite.
        center: Remove the mean over samples.

    Returns:
        Condition number, at least 1; infinite when the covariance is singular to working precision; NaN without
        variance.

    Raises:
        InvalidValue: See `moments`.
    """
    return condition(moments(samples, silent=silent, center=center))


def whiteness(samples: Samples, *, target: Target = "scaled", silent: Silent = "nan", center: bool = True) -> float:
    r"""Relative distance of the covariance from a multiple of the identity; zero for white activity.

    $$
    \text{scaled: } \frac{\|C - cI\|_F}{\|cI\|_F},\; c = \frac{\operatorname{tr} C}{N}
    \;\;\Big(= \sqrt{N / \mathrm{PR} - 1}\Big); \qquad
    \text{identity: } \frac{\|C - I\|_F}{\sqrt N}
    $$

    c I is the multiple of the identity nearest to C. Cost: P N^2.

    Args:
        samples: Activity, shape `(samples, units)`.
        target: `"scaled"` is free of scale; `"identity"` also asks for variance one.
        silent: Policy for units that never vary.
        center: Remove the mean over samples.

    Returns:
        Distance, not negative, dimensionless; NaN without variance (scaled) or without units.

    Raises:
        InvalidValue: An unknown target; see `moments`.
    """
    if target not in get_args(Target):
        raise InvalidValue(f"target: got {target!r}; allowed are {', '.join(map(repr, get_args(Target)))}.")
    population = moments(samples, silent=silent, center=center)
    return distance(population, 1.0 if target == "identity" else None)


def spectral_flatness(samples: Samples, *, silent: Silent = "nan", center: bool = True) -> float:
    r"""Spectral flatness, the geometric over the arithmetic mean of the eigenvalues.

    $$\frac{(\prod_i \lambda_i)^{1/N}}{\frac1N \sum_i \lambda_i}$$

    One for white activity, zero for a singular covariance. Its logarithm times -N/2 is the Kullback-Leibler
    divergence from the white Gaussian of the same total variance. Cost: P N^2 + 4/3 N^3.

    Args:
        samples: Activity, shape `(samples, units)`.
        silent: Policy for units that never vary: kept under `"nan"`, they make it zero.
        center: Remove the mean over samples.

    Returns:
        Flatness in [0, 1]; NaN without variance.

    Raises:
        InvalidValue: See `moments`.
    """
    return flatness(moments(samples, silent=silent, center=center))


def ratio(population: Moments) -> float:
    """Participation ratio of the sample covariance."""
    return population.trace**2 / population.squared if population.squared > 0 else math.nan


def corrected_ratio(population: Moments, units: bool = False) -> float:
    """Participation ratio from unbiased estimates of both traces; of distinct units too where asked. NaN below 4."""
    n, first, second = population.samples, population.trace**2, population.squared
    fourth, unit_fourth = float(population.fourth), float(population.unit_fourth)
    if n < 4:
        return math.nan
    own = float(population.covariance.diagonal().square().sum())
    if population.center:
        # Common factor (n - 1) / (n (n - 2) (n - 3)) of Himeno and Yamada's two estimators left out: it cancels.
        q, q_own = n * fourth / (n - 1), n * unit_fourth / (n - 1)
        numerator = 2 * second + (n * n - 3 * n + 1) * first - q
        denominator = (n - 1) * (n - 2) * second + first - q
        single = (n * n - 3 * n + 3) * own - q_own  # either estimator for a unit by itself
    else:
        # Means over pairs of distinct samples; the common factor n (n - 1) left out.
        numerator, denominator = n * n * first - fourth, n * n * second - fourth
        single = n * n * own - unit_fourth
    if units:
        numerator, denominator = numerator - single, denominator - single
    # A denominator within rounding of zero is no estimate.
    return numerator / denominator if denominator > 1e-12 * n * n * second else math.nan


def condition(population: Moments) -> float:
    """Ratio of the extreme eigenvalues; infinite when the smallest is below rounding."""
    spectrum = population.eigenvalues
    if len(spectrum) == 0:
        return math.nan
    largest, smallest = float(spectrum[0]), float(spectrum[-1])
    if largest == 0:
        return math.nan
    return math.inf if smallest <= _rounding(population) * largest else largest / smallest


def distance(population: Moments, scale: float | None) -> float:
    """Relative Frobenius distance from a multiple of the identity, the nearest one when no scale is given."""
    units = population.kept
    if units == 0:
        return math.nan
    reference = population.trace / units if scale is None else scale
    if reference == 0:
        return math.nan
    difference = population.covariance.clone()
    difference.diagonal().sub_(reference)
    return float(torch.linalg.matrix_norm(difference)) / (reference * math.sqrt(units))


def flatness(population: Moments) -> float:
    """Geometric over arithmetic mean of the eigenvalues; zero when the smallest is below rounding."""
    spectrum = population.eigenvalues
    if len(spectrum) == 0 or float(spectrum[0]) == 0:
        return math.nan
    if float(spectrum[-1]) <= _rounding(population) * float(spectrum[0]):
        return 0.0
    # Divided first: the product of many eigenvalues leaves the range of floating point, the mean of logarithms not.
    return min(1.0, math.exp(float((spectrum / spectrum.mean()).log().mean())))


def leading(population: Moments) -> float:
    """Share of the variance on the first principal axis."""
    return float(population.eigenvalues[0]) / population.trace if population.trace > 0 else math.nan


def _rounding(population: Moments) -> float:
    """Relative size below which an eigenvalue is rounding: max(P, N) eps, the convention of matrix_rank."""
    return max(population.samples, population.kept) * torch.finfo(torch.float64).eps
