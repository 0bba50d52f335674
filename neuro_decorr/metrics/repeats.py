"""Repeated trials: their samples by condition, and whether units keep something from trial to trial."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.samples import finite
from neuro_decorr.metrics.trends import Array, drift
from neuro_decorr.recording import Rates, SpikeTrains


def in_trials(activity: Activity, bin: float | None) -> tuple[Array, tuple[str, ...]]:
    """Samples of each trial and its condition.

    Args:
        activity: Spike trains or rates with trials.
        bin: Width of the bins (s), from the start of each trial; one bin a trial when None.

    Returns:
        Samples, shape `(trials, bins, units)`, and one condition a trial.

    Raises:
        InvalidValue: No trials, or trials with unequal numbers of bins.
    """
    if isinstance(activity, SpikeTrains):
        samples, trial = activity.trial_counts(bin)
    elif isinstance(activity, Rates):
        samples, trial = activity.trial_binned(bin)
    else:
        raise InvalidValue("trials: an array has none; give SpikeTrains or Rates with trials.")
    assert activity.trials is not None
    sizes = np.bincount(trial)
    if sizes.min() != sizes.max():
        raise InvalidValue(
            f"trials: they hold {sizes.min()} to {sizes.max()} bins; what they share needs trials of one length."
        )
    values = finite(samples).cpu().numpy()
    return values.reshape(len(sizes), sizes[0], -1), activity.trials.conditions


def by_condition(conditions: Sequence[object]) -> list[NDArray[np.intp]]:
    """The trials of each condition, in their order.

    Raises:
        InvalidValue: A condition with one trial.
    """
    labels = np.array([str(label) for label in conditions])
    found = [np.flatnonzero(labels == label) for label in dict.fromkeys(labels.tolist())]
    for members in found:
        if len(members) < 2:
            label = str(labels[members[0]])
            raise InvalidValue(
                f"conditions: condition {label!r} has 1 trial; at least two are needed: leave it out (Trials.select)."
            )
    return found


def kept_over_trials(samples: Array, conditions: list[NDArray[np.intp]]) -> bool:
    """Whether units drift over trials, or neighbouring trials are alike beside what their conditions say.

    Alike: the correlation of residuals of neighbours, mean over units, is two standard errors above that of unordered
    trials; that of two trials of a condition of m trials is -1 / (m - 1).

    Args:
        samples: Samples, shape `(trials, bins, units)`, in the order of time.
        conditions: Trials of each condition.

    Returns:
        The answer.
    """
    counts, label = samples.mean(axis=1), np.empty(len(samples), dtype=np.intp)
    for condition, members in enumerate(conditions):
        counts[members] -= counts[members].mean(axis=0)
        label[members] = condition
    if drift(counts).found:
        return True
    counts = counts[:, np.ptp(counts, axis=0) > 0]
    if counts.shape[1] == 0:
        return False
    share = 1 / np.bincount(label)[label[1:]]
    unordered = -share[label[1:] == label[:-1]].sum() / (len(counts) - len(conditions))
    alike = float(((counts[1:] * counts[:-1]).sum(axis=0) / np.square(counts).sum(axis=0)).mean()) - unordered
    return bool(alike > 2 / np.sqrt(counts.size))
