"""What the trials of a condition do not share: samples less the mean over its trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.cosines import Independent, independent
from neuro_decorr.metrics.jackknife import correlations
from neuro_decorr.recording import Rates, SpikeTrains

ALL = "all"
"""All conditions together: covariances within conditions, pooled."""
MEASURES = ("mean_correlation", "mean_squared_correlation", "mean_rate", "mean_fano_factor")
"""What is measured of residuals, in this order."""
_BLOCKS = 256
"""Trials are left out one by one up to here, beyond it in runs of consecutive ones."""


@final
@dataclass(frozen=True, eq=False)
class Residuals:
    """Residuals of trials in the order of time."""

    z: NDArray[np.float64]  # (trials, bins, units)
    totals: NDArray[np.float64]  # (trials, units): mean over the bins of each trial, before the subtraction
    condition: NDArray[np.int64]  # (trials,)

    @property
    def trials(self) -> int:
        """Number of trials."""
        return len(self.z)

    @property
    def conditions(self) -> int:
        """Number of conditions."""
        return len(np.unique(self.condition))

    @cached_property
    def cross(self) -> NDArray[np.float64]:
        """Sum of products over trials and bins, shape `(units, units)`."""
        flat = self.z.reshape(-1, self.z.shape[2])
        found: NDArray[np.float64] = flat.T @ flat
        return found

    @cached_property
    def correlation(self) -> NDArray[np.float64]:
        """Noise correlations, shape `(units, units)`; NaN for units that never vary."""
        return correlations(self.cross)

    @cached_property
    def law(self) -> Independent:
        """Correlations of independent units as slow as these."""
        return independent(self.z.reshape(-1, self.z.shape[2]))

    @cached_property
    def vary(self) -> NDArray[np.bool_]:
        """Units that vary."""
        found: NDArray[np.bool_] = np.isfinite(np.diagonal(self.correlation))
        return found

    def pairs(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Entries of the pairs of units that vary."""
        return upper(matrix[np.ix_(self.vary, self.vary)])

    def measures(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Each of `MEASURES`; the same without each trial, or run of trials; and the trials of each run."""
        blocks = np.array_split(np.arange(self.trials), min(self.trials, _BLOCKS))
        estimate = self._read(self.cross, self.totals.mean(axis=0), self.trials)
        without = np.array([self._without(block) for block in blocks])
        return estimate, without, np.array([len(block) for block in blocks], dtype=float)

    @property
    def floor(self) -> float:
        """Mean squared correlation of independent units as slow as these."""
        return float(self.pairs(self.law.variance).mean())

    def _without(self, block: NDArray[np.int64]) -> NDArray[np.float64]:
        fewer = self.cross - np.einsum("kbu,kbv->uv", self.z[block], self.z[block], optimize=True)
        for name in np.unique(self.condition[block]).tolist():  # their means move when trials go
            own = block[self.condition[block] == name]
            gone = self.z[own].sum(axis=0)
            left = int((self.condition == name).sum()) - len(own)
            fewer -= gone.T @ gone / max(left, 1)  # the sum over all trials of a condition is zero
        count = self.trials - len(block)
        return self._read(fewer, (self.totals.sum(axis=0) - self.totals[block].sum(axis=0)) / count, count)

    def _read(self, cross: NDArray[np.float64], means: NDArray[np.float64], trials: int) -> NDArray[np.float64]:
        r = self.pairs(correlations(cross))
        firing = means > 0
        degrees = (trials - self.conditions) * self.z.shape[1]
        fano = np.diagonal(cross)[firing] / degrees / means[firing]
        return np.array([r.mean(), (r**2).mean(), means.mean(), fano.mean() if firing.any() else math.nan])


def residuals(
    recording: SpikeTrains | Rates, bin: float | None, conditions: Sequence[str] | None
) -> dict[str, Residuals]:
    """Residuals of each condition, and of all together where there are several.

    Args:
        recording: Spike trains or rates with trials.
        bin: Width of the bins (s); one sample a trial when None.
        conditions: Which conditions; all when None.

    Returns:
        Residuals by condition.

    Raises:
        InvalidValue: No trials, trials of unequal length, fewer than three of a condition, fewer than two units.
        UnknownName: A condition that no trial has.
    """
    trials = recording.trials
    if trials is None:
        raise InvalidValue("recording: it has no trials; noise correlations are taken over trials of one condition.")
    if len(recording.units) < 2:
        raise InvalidValue("recording: got 1 unit; correlations need at least 2.")
    names = list(dict.fromkeys(trials.conditions if conditions is None else conditions))
    trials.select(names)  # refuses conditions that no trial has
    samples, trial = recording.trial_counts(bin) if isinstance(recording, SpikeTrains) else recording.trial_binned(bin)
    sizes = np.bincount(trial, minlength=len(trials))
    if sizes.min() != sizes.max():
        raise InvalidValue(f"trials: they hold {sizes.min()} to {sizes.max()} bins; give trials of one length.")
    x = np.asarray(samples, dtype=np.float64).reshape(len(trials), int(sizes[0]), -1)
    labels = np.array([names.index(name) if name in names else -1 for name in trials.conditions])
    totals, z = x.mean(axis=1), x.copy()
    for index, name in enumerate(names):
        own = labels == index
        if own.sum() < 3:
            raise InvalidValue(f"condition {name!r}: got {own.sum()} trials; noise correlations need at least 3.")
        z[own] -= x[own].mean(axis=0)
    found = {name: Residuals(z[own], totals[own], labels[own]) for name, own in _masks(names, labels)}
    if len(names) > 1:
        found[ALL] = Residuals(z[labels >= 0], totals[labels >= 0], labels[labels >= 0])
    for name, part in found.items():
        if part.vary.sum() < 2:
            raise InvalidValue(f"condition {name!r}: fewer than two units vary over its trials.")
    return found


def upper(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entries above the diagonal, shape `(pairs,)`."""
    found: NDArray[np.float64] = matrix[np.triu_indices(len(matrix), 1)]
    return found


def _masks(names: list[str], labels: NDArray[np.int64]) -> list[tuple[str, NDArray[np.bool_]]]:
    return [(name, labels == index) for index, name in enumerate(names)]
