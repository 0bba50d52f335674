"""Measures of the standard set, computed from the moments of a population or of weighted parts of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from torch import Tensor

from neuro_decorr.metrics.correlation import sampling_floor
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.variation import Variation


@final
@dataclass(frozen=True)
class Reader:
    """Reader of the standard set; for spike trains it adds the rate, the Fano factor and CV2.

    Args:
        bin: Width of the bins of spike counts (s); None: other activity.
        variation: Sums for CV2 over the same cells; None: other activity.
    """

    bin: float | None = None
    variation: Variation | None = None

    def read(self, population: Moments, weights: Tensor) -> dict[str, float]:
        """Compute all measures of one population.

        Args:
            population: Moments of the population.
            weights: Weight of each cell in these moments, shape `(cells,)`, for CV2, which has sums of its own.

        Returns:
            Measures by name, each defined in the function of that name; NaN where a measure is not defined.
        """
        pair = population.pairs
        values = {
            "mean_variance": population.trace / population.kept if population.kept else math.nan,
            "mean_correlation": pair.mean,
            "correlation_deviation": pair.deviation,
            "mean_absolute_correlation": pair.mean_absolute,
            "mean_squared_correlation": pair.mean_squared,
            "participation_ratio": population.participation_ratio(),
            "participation_ratio_samples": population.participation_ratio("samples"),
            "participation_ratio_both": population.participation_ratio("both"),
            "condition_number": population.condition_number(),
            "leading_fraction": population.leading_fraction(),
            "spectral_flatness": population.spectral_flatness(),
            "whiteness": population.whiteness(),
            "identity_distance": population.whiteness("identity"),
        }
        if self.bin is None or self.variation is None:
            return values
        fano = population.covariance.diagonal() / population.mean  # 0 / 0 for a unit without a spike
        counted = population.mean > 0
        spiking = {
            "mean_rate": float(population.mean.sum()) / (population.kept * self.bin) if population.kept else math.nan,
            "mean_fano_factor": float(fano[counted].mean()),
            "mean_cv2": self.variation.mean(weights),
        }
        return spiking | values


def sampling_floors(population: Moments) -> dict[str, float]:
    r"""Expected measures of independent Gaussian units with these variances at this number of samples.

    With n degrees of freedom and variances $v_i$ the trace of the squared covariance is about
    $t_2 = \sum_i v_i^2 + \frac1n \big( (\sum_i v_i)^2 - \sum_i v_i^2 \big)$, so that the participation ratio is about
    $(\sum_i v_i)^2 / t_2$ and the whiteness about $\sqrt{N / \mathrm{PR} - 1}$.

    Args:
        population: Moments of the population.

    Returns:
        Floors by name (ceilings for the participation ratios), for the measures that have one.
    """
    floor = sampling_floor(population.samples, center=population.center)
    variances = population.covariance.diagonal()
    own, total = float(variances.square().sum()), population.trace
    values = {
        "mean_correlation": 0.0,
        "correlation_deviation": math.sqrt(floor.mean_squared),
        "mean_absolute_correlation": floor.mean_absolute,
        "mean_squared_correlation": floor.mean_squared,
    }
    if own > 0:
        naive = total**2 / (own + (total**2 - own) / population.degrees)
        values |= {
            "participation_ratio": naive,
            "participation_ratio_samples": total**2 / own,
            "whiteness": math.sqrt(population.kept / naive - 1),
        }
    return values
