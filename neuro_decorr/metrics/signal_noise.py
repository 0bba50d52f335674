"""Signal and noise correlations: what units share because of the stimulus, and what they share beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.null import SurrogateNull, too_few
from neuro_decorr.metrics.repeats import by_condition, in_trials
from neuro_decorr.metrics.samples import finite
from neuro_decorr.metrics.surrogates import over_trials
from neuro_decorr.metrics.trends import Array
from neuro_decorr.recording import Rates, SpikeTrains


class SignalNoise(NamedTuple):
    """Correlations of all pairs of units; NaN where one is not defined."""

    signal: Array  # (units, units); of one condition in one bin all NaN
    noise: Array  # (units, units)
    untuned: int  # units whose means differ over the conditions no more than chance: no signal correlation
    null: SurrogateNull | None  # mean absolute noise correlation against shuffled or shifted trials


def signal_noise_correlation(
    activity: Activity,
    conditions: Sequence[object] | None = None,
    bin: float | None = None,
    *,
    surrogates: int = 0,
    seed: int = 0,
) -> SignalNoise:
    r"""Signal correlation beside noise correlation, of trials under one condition or several, and no intervals.

    For noise correlations alone, each condition by itself and with intervals, take `noise_correlations`: its matrix of
    all conditions, or of the only one, is `.noise` here.

    A cell c is a condition, or a bin of the trials of a condition; it has $n_c$ trials with mean $\bar x_c$ and
    covariance $S_c$. Noise: what is left of every trial when the mean of its cell, which the trials share, is taken
    away, its covariance over its variance, both pooled,

    $$
    W = \sum_c (n_c - 1)\, S_c, \qquad r^{noise}_{ij} = W_{ij} / \sqrt{W_{ii} W_{jj}}
    $$

    The mean over cells of their correlations would be drawn to zero where trials are few: by a third at two trials.
    Signal: the covariance of the K means of the cells, less what the noise of finitely many trials adds to it,

    $$
    \Sigma = \operatorname{Cov}_c(\bar x_c) - \frac1K \sum_c \frac{S_c}{n_c}, \qquad
    r^{signal}_{ij} = \Sigma_{ij} / \sqrt{\Sigma_{ii} \Sigma_{jj}}
    $$

    It is the mean over all products of distinct trials, of which a split into halves is one draw. Unbiased covariances
    give ratios that may exceed one where trials are few.

    Cost: P N^2, and as much for each surrogate.

    Source: Averbeck, Latham and Pouget (2006), Neural correlations, population coding and computation, Nature Reviews
    Neuroscience 7, doi:10.1038/nrn1888; correction by within-condition variance as in random-effects analysis of
    variance.

    Args:
        activity: Spike trains or rates with trials; or an array, one row a trial, shape `(trials, units)`.
        conditions: Condition of each trial, of an array only; each with at least two trials.
        bin: Width of the bins (s) from the start of each trial, of a recording; one bin a trial when None.
        surrogates: How many say what the noise correlation of independent units is: 0 for none, else at least 19. Each
            unit's trials of a condition are exchanged, or shifted where units drift over them: see `surrogates`.
        seed: Seed of the surrogates.

    Returns:
        Both correlations, and the null.

    Raises:
        InvalidValue: NaN or infinity, no trials, trials of unequal length, another number of conditions than trials, a
            condition with one trial, or too few surrogates.
    """
    samples, labels = _trials(activity, conditions, bin)
    if surrogates:
        checks.refuse("signal_noise_correlation", too_few(surrogates))
    groups = by_condition(labels)
    means = np.concatenate([samples[members].mean(axis=0) for members in groups])  # (cells, units)
    cells, units = means.shape
    residual, own = samples.copy(), np.zeros((units, units))
    for members in groups:
        residual[members] -= residual[members].mean(axis=0)
        part = residual[members].reshape(-1, units)
        own += part.T @ part / (len(members) - 1) / len(members) / cells
    flat = residual.reshape(-1, units)
    signal = np.full_like(own, np.nan) if cells == 1 else np.cov(means, rowvar=False).reshape(own.shape) - own
    spread = np.ptp(flat, axis=0) > 1e-12 * np.abs(samples).max(axis=(0, 1))
    tuned = signal.diagonal() > 0
    null = None
    if surrogates:
        chosen = over_trials(samples, labels)
        null = SurrogateNull.of(chosen, chosen.moments(surrogates, seed))
    untuned = 0 if cells == 1 else int((~tuned).sum())
    return SignalNoise(_ratio(signal, tuned), _ratio(flat.T @ flat, spread), untuned, null)


def _trials(
    activity: Activity, conditions: Sequence[object] | None, bin: float | None
) -> tuple[Array, tuple[str, ...]]:
    """Samples, shape `(trials, bins, units)`, and the condition of each trial."""
    if isinstance(activity, SpikeTrains | Rates):
        if conditions is not None:
            raise InvalidValue("conditions: those of the recording's trials are taken; leave the argument out.")
        return in_trials(activity, bin)
    if activity.ndim != 2 or activity.shape[1] < 1 or bin is not None or conditions is None:
        raise InvalidValue(
            f"activity: got shape {tuple(activity.shape)}; allowed is (trials, units), counted already, with "
            "conditions and without bin."
        )
    if len(conditions) != len(activity):
        raise InvalidValue(f"conditions: got {len(conditions)} for {len(activity)} trials; give one a trial.")
    return finite(activity).cpu().numpy()[:, None], tuple(map(str, conditions))


def _ratio(covariance: Array, defined: NDArray[np.bool_]) -> Array:
    scale = np.sqrt(np.where(defined, covariance.diagonal(), np.nan))
    ratio: Array = covariance / scale / scale[:, None]
    return ratio
