"""Measures of the covariance spectrum: dimensionality, conditioning and whiteness."""

from __future__ import annotations

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.samples import Kind, Samples, Silent, like
from neuro_decorr.metrics.second_moments import Correction, Target
from neuro_decorr.metrics.sums import moments


def eigenvalues(samples: Kind, *, silent: Silent = "nan", center: bool = True) -> Kind:
    """Eigenvalues of the covariance, in descending order.

    Cost: P N^2 + 4/3 N^3 for P samples and N units.

    Args:
        samples: Activity, shape `(samples, units)`, tensor or NumPy array.
        silent: Policy for units that never vary: `"nan"` keeps them as zero eigenvalues, `"drop"` removes them,
            `"error"` raises an error.
        center: True removes the mean over samples.

    Returns:
        Eigenvalues, shape `(units,)`, float64, not negative.

    Raises:
        InvalidValue: See `moments`.
    """
    return like(moments(samples, silent=silent, center=center).eigenvalues, samples)


def participation_ratio(
    samples: Samples, *, correction: Correction = "none", silent: Silent = "nan", center: bool = True
) -> float:
    r"""Participation ratio, one of the effective ranks of the covariance.

    Columns of the studies with the name `effective_rank` hold it. The effective rank of Roy and Vetterli (2007) is
    another number, the exponential of the entropy of the spectrum.

    $$
    \mathrm{PR} = \frac{(\operatorname{tr} C)^2}{\operatorname{tr} C^2}
    = \frac{(\sum_i \lambda_i)^2}{\sum_i \lambda_i^2} \in [1, N]
    $$

    With P samples and N units it is biased downwards, about 1/PR_naive = 1/PR + 1/P + 1/N. The corrections instead
    divide unbiased estimates of the numerator and of the denominator: means over products in which no sample occurs
    twice, and for `"both"` no unit occurs twice either:

    $$
    \mathrm{PR}_{\text{both}} =
    \frac{\sum_{a \ne b} \widehat{C_{aa} C_{bb}}}{\sum_{a \ne b} \widehat{C_{ab}^2}}
    $$

    `"samples"` treats the units as the whole population, `"both"` as a sample of a larger population whose ratio is
    estimated. The corrections hold for independent samples of any distribution; the results may exceed N, and are noisy
    if samples are few. If units are nearly uncorrelated, the denominator of `"both"` is nearly zero and the ratio is
    meaningless. It is withheld (NaN) unless the denominator exceeds twice the standard error that independent Gaussian
    units give it, $\tfrac2n \sqrt{\sum_{a \ne b} C_{aa}^2 C_{bb}^2}$ with n degrees of freedom. `summary` also uses the
    fluctuations of the samples to withhold it.

    Cost: P N^2; no eigenvalues are needed.

    Sources: Gao et al. (2017), A theory of multineuronal dimensionality, dynamics and measurement,
    doi:10.1101/214262. Bias and both corrections: Chun, Canatar, Chung and Lee (2026), Estimating dimensionality of
    neural representations from finite samples, arXiv:2509.26560. Unbiased moments: Himeno and Yamada (2014),
    Estimations for some functions of covariance matrix in high dimension under non-normality and its applications,
    J. Multivariate Analysis 130.

    Args:
        samples: Activity, shape `(samples, units)`; at least four samples with a correction.
        correction: `"none"`; `"samples"` for finitely many samples; `"both"` for finitely many samples and units.
        silent: Policy for units that never vary (they change neither trace).
        center: True removes the mean over samples.

    Returns:
        Participation ratio; NaN without variance, or if the denominator is not clearly positive.

    Raises:
        InvalidValue: The correction is unknown, or there are too few samples for it; see also `moments`.
    """
    population = moments(samples, silent=silent, center=center)
    if correction != "none" and population.samples < 4:
        raise InvalidValue(
            f"samples: got {population.samples}; the corrected participation ratio needs at least 4 samples."
        )
    return population.participation_ratio(correction)


def condition_number(samples: Samples, *, silent: Silent = "nan", center: bool = True) -> float:
    r"""Condition number of the covariance, $\lambda_{\max} / \lambda_{\min}$.

    With at most as many samples as units it is infinite, whatever the population is.

    Cost: P N^2 + 4/3 N^3 for P samples and N units.

    Args:
        samples: Activity, shape `(samples, units)`.
        silent: Policy for units that never vary: `"nan"` keeps them, and they make the condition number infinite.
        center: True removes the mean over samples.

    Returns:
        Condition number, at least 1; infinite if the covariance is singular to working precision; NaN without variance.

    Raises:
        InvalidValue: See `moments`.
    """
    return moments(samples, silent=silent, center=center).condition_number()


def whiteness(samples: Samples, *, target: Target = "scaled", silent: Silent = "nan", center: bool = True) -> float:
    r"""Relative distance of the covariance from a multiple of the identity; zero for white activity.

    $$
    \text{scaled: } \frac{\|C - cI\|_F}{\|cI\|_F},\; c = \frac{\operatorname{tr} C}{N}
    \;\;\Big(= \sqrt{N / \mathrm{PR} - 1}\Big); \qquad
    \text{identity: } \frac{\|C - I\|_F}{\sqrt N}
    $$

    where c I is the multiple of the identity nearest to C.

    Cost: P N^2 for P samples and N units.

    Args:
        samples: Activity, shape `(samples, units)`.
        target: `"scaled"` does not depend on the scale; `"identity"` also requires variance one.
        silent: Policy for units that never vary.
        center: True removes the mean over samples.

    Returns:
        Distance, at least 0, dimensionless; NaN without variance (scaled) or without units.

    Raises:
        InvalidValue: The target is unknown; see also `moments`.
    """
    return moments(samples, silent=silent, center=center).whiteness(target)


def spectral_flatness(samples: Samples, *, silent: Silent = "nan", center: bool = True) -> float:
    r"""Spectral flatness, the geometric over the arithmetic mean of the eigenvalues.

    $$\frac{(\prod_i \lambda_i)^{1/N}}{\frac1N \sum_i \lambda_i}$$

    It is one for white activity and zero for a singular covariance. Its logarithm times -N/2 is the Kullback-Leibler
    divergence from the white Gaussian of the same total variance.

    Cost: P N^2 + 4/3 N^3 for P samples and N units.

    Args:
        samples: Activity, shape `(samples, units)`.
        silent: Policy for units that never vary: `"nan"` keeps them, and they make the flatness zero.
        center: True removes the mean over samples.

    Returns:
        Flatness in [0, 1]; NaN without variance.

    Raises:
        InvalidValue: See `moments`.
    """
    return moments(samples, silent=silent, center=center).spectral_flatness()
