"""What repetitions of a random experiment may say about a frequency."""

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

RARE = 1e-3
"""A right frequency is refused as rarely as this; seeds are fixed, so that it is once and for all."""


def likely(hits: ArrayLike, low: float, high: float) -> bool:
    """Whether a frequency between low and high gives so many hits, by the binomial law."""
    flags = np.asarray(hits, dtype=bool).ravel()
    count = int(flags.sum())
    law = scipy.stats.binom
    return law.cdf(count, flags.size, low) > RARE and law.sf(count - 1, flags.size, high) > RARE


def covers(hits: ArrayLike) -> bool:
    """Whether intervals of 95 % cover: in 92 to 98 % of the cases."""
    return likely(hits, 0.92, 0.98)


def of_size(hits: ArrayLike) -> bool:
    """Whether a test at 5 % has its size: 2 to 8 %."""
    return likely(hits, 0.02, 0.08)
