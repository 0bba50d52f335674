"""How the participation ratio grows with the number of samples: from random blocks of the recording."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import metrics

Array = NDArray[np.float64]

SIZES, DRAWS = 9, 10
_BLOCKS = 32


class Growth(NamedTuple):
    """Participation ratios of sub-samples."""

    samples: NDArray[np.int64]  # (sizes,)
    naive: Array  # (sizes, draws)
    corrected: Array  # (sizes, draws); NaN where it is not defined
    block: int  # samples a block


def growth(values: NDArray[Any], trial: NDArray[np.int64], seed: int) -> Growth:
    """Participation ratio of random sub-samples of more and more samples.

    The first samples of a recording are not like the rest of it: they are early. So each sub-sample is of blocks of
    time (or of trials) drawn from all of it without replacement; whole blocks, since single samples would hide the
    autocorrelation. One that is shorter than a block is a window at a random place.

    Cost: about 20 P N^2.

    Args:
        values: Samples, shape `(samples, units)`.
        trial: Trial of each sample; all zero without trials, and blocks are 1/32 of the recording.
        seed: Seed of the draws.

    Returns:
        The ratios; all draws of the largest size, which is of all samples, are the same.
    """
    count = len(values)
    block = int(np.bincount(trial).max()) if trial.any() else max(1, count // _BLOCKS)
    sizes = np.unique(np.geomspace(min(10, count), count, SIZES).astype(int))
    generator = np.random.default_rng(seed)
    naive, corrected = np.full((2, len(sizes), DRAWS), np.nan)
    for row, size in enumerate(sizes.tolist()):
        for draw in range(DRAWS):
            if size == count and draw:
                naive[row, draw], corrected[row, draw] = naive[row, 0], corrected[row, 0]
                continue
            population = metrics.moments(values[_rows(count, block, size, generator)])
            naive[row, draw] = population.participation_ratio()
            corrected[row, draw] = population.participation_ratio("samples")
    return Growth(sizes, naive, corrected, block)


def _rows(count: int, block: int, size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    if size <= block or size == count:
        start = int(generator.integers(0, count - size + 1))
        return np.arange(start, start + size)
    starts = np.arange(0, count, block)
    drawn = np.concatenate([np.arange(k, min(k + block, count)) for k in generator.permutation(starts).tolist()])
    return drawn[:size]
