"""What chance gives: the spectrum of independent units, units shifted against each other, blocks drawn again."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.correlation import correlation

Array = NDArray[np.float64]


def marchenko_pastur_edge(samples: int, units: int) -> float:
    r"""Upper edge of the spectrum of the correlation matrix of independent units, :math:`(1 + \sqrt{N / P})^2`.

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


def shifted(samples: NDArray[np.generic], draws: int, seed: int) -> Iterator[Array]:
    """Correlation matrices of surrogates: every unit is shifted in time by an amount of its own, around the end.

    A shift keeps each unit's values and its autocorrelation, and breaks what units share at a time.

    Cost: P N^2 each.

    Args:
        samples: Activity, shape `(samples, units)`.
        draws: How many surrogates, at least 1.
        seed: Seed of the shifts.

    Yields:
        Correlation, shape `(units, units)`.

    Raises:
        InvalidValue: No draws, or see `correlation`.
    """
    if draws < 1:
        raise InvalidValue(f"draws: got {draws}; allowed are the integers from 1 on.")
    generator = np.random.default_rng(seed)
    surrogate = np.empty_like(samples)
    for _ in range(draws):
        shifts: list[int] = np.asarray(generator.integers(0, len(samples), samples.shape[1])).tolist()
        for unit in range(samples.shape[1]):
            surrogate[:, unit] = np.roll(samples[:, unit], shifts[unit])
        yield correlation(surrogate)


def block_covariances(samples: NDArray[np.generic], blocks: int, draws: int, seed: int) -> Iterator[Array]:
    """Covariances of bootstrap samples: whole blocks of consecutive samples are drawn with replacement.

    Blocks, because neighbouring samples are not independent; a block should be longer than what the activity remembers.
    From sums over the blocks, so that a draw costs no pass over the samples.

    Source: Carlstein (1986), The use of subseries values for estimating the variance of a general statistic,
    doi:10.1214/aos/1176350057. Cost: P N^2 once, then blocks N^2 a draw; memory blocks N^2.

    Args:
        samples: Activity, shape `(samples, units)`.
        blocks: How many blocks of nearly equal length, at least 2 samples each.
        draws: How many bootstrap samples.
        seed: Seed of the draws.

    Yields:
        Covariance, shape `(units, units)`.

    Raises:
        InvalidValue: Too few samples for the blocks.
    """
    if blocks < 2 or len(samples) < 2 * blocks:
        raise InvalidValue(
            f"blocks: got {len(samples)} samples for {blocks} blocks; 2 blocks of 2 samples are the least."
        )
    center = samples.mean(axis=0)
    parts = [part - center for part in np.array_split(samples, blocks)]
    products = np.stack([part.T @ part for part in parts])
    sums = np.stack([part.sum(axis=0) for part in parts])
    sizes = np.array([len(part) for part in parts], dtype=np.float64)
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        weights = np.bincount(generator.integers(0, blocks, blocks), minlength=blocks).astype(np.float64)
        count = weights @ sizes
        mean = weights @ sums / count
        yield (np.tensordot(weights, products, 1) - count * np.outer(mean, mean)) / (count - 1)
