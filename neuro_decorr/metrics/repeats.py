"""Repeated trials: their samples by condition, and a test for dependence between neighbouring trials."""

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
    """Samples and condition of each trial.

    Args:
        activity: Spike trains or rates with trials.
        bin: Width of the bins (s), from the start of each trial; None: one bin per trial.

    Returns:
        Samples, shape `(trials, bins, units)`, and one condition per trial.

    Raises:
        InvalidValue: The activity has no trials, or the trials have unequal numbers of bins.
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
        once = activity.trials.one_bin if isinstance(activity, SpikeTrains) else None
        mend = "" if once is None else f", or bin={once:g}, which is once per trial"
        raise InvalidValue(
            f"trials: got trials of {sizes.min()} to {sizes.max()} bins; choose trials of one length{mend}."
        )
    values = finite(samples).cpu().numpy()
    return values.reshape(len(sizes), sizes[0], -1), activity.trials.conditions


def by_condition(conditions: Sequence[object]) -> list[NDArray[np.intp]]:
    """Indices of the trials of each condition, in their order.

    Args:
        conditions: Condition of each trial.

    Returns:
        One array of indices per condition, in the order in which the conditions first appear.

    Raises:
        InvalidValue: A condition has one trial only.
    """
    labels = np.array([str(label) for label in conditions])
    found = [np.flatnonzero(labels == label) for label in dict.fromkeys(labels.tolist())]
    for members in found:
        if len(members) < 2:
            label = str(labels[members[0]])
            raise InvalidValue(
                f"conditions: condition {label!r} has 1 trial and needs at least 2; leave it out by Trials.select."
            )
    return found


def kept_over_trials(samples: Array, conditions: list[NDArray[np.intp]]) -> bool:
    """Test whether units drift over trials, or neighbouring trials are more similar than their conditions explain.

    Neighbours count as similar if the correlation of their residuals, mean over units, is two standard errors above
    that of trials in random order. Two trials of a condition of m trials have an expected correlation of -1 / (m - 1).

    Args:
        samples: Samples, shape `(trials, bins, units)`, in the order of time.
        conditions: Indices of the trials of each condition.

    Returns:
        True if units drift or neighbours are similar.
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
