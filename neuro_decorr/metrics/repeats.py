"""Repeated trials: the response that those of a condition share, and what is left of each trial without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.activity import Activity
from neuro_decorr.metrics.samples import finite
from neuro_decorr.metrics.trends import Array, drift
from neuro_decorr.recording import Rates, SpikeTrains

NEIGHBOURS = 10
"""Trials of a block where units drift over the trials."""


@final
@dataclass(frozen=True, eq=False)
class Repeats:
    """Trials without the mean response of their block."""

    residual: Array  # (trials, bins, units)
    blocks: list[NDArray[np.intp]]  # trials of one condition each, in the order of time, at least two
    reach: float | None  # trials a block at most; None: all of a condition
    reason: str  # in words


def repeats(activity: Activity, bin: float | None, reach: float | None = None) -> Repeats:
    """The trials of a recording without the responses that are locked to them.

    Args:
        activity: Spike trains or rates with trials of one length.
        bin: Width of the bins (s) from the start of each trial; one bin a trial when None.
        reach: Trials a block: means are those of blocks of so many neighbouring trials of a condition. None: of all
            trials of a condition, or of blocks of 10 where units drift over the trials.

    Returns:
        What is left.

    Raises:
        InvalidValue: No trials, trials of unequal length, a condition with one trial, or a reach below 2.
    """
    samples, conditions = in_trials(activity, bin)
    residual, blocks = _without_means(samples, conditions, None)
    count = f"{len(samples)} trials of {len(blocks)} condition{'s' if len(blocks) > 1 else ''}"
    units = residual.mean(axis=1)
    found = drift(units[:, np.ptp(units, axis=0) > 0]).found
    chosen = NEIGHBOURS if reach is None and found else reach
    if chosen is not None:
        residual, blocks = _without_means(samples, conditions, chosen)
    drifting = "units drift over the trials" if found else "units do not drift over the trials"
    what = "each condition" if chosen is None else f"each {chosen:g} neighbouring trials of a condition"
    reason = f"{count}; {drifting}; the mean response of {what} is removed, and each unit's trials are exchanged there"
    return Repeats(residual, blocks, chosen, reason)


def in_trials(activity: Activity, bin: float | None) -> tuple[Array, tuple[str, ...]]:
    """Samples of each trial, shape `(trials, bins, units)`, and its condition.

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


def _without_means(
    samples: Array, conditions: Sequence[str], neighbours: float | None
) -> tuple[Array, list[NDArray[np.intp]]]:
    labels = np.array(conditions)
    blocks: list[NDArray[np.intp]] = []
    for label in dict.fromkeys(conditions):
        trials = np.flatnonzero(labels == label)
        if len(trials) < 2 or (neighbours is not None and neighbours < 2):
            raise InvalidValue(
                f"trials: condition {label!r} has {len(trials)}, in blocks of {neighbours or 'all'}; at least 2 trials "
                "a block are needed: leave rare conditions out with Trials.select."
            )
        parts = 1 if neighbours is None else max(1, int(len(trials) // neighbours))
        blocks += np.array_split(trials, parts)
    residual = samples.copy()
    for block in blocks:
        residual[block] -= residual[block].mean(axis=0)
    return residual, blocks
