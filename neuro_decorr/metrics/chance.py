"""What chance gives: the spectrum of independent units, and units shifted against each other in time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.sums import moments


def marchenko_pastur_edge(samples: int, units: int) -> float:
    r"""Upper edge of the spectrum of the correlation matrix of independent units, $(1 + \sqrt{N / P})^2$.

    Source: Marchenko and Pastur (1967), Distribution of eigenvalues for some sets of random matrices,
    doi:10.1070/SM1967v001n04ABEH001994. It is a limit for many samples P and units N at a fixed ratio, for samples that
    are independent of each other; slow activity, whose samples are not, passes it more often.

    Args:
        samples: Number of samples P, at least 2.
        units: Number of units N, at least 1.

    Returns:
        The edge; the mean eigenvalue is 1.

    Raises:
        InvalidValue: Fewer samples or units.
    """
    if samples < 2 or units < 1:
        raise InvalidValue(f"got {samples} samples of {units} units; at least 2 samples of 1 unit are needed.")
    return (1 + math.sqrt(units / samples)) ** 2


def shifted(samples: NDArray[np.generic], draws: int, seed: int) -> Iterator[Moments]:
    """Moments of surrogates: every unit is shifted in time by an amount of its own, around the end.

    A shift keeps each unit's values and its autocorrelation, and breaks what units share at a time.

    Cost: P N^2 each.

    Args:
        samples: Activity, shape `(samples, units)`.
        draws: How many surrogates, at least 1.
        seed: Seed of the shifts.

    Yields:
        Their moments: covariance, correlation, eigenvalues.

    Raises:
        InvalidValue: No draws, or see `moments`.
    """
    if draws < 1:
        raise InvalidValue(f"draws: got {draws}; allowed are the integers from 1 on.")
    generator = np.random.default_rng(seed)
    surrogate = np.empty_like(samples)
    for _ in range(draws):
        shifts: list[int] = np.asarray(generator.integers(0, len(samples), samples.shape[1])).tolist()
        for unit in range(samples.shape[1]):
            surrogate[:, unit] = np.roll(samples[:, unit], shifts[unit])
        yield moments(surrogate)
