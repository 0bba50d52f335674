"""Signal and noise correlations: similarity of the responses to the stimulus, and of the residuals from them."""

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

    signal: Array  # (units, units); all NaN for one condition in one bin
    noise: Array  # (units, units)
    untuned: int  # number of units whose means differ no more than by chance: they have no signal correlation
    null: SurrogateNull | None  # mean absolute noise correlation against shuffled or shifted trials


def signal_noise_correlation(
    activity: Activity,
    conditions: Sequence[object] | None = None,
    bin: float | None = None,
    *,
    surrogates: int = 0,
    seed: int = 0,
) -> SignalNoise:
    r"""Signal and noise correlations of trials under one or several conditions, without intervals.

    For noise correlations of each condition with intervals use `noise_correlations`; its matrix of all conditions, or
    of the only one, equals `.noise` of this function.

    A cell c is a condition, or a bin of the trials of a condition; it has $n_c$ trials with mean $\bar x_c$ and
    covariance $S_c$. Noise correlation: pooled covariance over pooled variance of the residuals of the trials from the
    mean of their cell,

    $$
    W = \sum_c (n_c - 1)\, S_c, \qquad r^{noise}_{ij} = W_{ij} / \sqrt{W_{ii} W_{jj}}
    $$

    The mean of the correlations of single cells would be biased towards zero if trials are few: by a third with two
    trials. Signal correlation: the covariance of the K means of the cells, minus the part that the noise of finitely
    many trials adds to it,

    $$
    \Sigma = \operatorname{Cov}_c(\bar x_c) - \frac1K \sum_c \frac{S_c}{n_c}, \qquad
    r^{signal}_{ij} = \Sigma_{ij} / \sqrt{\Sigma_{ii} \Sigma_{jj}}
    $$

    $\Sigma$ is the mean over all products of distinct trials; a split of the trials into halves uses some of these
    products. Unbiased covariances give ratios that may exceed one if trials are few.

    Cost: P N^2, and as much per surrogate, for P trials times bins and N units.

    Source: Averbeck, Latham and Pouget (2006), Neural correlations, population coding and computation, Nature Reviews
    Neuroscience 7, doi:10.1038/nrn1888; correction by within-condition variance as in random-effects analysis of
    variance.

    Args:
        activity: Spike trains or rates with trials; or an array with one row per trial, shape `(trials, units)`.
        conditions: Condition of each trial, for an array only; each condition needs at least two trials.
        bin: Width of the bins (s) from the start of each trial, for a recording; None: one bin per trial.
        surrogates: Number of surrogates that give the noise correlation of independent units: 0 for none, else at least
            19. Each unit's trials of a condition are exchanged, or shifted if units drift over them: see `surrogates`.
        seed: Seed of the surrogates, an integer from 0 on.

    Returns:
        Both correlations, and the null.

    Raises:
        InvalidValue: The activity holds NaN or infinity, it has no trials or trials of unequal length, the number of
            conditions differs from that of trials, a condition has one trial, or there are too few surrogates.
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
            raise InvalidValue("conditions: the trials of a recording have conditions already; leave the argument out.")
        return in_trials(activity, bin)
    if activity.ndim != 2 or activity.shape[1] < 1 or bin is not None or conditions is None:
        raise InvalidValue(
            f"activity: got shape {tuple(activity.shape)}; allowed is (trials, units), counted already, with "
            "conditions and without bin."
        )
    if len(conditions) != len(activity):
        raise InvalidValue(f"conditions: got {len(conditions)} for {len(activity)} trials; give one per trial.")
    return finite(activity).cpu().numpy()[:, None], tuple(map(str, conditions))


def _ratio(covariance: Array, defined: NDArray[np.bool_]) -> Array:
    scale = np.sqrt(np.where(defined, covariance.diagonal(), np.nan))
    ratio: Array = covariance / scale / scale[:, None]
    return ratio
