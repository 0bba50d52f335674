"""Intervals by resampling blocks of consecutive samples, since neighbouring bins are not independent."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.samples import Silent
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.sums import Sums

_BATCH = 8
"""Resamplings whose second moments are held at once."""


class Interval(NamedTuple):
    """What resampling says of an estimate; NaN where a resampling had no finite value."""

    low: float
    high: float
    bias: float  # mean over the resamplings minus the estimate


def generator(seed: int) -> np.random.Generator:
    """The source of a resampling or a surrogate.

    Args:
        seed: An integer from 0 on.

    Returns:
        A generator of its own.

    Raises:
        InvalidValue: Another seed.
    """
    try:
        whole = operator.index(seed)
    except TypeError:
        whole = -1
    if whole < 0:
        raise InvalidValue(f"seed: got {seed!r}; allowed are the integers from 0 on.")
    return np.random.default_rng(whole)


def check_level(level: float) -> None:
    """Refuse a coverage that is none.

    Args:
        level: Coverage of an interval.

    Raises:
        InvalidValue: It is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise InvalidValue(f"level: got {level}; allowed are numbers between 0 and 1, such as 0.95.")


def draws(cells: int, length: int, replicates: int, source: np.random.Generator) -> Tensor:
    """How often each cell is drawn by a circular moving-block bootstrap.

    A replicate is as many blocks of `length` consecutive cells as make up the recording, each beginning at a cell drawn
    with equal probability; the recording is closed to a circle, so that every cell is drawn equally often on average.

    Source: Politis and Romano (1992), A circular block-resampling procedure for stationary data, in Exploring the
    Limits of Bootstrap, Wiley; moving blocks: Kuensch (1989), Ann. Statist. 17, doi:10.1214/aos/1176347265.

    Args:
        cells: Number of cells.
        length: Cells a block.
        replicates: Number of resamplings.
        source: Random numbers.

    Returns:
        Weights, shape `(replicates, cells)`, float64.
    """
    blocks = max(1, round(cells / length))
    starts = source.multinomial(blocks, np.full(cells, 1 / cells), size=replicates)
    weights = sum(np.roll(starts, shift, axis=1) for shift in range(length))
    return torch.from_numpy(np.asarray(weights, dtype=np.float64))


def resample(
    sums: Sums, weights: Tensor, measure: Callable[[Moments, Tensor], Mapping[str, float]], silent: Silent
) -> dict[str, list[float]]:
    """Every measure of every resampling.

    Args:
        sums: Sums over the cells.
        weights: How often each cell is drawn, shape `(replicates, cells)`.
        measure: From the moments of a resampling and its weights to its measures.
        silent: Policy for silent units.

    Returns:
        One list a measure, as long as there are replicates.
    """
    found: dict[str, list[float]] = {}
    for batch in weights.split(_BATCH):  # type: ignore[no-untyped-call]
        for weight, population in zip(batch, sums.resampled(batch, silent), strict=True):
            for name, value in measure(population, weight).items():
                found.setdefault(name, []).append(value)
    return found


def interval(estimate: float, replicates: list[float], level: float) -> Interval:
    r"""Interval of a measure at the given number of samples.

    $$
    b = \frac1R \sum_r \theta^*_r - \hat\theta, \qquad
    [\theta^*_{(1 - \text{level})/2} - b,\; \theta^*_{(1 + \text{level})/2} - b]
    $$

    Quantiles of the replicates, moved by their bias. Resampled noise raises measures such as the mean squared
    correlation a second time, which plain quantiles would show as an interval above the estimate. The interval stays
    one of what is measured at this number of samples, to be compared with the floor at this number of samples.

    Args:
        estimate: The measure of the data.
        replicates: The measure of every resampling.
        level: Coverage.

    Returns:
        The interval and the bias; NaN when the estimate or a replicate is not finite.
    """
    values = np.asarray(replicates)
    if not (math.isfinite(estimate) and np.isfinite(values).all()):
        return Interval(math.nan, math.nan, math.nan)
    bias = float(values.mean()) - estimate
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low) - bias, float(high) - bias, bias)
