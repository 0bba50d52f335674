"""Checks of the parameters that many measures take: seeds and levels."""

from __future__ import annotations

import operator

import numpy as np

from neuro_decorr.errors import InvalidValue


def generator(seed: int) -> np.random.Generator:
    """Make the random generator of a measure.

    Args:
        seed: An integer from 0 on.

    Returns:
        A new generator, independent of all others.

    Raises:
        InvalidValue: The seed is not an integer from 0 on.
    """
    try:
        whole = operator.index(seed)
    except TypeError:
        whole = -1
    if whole < 0:
        raise InvalidValue(f"seed: got {seed!r}; allowed are the integers from 0 on.")
    return np.random.default_rng(whole)


def check_level(level: float) -> None:
    """Check the coverage of an interval.

    Args:
        level: Coverage, between 0 and 1.

    Raises:
        InvalidValue: The level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise InvalidValue(f"level: got {level}; allowed are numbers between 0 and 1, such as 0.95.")
