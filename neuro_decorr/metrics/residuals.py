"""Residuals of trials: samples minus the mean over the trials of their condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.cosines import Independent
from neuro_decorr.metrics.jackknife import correlations
from neuro_decorr.metrics.repeats import in_trials
from neuro_decorr.recording import Rates, SpikeTrains
from neuro_decorr.recording.checks import seconds
from neuro_decorr.recording.trials import none_there

ALL = "all conditions"
"""Name of all conditions together: covariances within conditions, pooled."""
MEASURES = ("mean_correlation", "mean_squared_correlation", "mean_rate", "mean_fano_factor")
"""Measures of residuals, in this order."""
_ENTRIES = 2**20
"""Number of entries of the matrices without one trial that are held at once."""


@final
@dataclass(frozen=True, eq=False)
class Residuals:
    """Residuals of trials in the order of time."""

    z: NDArray[np.float64]  # (trials, bins, units): residuals
    totals: NDArray[np.float64]  # (trials, units): mean over the bins of each trial, before the subtraction
    condition: NDArray[np.int64]  # (trials,): number of its condition

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
        r"""Law of the correlations of independent units, as slow over trials and as variable in each bin as these.

        With the sums over the $K_c$ trials of condition c, $C_i(b, b') = \sum_k z_{ikb} z_{ikb'}$, an exchange of the
        trials of each condition, separately for every unit, gives

        $$E[r_{ij}^2] = \sum_c \frac{1}{K_c - 1} \frac{\sum_{bb'} C_i C_j}{\sum_b C_i \sum_b C_j}$$

        which is more than one over the degrees of freedom if units vary in the same bins, as under a stimulus. The
        cosines over trials, pooled over bins, increase it if units are slow.
        """
        z, count = self.z, self.trials
        power = (require("scipy.fft", "recordings").dct(z, axis=0, norm="ortho")[1:] ** 2).sum(axis=1)
        with np.errstate(invalid="ignore"):
            power = np.where(self.vary, power / power.sum(axis=0), np.nan)
        slow = self.pairs(power.T @ power)
        shuffled = np.zeros_like(self.cross)
        for name in np.unique(self.condition).tolist():
            own = z[self.condition == name]
            for b in range(own.shape[1]):  # one row of C of all units at a time
                row = np.einsum("ku,kcu->cu", own[:, b], own)
                shuffled += row.T @ row / (len(own) - 1)
        total = np.diagonal(self.cross)
        with np.errstate(invalid="ignore"):
            ratio = (count - 1) * self.pairs(shuffled / total / total[:, None])
        dimensions = float(slow.sum() / (slow * ratio).sum())
        return Independent(power / dimensions, np.full(len(power), dimensions))

    @cached_property
    def vary(self) -> NDArray[np.bool_]:
        """Mask of the units that vary, shape `(units,)`."""
        found: NDArray[np.bool_] = np.isfinite(np.diagonal(self.correlation))
        return found

    def pairs(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Entries for the pairs of units that vary, shape `(pairs,)`."""
        return upper(matrix[np.ix_(self.vary, self.vary)])

    def measures(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values of `MEASURES`, and their values without each trial, shape `(trials, measures)`."""
        z, degrees = self.z[:, :, self.vary], (self.trials - self.conditions) * self.z.shape[1]
        cross = self.cross[np.ix_(self.vary, self.vary)]
        means = self.totals.mean(axis=0)
        estimate = self._read(cross[None], means[None], degrees)[0]
        size = np.bincount(self.condition)[self.condition]
        without = []
        for rows in np.array_split(np.arange(self.trials), 1 + self.trials * cross.size // _ENTRIES):
            own = np.matmul(z[rows].swapaxes(1, 2), z[rows])
            own *= (size[rows] / (size[rows] - 1))[:, None, None]  # without a trial the mean of the others changes too
            left = (self.trials * means - self.totals[rows]) / (self.trials - 1)
            without.append(self._read(cross - own, left, degrees - z.shape[1]))
        return estimate, np.concatenate(without)

    @property
    def floor(self) -> float:
        """Mean squared correlation of independent units that are as slow as these."""
        return float(self.pairs(self.law.variance).mean())

    def _read(self, cross: NDArray[np.float64], means: NDArray[np.float64], degrees: int) -> NDArray[np.float64]:
        """Compute the measures from sums of products (..., units that vary) and means (..., units)."""
        units = cross.shape[-1]
        variance = np.diagonal(cross, axis1=1, axis2=2)
        pairs = units * (units - 1)
        r = correlations(cross)
        firing = means[:, self.vary] > 0
        fano = np.divide(variance / degrees, means[:, self.vary], out=np.zeros_like(variance), where=firing)
        with np.errstate(invalid="ignore"):  # NaN where no unit fires
            return np.stack(
                [
                    (r.sum(axis=(1, 2)) - units) / pairs,
                    ((r**2).sum(axis=(1, 2)) - units) / pairs,
                    means.mean(axis=1),
                    fano.sum(axis=1) / firing.sum(axis=1),
                ],
                axis=1,
            )


def residuals(
    recording: SpikeTrains | Rates, bin: float | None, conditions: Sequence[str] | str | None
) -> dict[str, Residuals]:
    """Residuals of each condition, and of all together if there are several.

    Args:
        recording: Spike trains or rates with trials.
        bin: Width of the bins (s), from the start of each trial; None: one sample per trial.
        conditions: Names of the conditions, or one name; None: all.

    Returns:
        Residuals by condition.

    Raises:
        InvalidValue: The recording is another object, has no trials or trials of unequal length, a condition has fewer
            than three trials, or there are fewer than two units, or fewer than two that vary.
        UnknownName: No trial has one of the conditions.
    """
    if not isinstance(recording, SpikeTrains | Rates):
        raise InvalidValue(
            f"recording: got {type(recording).__name__}; give what recording.load returns, or for an array of counts "
            "use signal_noise_correlation(counts, conditions)."
        )
    trials = recording.trials
    if trials is None:
        raise none_there(recording.notes, 'load it with their table: load(..., trial_table="trials.csv")')
    if len(recording.units) < 2:
        raise InvalidValue("recording: got 1 unit; correlations need at least 2.")
    asked = [conditions] if isinstance(conditions, str) else conditions
    names = list(dict.fromkeys(trials.conditions if asked is None else asked))
    kept = trials.select(names)  # raises for conditions that no trial has; the others may have other lengths
    x, given = in_trials(replace(recording, trials=kept), None if bin is None else seconds("bin", bin))
    labels = np.array([names.index(name) if name in names else -1 for name in given])
    totals, z = x.mean(axis=1), x.copy()
    for index, name in enumerate(names):
        own = labels == index
        if own.sum() < 3:
            raise InvalidValue(f"condition {name!r}: got {own.sum()} trials; noise correlations need at least 3.")
        z[own] -= x[own].mean(axis=0)
    members = {name: labels == index for index, name in enumerate(names)}
    if len(names) > 1:
        members[ALL] = labels >= 0
    found = {name: Residuals(z[own], totals[own], labels[own]) for name, own in members.items()}
    for name, part in found.items():
        if part.vary.sum() < 2:
            raise InvalidValue(f"condition {name!r}: fewer than two units vary over its trials.")
    return found


def upper(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entries above the diagonal, shape `(pairs,)`."""
    found: NDArray[np.float64] = matrix[np.triu_indices(len(matrix), 1)]
    return found
