"""Cross-correlation of all pairs at lags, and the band that its mean over pairs has by chance."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import metrics

Array = NDArray[np.float64]

LAGS = 20
UNITS = 200
"""Largest number of units of a correlogram, evenly spaced, since all its pairs are in memory at all lags."""


class Correlogram(NamedTuple):
    """Cross-correlation at lags, each pair in both directions."""

    lags: NDArray[np.int64]  # bins, from the most negative to the most positive
    mean: Array  # (lags,), over pairs
    quartiles: Array  # (2, lags), over pairs
    deviation: Array  # (lags,): standard deviation of the mean where units share nothing
    units: int


def correlogram(values: NDArray[Any], trial: NDArray[np.int64], longest: int = LAGS) -> Correlogram:
    r"""Compute the mean over pairs of the cross-correlation, and its standard deviation by chance.

    Of two units that share nothing, with autocorrelations $\rho_i$, $\rho_j$ and T samples a trial,

    $$
    \operatorname{cov}\big(C_{ij}(l), C_{ij}(m)\big) \approx \frac{1}{T - |l|} \sum_k
    \Big(1 - \frac{|k|}{T - |l|}\Big)\, \rho_i(k)\, \rho_j(k + m - l)
    $$

    for one trial. The mean over both directions, at l and -l, and over pairs has the variance
    $\sum_{i<j} [v_{ij}(0) + v_{ij}(2l)] / 2$ over the squared number of pairs, less by the number of trials.

    Cost: P N^2 for the pairs, P log P a unit for the band.

    Source: Bartlett (1946), On the theoretical specification and sampling properties of autocorrelated time-series,
    Supplement to the Journal of the Royal Statistical Society 8, doi:10.2307/2983611.

    Args:
        values: Samples of units that vary, shape `(samples, units)`.
        trial: Trial of each sample, shape `(samples,)`; no product joins two trials.
        longest: Largest lag in bins; less where a trial or the recording is shorter.

    Returns:
        The mean, the quartiles of the pairs, the deviation by chance.
    """
    units = values.shape[1]
    chosen = np.unique(np.linspace(0, units - 1, min(units, UNITS)).astype(np.int64))
    sizes = np.bincount(trial)
    shortest, trials = int(sizes[sizes > 0].min()), int((sizes > 0).sum())
    # Trials of one sample have no lag but zero.
    most = min(longest, max(shortest // 2 - 1, min(1, shortest - 1)))
    pairs = of_pairs(values[:, chosen], trial, most)
    both = np.concatenate([pairs, pairs[::-1]], axis=1)
    own = _autocorrelations(values[:, chosen], trial, min(shortest - 1, max(4 * most, shortest // 4)))
    deviation = _deviations(own, shortest, most, trials)
    return Correlogram(
        np.arange(-most, most + 1), both.mean(axis=1), np.quantile(both, [0.25, 0.75], axis=1), deviation, len(chosen)
    )


def of_pairs(values: NDArray[Any], trial: NDArray[np.int64], longest: int) -> Array:
    """Compute the cross-correlation of all pairs at lags, within trials.

    Args:
        values: Samples, shape `(samples, units)`.
        trial: Trial of each sample.
        longest: Largest lag in bins.

    Returns:
        Correlations, shape `(2 longest + 1, pairs)`: a pair's first unit leads at positive lags.
    """
    if not trial.any():
        return metrics.lagged_covariance(values, longest).pairs().numpy()
    standard = _standard(values)
    upper = np.triu_indices(standard.shape[1], 1)
    sides = []
    for lag in range(longest + 1):
        together = trial[: len(trial) - lag] == trial[lag:]
        products = standard[: len(trial) - lag][together].T @ standard[lag:][together] / together.sum()
        sides.append((products[upper], products.T[upper]))
    return np.array([before for _, before in sides[:0:-1]] + [after for after, _ in sides])


def _autocorrelations(values: NDArray[Any], trial: NDArray[np.int64], longest: int) -> Array:
    """Compute the autocorrelation of each unit at lags from 0 on, shape `(longest + 1, units)`; one unit at a time."""
    sizes = np.bincount(trial)
    parts = np.split(np.arange(len(trial)), np.cumsum(sizes[sizes > 0])[:-1])
    width = 2 ** int(np.ceil(np.log2(2 * max(map(len, parts)))))
    overlap = sum(np.maximum(len(part) - np.arange(longest + 1), 0) for part in parts)
    found = np.empty((longest + 1, values.shape[1]))
    for unit in range(values.shape[1]):
        standard = _standard(values[:, unit : unit + 1])[:, 0]
        power = sum(np.square(np.abs(np.fft.rfft(standard[part], width))) for part in parts)
        found[:, unit] = np.fft.irfft(power, width)[: longest + 1] / overlap
    return found


def _deviations(own: Array, shortest: int, most: int, trials: int) -> Array:
    """Standard deviations of the mean over pairs and directions at all lags, of units that share nothing."""
    longest, units = len(own) - 1, own.shape[1]
    every = np.concatenate([own[:0:-1], own])  # from the most negative lag on
    total = every.sum(axis=1)
    ks = np.arange(-longest, longest + 1)

    def products(shift: int) -> Array:
        """Sums over ordered pairs of units of the products at k and k + shift: the product of sums, less own ones."""
        found = np.zeros(len(every))
        kept = max(0, len(every) - shift)
        alone = np.einsum("ku,ku->k", every[:kept], every[shift:])
        found[:kept] = total[:kept] * total[shift:] - alone
        return found

    here = products(0)
    deviations = np.empty(most + 1)
    for lag in range(most + 1):
        length = shortest - lag
        weight = np.clip(1 - np.abs(ks) / length, 0, None)
        both = float(weight @ (here + products(2 * lag)))
        deviations[lag] = np.sqrt(max(both / 2, 0.0) / 2 / length / trials)
    both_sides: Array = np.concatenate([deviations[:0:-1], deviations]) / (units * (units - 1) / 2)
    return both_sides


def _standard(values: NDArray[Any]) -> Array:
    centred = values - values.mean(axis=0, dtype=np.float64)
    standard: Array = centred / np.sqrt(np.square(centred).mean(axis=0))
    return standard
