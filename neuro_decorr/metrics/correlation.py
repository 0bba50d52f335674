"""Covariance and correlation between units, and the sampling floor of their magnitude."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.samples import Kind, Samples, Silent, correlations_are_nan, like
from neuro_decorr.metrics.second_moments import PairStatistics
from neuro_decorr.metrics.sums import moments


class SamplingFloor(NamedTuple):
    """Mean correlation measured between independent Gaussian units."""

    mean_squared: float
    mean_absolute: float


def covariance(samples: Kind, *, silent: Silent = "nan", center: bool = True) -> Kind:
    r"""Unbiased covariance of the units, $C = \frac{1}{P-1}\sum_p (x_p - \bar x)(x_p - \bar x)^T$.

    Cost: P N^2.

    Args:
        samples: Activity, shape `(samples, units)`, tensor or NumPy array.
        silent: Policy for units that never vary: `"nan"` keeps them (their covariance is zero), `"drop"`, `"error"`.
        center: True removes the mean; False computes the second moment about zero, divided by P.

    Returns:
        Covariance, shape `(units, units)`, float64, in squared units of the samples.

    Raises:
        InvalidValue: See `moments`.
    """
    return like(moments(samples, silent=silent, center=center).covariance, samples)


def correlation(samples: Kind, *, silent: Silent = "nan", center: bool = True) -> Kind:
    r"""Pearson correlation of the units, $r_{ij} = C_{ij} / \sqrt{C_{ii} C_{jj}}$.

    Cost: P N^2.

    Args:
        samples: Activity, shape `(samples, units)`, tensor or NumPy array.
        silent: Policy for units that never vary: `"nan"` (their rows and columns are NaN), `"drop"`, `"error"`.
        center: True removes the mean; False computes the cosine between units.

    Returns:
        Correlation, shape `(units, units)`, float64, dimensionless, diagonal 1.

    Raises:
        InvalidValue: See `moments`.
    """
    return like(moments(samples, silent=silent, center=center).correlation, samples)


def mean_squared_correlation(samples: Samples, *, silent: Silent = "nan", center: bool = True) -> float:
    r"""Mean of $r_{ij}^2$ over all pairs of distinct units; it does not depend on variances, and is zero for none.

    Unlike a loss on the covariance it compares rules that whiten with rules that do not change the variances. Compare
    it with `sampling_floor`.

    Cost: P N^2.

    Args:
        samples: Activity, shape `(samples, units)`.
        silent: Policy for units that never vary: `"nan"` (the mean is NaN, with a warning), `"drop"`, `"error"`.
        center: True removes the mean over samples.

    Returns:
        Mean squared correlation in [0, 1]; NaN with fewer than two units, or with silent units under `"nan"`.

    Raises:
        InvalidValue: See `moments`.
    """
    return _pairs(samples, silent, center).mean_squared


def mean_absolute_correlation(samples: Samples, *, silent: Silent = "nan", center: bool = True) -> float:
    r"""Mean of $|r_{ij}|$ over all pairs of distinct units.

    Cost: P N^2.

    Args:
        samples: Activity, shape `(samples, units)`.
        silent: Policy for units that never vary: `"nan"` (the mean is NaN, with a warning), `"drop"`, `"error"`.
        center: True removes the mean over samples.

    Returns:
        Mean absolute correlation in [0, 1]; NaN with fewer than two units, or with silent units under `"nan"`.

    Raises:
        InvalidValue: See `moments`.
    """
    return _pairs(samples, silent, center).mean_absolute


def sampling_floor(samples: int, *, center: bool = True) -> SamplingFloor:
    r"""Mean correlation that independent Gaussian units show because the number of samples is finite.

    With n degrees of freedom (samples - 1 with the mean removed), $r^2 \sim \mathrm{Beta}(\frac12, \frac{n-1}{2})$:

    $$
    E[r^2] = \frac1n, \qquad
    E|r| = \frac{\Gamma(n/2)}{\sqrt{\pi}\,\Gamma((n+1)/2)} \approx \sqrt{\frac{2}{\pi n}}
    $$

    The first equation holds for all independent units whose samples are exchangeable; the second is exact for Gaussian
    units.

    Source: Fisher (1915), Frequency distribution of the values of the correlation coefficient in samples from an
    indefinitely large population, Biometrika 10, doi:10.2307/2331838.

    Args:
        samples: Number of samples, at least 2.
        center: True if the mean is removed before the correlation is computed.

    Returns:
        Floors of the mean squared and of the mean absolute correlation.

    Raises:
        InvalidValue: There are fewer than two samples.
    """
    if samples < 2:
        raise InvalidValue(f"samples: got {samples}; a correlation needs at least 2 samples.")
    n = samples - 1 if center else samples
    absolute = math.exp(math.lgamma(n / 2) - math.lgamma((n + 1) / 2)) / math.sqrt(math.pi)
    return SamplingFloor(mean_squared=1 / n, mean_absolute=absolute)


def _pairs(samples: Samples, silent: Silent, center: bool) -> PairStatistics:
    """Statistics over pairs; a warning names the caller's caller if silent units make them NaN."""
    population = moments(samples, silent=silent, center=center)
    if silent == "nan" and population.silent:
        warnings.warn(f"{correlations_are_nan(population.silent, population.units)}.", stacklevel=3)
    return population.pairs
