"""The standard set of measures of a population, never one number alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from neuro_decorr.metrics.correlation import pairs, sampling_floor
from neuro_decorr.metrics.moments import Samples, Silent, moments
from neuro_decorr.metrics.spectrum import condition, corrected_ratio, distance, flatness, ratio


@dataclass(frozen=True)
class Summary:
    """What is measured of activity `(samples, units)`; `dataclasses.asdict` makes it a row of a table."""

    samples: int  # number of samples
    units: int  # number of units, silent ones included
    silent: int  # units that never vary
    mean_variance: float  # squared units of the data; shows a collapse of the activity, which lowers correlations too
    mean_correlation: float  # over all pairs of distinct units
    correlation_deviation: float  # standard deviation over the pairs
    mean_absolute_correlation: float
    mean_absolute_correlation_floor: float  # expected of independent Gaussian units at this number of samples
    mean_squared_correlation: float
    mean_squared_correlation_floor: float  # expected of independent units at this number of samples
    participation_ratio: float  # effective rank of the sample covariance
    participation_ratio_corrected: float  # the same, corrected for the finite number of samples; NaN below 4
    condition_number: float
    leading_fraction: float  # share of the variance on the first principal axis
    spectral_flatness: float
    whiteness: float  # relative distance from the nearest multiple of the identity
    identity_distance: float  # relative distance from the identity

    def __str__(self) -> str:
        """One measure a line."""
        width = max(len(field.name) for field in fields(self))
        values = ((field.name.replace("_", " "), getattr(self, field.name)) for field in fields(self))
        return "\n".join(
            f"{name:<{width}}  {value:.4g}" if isinstance(value, float) else f"{name:<{width}}  {value}"
            for name, value in values
        )


def summary(samples: Samples, *, silent: Silent = "nan", center: bool = True) -> Summary:
    """The standard set of measures, from one covariance and one set of eigenvalues.

    Why a set: the mean correlation alone misleads, since correlations cancel, and dead units lower all of them;
    Umakantha et al. (2021), Bridging neuronal correlations and dimensionality reduction, Neuron 109,
    doi:10.1016/j.neuron.2021.06.028. Each measure is defined at the function of its name.

    Cost: P N^2 + 4/3 N^3; 1.5 to 2 ms for 300 samples of 128 units on one core.

    Args:
        samples: Activity, shape `(samples, units)`, tensor or numpy array; computed in float64 on its device.
        silent: Policy for units that never vary: `"nan"` keeps them (measures of correlation are NaN, the condition
            number infinite), `"drop"` measures the others, `"error"` refuses. Their number is in the result.
        center: Remove the mean over samples; without, measures of the second moment about zero.

    Returns:
        The measures; NaN marks those that are not defined, such as correlations of a single unit.

    Raises:
        InvalidValue: Not two-dimensional, fewer than two samples, NaN or infinity, or refused silent units.
    """
    population = moments(samples, silent=silent, center=center)
    pair = pairs(population)
    floor = sampling_floor(population.samples, center=center)
    trace = population.trace
    return Summary(
        samples=population.samples,
        units=population.units,
        silent=population.silent,
        mean_variance=trace / population.kept if population.kept else math.nan,
        mean_correlation=pair.mean,
        correlation_deviation=pair.deviation,
        mean_absolute_correlation=pair.mean_absolute,
        mean_absolute_correlation_floor=floor.mean_absolute,
        mean_squared_correlation=pair.mean_squared,
        mean_squared_correlation_floor=floor.mean_squared,
        participation_ratio=ratio(population),
        participation_ratio_corrected=corrected_ratio(population),
        condition_number=condition(population),
        leading_fraction=float(population.eigenvalues[0]) / trace if trace > 0 else math.nan,
        spectral_flatness=flatness(population),
        whiteness=distance(population, None),
        identity_distance=distance(population, 1.0),
    )
