"""Scales on which each measure fluctuates symmetrically without bounds, so that intervals stay inside its bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

INVERSE = ("participation_ratio_samples", "participation_ratio_both")
"""Measures whose unbiased denominator fluctuates and may cross zero, so that their inverse is estimated instead."""


@final
@dataclass(frozen=True, eq=False)
class Scale:
    """Monotone scale and its inverse."""

    forward: Callable[[Array], Array]
    backward: Callable[[float], float]


def scales(name: str, units: int) -> tuple[Scale, ...]:
    r"""Scales of a measure, the best first; the second serves where the first is not clearly defined.

    A measure x between bounds a and b has the logit $\log \frac{x - a}{b - a} - \log \frac{b - x}{b - a}$, a measure
    above a bound a has $\log(x - a)$. The mean correlation of N units lies between $-1/(N - 1)$ and 1; half its logit
    is Fisher's z of an intraclass correlation, Fisher (1925), Statistical methods for research workers. An inverse
    participation ratio y has the logarithm of its excess over that of uncorrelated units where the excess is clearly
    positive; its second scale is $\log(1 + (N - 1) y)$ if corrected for units too, else $\log y$.

    Args:
        name: Name of the measure.
        units: Number of units that are measured, N.

    Returns:
        Scales; those of `INVERSE` take one over the measure, and give back the measure.
    """
    count = max(units, 2)
    if name == "participation_ratio_samples":
        return (_inverse(_above(1 / count)), _inverse(_above(0.0)))
    if name == "participation_ratio_both":
        return (_inverse(_above(0.0)), _inverse(_above(-1 / (count - 1))))
    bounds = {
        "mean_correlation": (-1 / (count - 1), 1.0),
        "correlation_deviation": (0.0, 1.0),
        "mean_absolute_correlation": (0.0, 1.0),
        "mean_squared_correlation": (0.0, 1.0),
        "participation_ratio": (1.0, float(count)),
        "leading_fraction": (1 / count, 1.0),
        "spectral_flatness": (0.0, 1.0),
        "condition_number": (1.0, math.inf),
    }
    low, high = bounds.get(name, (0.0, math.inf))
    return (_above(low),) if math.isinf(high) else (_between(low, high),)


def _above(low: float) -> Scale:
    return Scale(lambda x: np.log(x - low), lambda g: low + math.exp(min(g, 700.0)))


def _between(low: float, high: float) -> Scale:
    def backward(g: float) -> float:
        share = 1 / (1 + math.exp(-g)) if g > 0 else 1 - 1 / (1 + math.exp(max(g, -700.0)))
        return low + (high - low) * share

    return Scale(lambda x: np.log((x - low) / (high - x)), backward)


def _inverse(scale: Scale) -> Scale:
    """Scale for one over a measure, with the sign changed so that it grows with the measure."""
    return Scale(lambda y: -scale.forward(y), lambda g: _reciprocal(scale.backward(-g)))


def _reciprocal(y: float) -> float:
    return 1 / y if y > 0 else math.inf
