"""Signal and noise correlations: what units share because of the stimulus, and what they share beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.samples import Samples, finite


class SignalNoise(NamedTuple):
    """Correlations of all pairs of units; NaN where one is not defined."""

    signal: NDArray[np.float64]  # (units, units)
    noise: NDArray[np.float64]  # (units, units)
    untuned: int  # units whose means differ over the conditions no more than chance: no signal correlation


def signal_noise_correlation(samples: Samples, conditions: Sequence[object]) -> SignalNoise:
    r"""Signal and noise correlation of trials under several conditions.

    Noise: in each condition c of $n_c$ trials the residuals are scaled by their own deviation, and pooled,

    $$r^{noise}_{ij} = \frac{\sum_c (n_c - 1)\, r^{(c)}_{ij}}{\sum_c (n_c - 1)}$$

    over the conditions in which both units vary. Signal: the covariance of the K condition means, less what the noise
    of finitely many trials adds to it, so that no noise correlation leaks in,

    $$
    \Sigma = \operatorname{Cov}_c(\bar x_c) - \frac1K \sum_c \frac{S_c}{n_c}, \qquad
    r^{signal}_{ij} = \Sigma_{ij} / \sqrt{\Sigma_{ii} \Sigma_{jj}}
    $$

    with $S_c$ the covariance within condition c. It is the mean over all products of distinct trials, of which a
    split into halves is one draw. Unbiased covariances give ratios that may exceed one where trials are few.

    Cost: P N^2.

    Source: Averbeck, Latham and Pouget (2006), Neural correlations, population coding and computation, Nature Reviews
    Neuroscience 7, doi:10.1038/nrn1888; correction by within-condition variance as in random-effects analysis of
    variance.

    Args:
        samples: One row a trial, shape `(trials, units)`, such as `SpikeTrains.trial_counts()`.
        conditions: Condition of each trial, such as `Trials.conditions`; at least two, each with two trials.

    Returns:
        Both correlations.

    Raises:
        InvalidValue: Not two-dimensional, NaN or infinity, another number of conditions than trials, fewer than two
            conditions, or a condition with one trial.
    """
    x = _array(samples)
    labels = [str(condition) for condition in conditions]
    if len(labels) != len(x):
        raise InvalidValue(f"conditions: got {len(labels)} for {len(x)} trials; give one a trial.")
    names, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) < 2 or sizes.min() < 2:
        least = str(names[sizes.argmin()])
        few = f"condition {least!r} has {sizes.min()} trial" if len(names) > 1 else "there is one condition"
        raise InvalidValue(f"conditions: {few}; at least two conditions with two trials each are needed.")
    units = x.shape[1]
    means = np.stack([x[index == c].mean(axis=0) for c in range(len(names))])
    signal = np.cov(means, rowvar=False).reshape(units, units)
    products, weights = np.zeros((units, units)), np.zeros((units, units))
    for c, size in enumerate(sizes.tolist()):
        residual = x[index == c] - means[c]
        within = residual.T @ residual / (size - 1)
        signal -= within / size / len(names)
        deviation = np.sqrt(within.diagonal())
        varies = np.ptp(x[index == c], axis=0) > 0
        scaled = np.where(varies, residual / np.where(varies, deviation, 1.0), 0.0)
        products += scaled.T @ scaled
        weights += (size - 1) * np.outer(varies, varies)
    tuned = signal.diagonal() > 0
    scale = np.sqrt(np.where(tuned, signal.diagonal(), np.nan))
    noise = np.divide(products, weights, out=np.full((units, units), np.nan), where=weights > 0)
    return SignalNoise(signal / scale / scale[:, None], noise, int((~tuned).sum()))


def _array(samples: Samples) -> NDArray[np.float64]:
    if samples.ndim != 2 or samples.shape[1] < 1:
        raise InvalidValue(f"samples: got shape {tuple(samples.shape)}; allowed is (trials, units).")
    return finite(samples).cpu().numpy()
