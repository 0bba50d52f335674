"""Growth of the participation ratio with the number of samples, from random blocks of the recording."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr import metrics
from neuro_decorr.metrics.activity import as_stream
from neuro_decorr.metrics.sums import accumulate, edges

Array = NDArray[np.float64]

SIZES, DRAWS = 9, 10
_BLOCKS = 32


class Growth(NamedTuple):
    """Participation ratios of sub-samples."""

    samples: NDArray[np.int64]  # (sizes,)
    naive: Array  # (sizes, draws)
    corrected: Array  # (sizes, draws); NaN where it is not defined
    block: int  # samples of the shortest block


def growth(values: NDArray[Any], trial: NDArray[np.int64], seed: int) -> Growth:
    """Measure the participation ratio of random sub-samples of increasing size.

    The beginning of a recording may differ from the rest. So each sub-sample consists of blocks of time (or of whole
    trials of one length), drawn from the whole recording without replacement. It consists of blocks, since single
    samples would hide the autocorrelation. A sub-sample shorter than two blocks is a window at a random place.

    Cost: about 3 P N^2 flops, and 32 N^2 for each sub-sample. Memory: 256 N^2 bytes.

    Args:
        values: Samples, shape `(samples, units)`.
        trial: Trial of each sample; all zero without trials.
        seed: Seed of the draws.

    Returns:
        The ratios. The largest size has all samples, so all its draws are equal.
    """
    count = len(values)
    lengths = np.bincount(trial)
    lengths = lengths[lengths > 0]
    grain = int(lengths[0]) if len(lengths) > 1 and (lengths == lengths[0]).all() else 1
    cells = min(_BLOCKS, count // grain)
    sums = accumulate(as_stream(values), cells, grain=grain)
    ends = edges(count // grain, cells) * grain
    generator = np.random.default_rng(seed)
    sizes: list[int] = []
    found: list[list[tuple[float, float]]] = []
    for wanted in np.unique(np.geomspace(min(10, count), count, SIZES).astype(int)).tolist():
        size, blocks = wanted, round(wanted / count * cells)
        if blocks < 2:
            starts = generator.integers(0, count - size + 1, DRAWS).tolist()
            drawn = [metrics.moments(values[start : start + size]) for start in starts]
        else:
            size = int(ends[blocks])
            weights = np.zeros((DRAWS, cells))
            for row in weights:
                row[generator.permutation(cells)[:blocks]] = 1
            drawn = sums.weighted(torch.from_numpy(weights))
        sizes.append(size)
        found.append([(one.participation_ratio(), one.participation_ratio("samples")) for one in drawn])
    naive, corrected = np.moveaxis(np.array(found), 2, 0)
    return Growth(np.array(sizes), naive, corrected, int(np.diff(ends).min()))
