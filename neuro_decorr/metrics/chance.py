"""Chance: the spectrum of independent units in independent samples."""

from __future__ import annotations

import math

from neuro_decorr.errors import InvalidValue


def marchenko_pastur_edge(samples: int, units: int) -> float:
    r"""Upper edge of the spectrum of the correlation matrix of independent units, $(1 + \sqrt{N / P})^2$.

    It is the limit for many samples P and units N at a fixed ratio, for samples that are independent of each other.
    Samples of slow activity are not independent, so that eigenvalues of slow independent units exceed the edge.

    Source: Marchenko and Pastur (1967), Distribution of eigenvalues for some sets of random matrices,
    doi:10.1070/SM1967v001n04ABEH001994.

    Args:
        samples: Number of samples P, at least 2.
        units: Number of units N, at least 1.

    Returns:
        The edge, in units of the mean eigenvalue, which is 1.

    Raises:
        InvalidValue: There are fewer samples or units.
    """
    if samples < 2 or units < 1:
        raise InvalidValue(
            f"samples, units: got {samples} samples of {units} units; at least 2 samples of 1 unit are needed."
        )
    return (1 + math.sqrt(units / samples)) ** 2
