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
    """Whether units drift over trials, or their neighbouring trials of a condition are alike.

    Alike: the correlation of neighbours, mean over units, is two standard errors above that of unordered trials, -1/m.

    Args:
        samples: Samples, shape `(trials, bins, units)`.
        conditions: Trials of each condition.

    Returns:
        The answer.
    """
    counts = samples.mean(axis=1)
    for members in conditions:
        counts[members] -= counts[members].mean(axis=0)
    counts = counts[:, np.ptp(counts, axis=0) > 0]
    if counts.shape[1] == 0:
        return False
    if drift(counts).found:
        return True
    power = np.square(counts).sum(axis=0)
    products = sum((counts[members[1:]] * counts[members[:-1]]).sum(axis=0) for members in conditions)
    alike = float((products / power).mean()) + len(conditions) / len(counts)
    return bool(alike > 2 / np.sqrt(counts.size))
